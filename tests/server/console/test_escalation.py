"""Escalation in the console: rules, and what was escalated to whom."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

import pytest

from server.core import clock, work
from server.findings.services import raise_finding
from server.messaging.models import Escalation, EscalationRule, EscalationStep, Notice
from server.messaging.reading import mark_read
from server.messaging.watching import ESCALATIONS
from tests.cast import Cast, add_area, add_person
from tests.moments import Clock

RULES = "/admin/messaging/escalationrule/"
STEPS = "/admin/messaging/escalationstep/"


def form(cast: Cast, **changes: object) -> dict[str, object]:
    return {
        "area": str(cast.county.pk),
        "name": "整改通知未确认",
        "event": "finding.opened",
        "condition": "unacknowledged",
        "after": "8",
        "counting": "office",
        "first": "inspector",
        "second": "office",
        "repeat_after": "8",
        "at_most": "2",
        "enabled": "on",
        **changes,
    }


@pytest.fixture
def rule(cast: Cast) -> EscalationRule:
    return cast.county.escalation_rules.order_by("id")[0]


def test_a_county_starts_with_rules_that_read_well(office, cast: Cast):
    text = office.get(RULES).content.decode()
    assert "需要确认的通知 1 个工作日未确认" in text
    assert "24 小时（工作日，不计周末和节假日）" in text
    assert "学校其他联系人 → 责任督学 → 镇街教育督导组" in text


def test_an_office_writes_a_rule(office, cast: Cast):
    answer = office.post(f"{RULES}add/", form(cast), follow=True)
    rule = EscalationRule.objects.get(name="整改通知未确认")
    assert (rule.targets, rule.after, rule.counting) == (["inspector", "office"], 8, "office")
    assert rule.changed_by == cast.office
    assert "8 小时（办公时间）" in answer.content.decode()


def test_a_fault_is_shown_at_its_field(office, cast: Cast):
    plan = form(cast, condition="overdue", second="inspector", after="0")
    answer = office.post(f"{RULES}add/", plan)
    assert "after" in answer.context["form"].errors
    answer = office.post(f"{RULES}add/", {**plan, "after": "3"})
    assert {"event", "counting", "first"} <= set(answer.context["form"].errors)


def test_a_rule_is_changed_and_switched_off(office, cast: Cast, rule: EscalationRule):
    page = office.get(f"{RULES}{rule.pk}/edit/")
    assert page.context["form"].initial["first"] == "deputies"
    office.post(f"{RULES}{rule.pk}/edit/", form(cast, name="改过"))
    office.post(f"{RULES}{rule.pk}/do/switch/")
    rule.refresh_from_db()
    assert (rule.name, rule.enabled) == ("改过", False)
    office.post(f"{RULES}{rule.pk}/do/switch/")
    rule.refresh_from_db()
    assert rule.enabled


def test_what_could_not_be_looked_at_is_told_and_tried_again(office, cast: Cast):
    notice = notice_of_a_finding(cast)
    watched = Escalation.objects.get(notice=notice)
    rows = Escalation.objects.filter(pk=watched.pk)
    rows.update(work_due_at=None, work_dead_at=clock.now(), work_attempts=8, work_error="坏了")
    page = f"{RULES}{watched.rule_id}/"
    text = office.get(f"{page}change/").content.decode()
    assert "坏了" in text
    assert "重新处理" in text
    office.post(f"{page}do/again/")
    watched.refresh_from_db()
    assert (watched.work_dead_at, watched.work_attempts) == (None, 0)
    assert watched.work_due_at
    assert "重新处理" not in office.get(f"{page}change/").content.decode()


def test_a_town_group_reads_the_rules_and_changes_none(group, cast: Cast, rule: EscalationRule):
    assert group.get(f"{RULES}{rule.pk}/change/").status_code == 200
    assert group.get(f"{RULES}{rule.pk}/edit/").status_code == 404
    assert group.get(f"{RULES}add/").status_code == 404
    group.post(f"{RULES}{rule.pk}/do/switch/")
    rule.refresh_from_db()
    assert rule.enabled


def test_an_office_of_elsewhere_finds_nothing(browser, cast: Cast, rule: EscalationRule):
    elsewhere = add_area("云外县", "910122", "county", cast.county.parent)
    far = browser(add_person("far", "远主任", "office", area=elsewhere, is_staff=True))
    assert far.get(f"{RULES}{rule.pk}/change/").status_code == 404
    assert far.get(f"{RULES}{rule.pk}/edit/").status_code == 404
    notice = notice_of_a_finding(cast)
    assert far.get(f"{STEPS}of/{notice.pk}/").status_code == 404


def notice_of_a_finding(cast: Cast) -> Notice:
    raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=cast.school.pk,
        title="留样不足",
        due_on=date(2026, 12, 31),
    )
    return Notice.objects.get(event="finding.opened")


def test_a_notices_page_shows_what_was_escalated_and_what_comes_next(
    office, cast: Cast, held_clock: Clock
):
    held_clock.set("2026-11-16T10:00")
    notice = notice_of_a_finding(cast)
    page = office.get(f"{STEPS}of/{notice.pk}/").content.decode()
    assert "还没有催办" in page
    assert "2026-11-17 10:00" in page
    held_clock.set("2026-11-17T10:00")
    work.drain(next(pump for pump in work.pumps() if pump.name == ESCALATIONS))
    step = EscalationStep.objects.get()
    assert step.sent
    mark_read(notice_id=step.sent.pk, by=cast.ada)
    page = office.get(f"{STEPS}of/{notice.pk}/").content.decode()
    for words in ("责任督学：", "安督学", "已读", "白校长", "2026-11-18 10:00", "1 / 3"):
        assert words in page
    assert (
        f"{STEPS}of/{notice.pk}/"
        in office.get(f"/admin/messaging/notice/{notice.pk}/change/").content.decode()
    )
    assert "留样不足" in office.get(STEPS).content.decode()
    assert "白校长" in office.get(f"{STEPS}{step.pk}/change/").content.decode()
