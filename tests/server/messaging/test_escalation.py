"""Escalation: what waits too long is told to the next in line, over weekends and holidays, once each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from server.activities.models import Activity, Visit
from server.activities.services.planning import publish_activity
from server.core import clock, work
from server.core.audit import AuditEntry
from server.core.errors import Invalid, NotAllowed, NotFound
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding, raise_finding, tell_overdue
from server.grid.models import Membership
from server.messaging import escalation, watching
from server.messaging.escalation import escalate, rows
from server.messaging.models import Delivery, Escalation, EscalationRule, EscalationStep, Notice
from server.messaging.reading import acknowledge, mark_read
from server.messaging.rules import (
    RuleDraft,
    events_to_escalate,
    rules_visible_to,
    save_rule,
)
from server.messaging.services import notify
from server.messaging.watching import ESCALATIONS, moment_of
from tests.activities import planned
from tests.cast import Cast, add_area, add_person
from tests.moments import Clock

PUMP = ESCALATIONS


def draft(**changes) -> RuleDraft:
    """Unacknowledged for a working day: deputies, inspector, town group, office; four times at most."""
    values = RuleDraft(
        name="未确认",
        event="finding.opened",
        condition="unacknowledged",
        after=24,
        counting="workdays",
        targets=["deputies", "inspector", "town_group", "office"],
        repeat_after=24,
        at_most=4,
    )
    return replace(values, **changes)


@pytest.fixture
def rule(cast: Cast, held_clock: Clock) -> EscalationRule:
    """The county's only rule."""
    EscalationRule.objects.all().delete()
    held_clock.set("2026-11-16T10:00")  # a Monday
    return save_rule(by=cast.office, area_id=cast.county.pk, draft=draft())


def change(cast: Cast, rule: EscalationRule, **changes) -> EscalationRule:
    return save_rule(
        by=cast.office, area_id=cast.county.pk, rule_id=rule.pk, draft=draft(**changes)
    )


def find(cast: Cast, school=None, due: date = date(2026, 12, 31)) -> Finding:
    finding, _new = raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=(school or cast.school).pk,
        title="留样不足",
        due_on=due,
    )
    return finding


def run() -> None:
    """What a worker does when it looks at what is due."""
    work.drain(next(pump for pump in work.pumps() if pump.name == PUMP))


def told() -> list[tuple[str, set[str]]]:
    """Each escalation: whom it told, by their names."""
    return [
        (
            step.target,
            set(
                step.sent.deliveries.filter(channel="inbox").values_list(
                    "recipient__name", flat=True
                )
            )
            if step.sent
            else set(),
        )
        for step in EscalationStep.objects.order_by("at", "number").select_related("sent")
    ]


def opened() -> Notice:
    return Notice.objects.get(event="finding.opened")


# ---- when, and whom ---------------------------------------------------------------------------------


def test_an_unconfirmed_notice_goes_up_the_line_step_by_step(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    steps = {}
    for day in range(16, 26):
        for hour in ("09", "10", "11"):
            held_clock.set(f"2026-11-{day}T{hour}:00")
            run()
            if len(told()) > len(steps):
                steps[f"{day} {hour}"] = told()[-1]
    assert steps == {
        "17 10": ("inspector", {"安督学"}),  # the school has no other contact
        "18 10": ("town_group", {"杜组长"}),
        "19 10": ("office", {"方主任"}),
        "20 10": ("office", {"方主任"}),  # the last again; four times at most
    }
    assert not Escalation.objects.exists()


def test_the_notice_names_what_waits_since_when_and_with_whom(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    finding = find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    notice = Notice.objects.get(event="escalation.unacknowledged")
    assert notice.title == "通知未确认，请督促：东河镇中心小学"
    assert notice.body == "2026-11-16 10:00 发出的“留样不足”至今未确认。尚未确认：白校长。"
    assert (notice.subject_type, notice.subject_id) == ("finding", finding.pk)
    assert notice.school == cast.school


def test_the_schools_other_contacts_come_first(cast: Cast, rule: EscalationRule, held_clock: Clock):
    find(cast)
    add_person("deputy", "副校长", Membership.Role.SCHOOL_CONTACT, school=cast.school)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == [("deputies", {"副校长"})]


@pytest.mark.parametrize(
    ("counting", "sent", "before", "due"),
    [
        ("workdays", "2026-11-20T15:00", "2026-11-23T14:59", "2026-11-23T15:00"),
        ("calendar", "2026-11-20T15:00", "2026-11-21T14:59", "2026-11-21T15:00"),
        ("workdays", "2026-09-30T15:00", "2026-10-08T14:59", "2026-10-08T15:00"),
        ("workdays", "2026-10-09T15:00", "2026-10-10T14:59", "2026-10-10T15:00"),
        ("office", "2026-11-20T15:30", "2026-11-25T12:29", "2026-11-25T12:30"),
    ],
    ids=["a weekend", "by the calendar", "a holiday", "a worked Saturday", "office hours"],
)
def test_waiting_is_counted_as_the_rule_says(
    cast: Cast, rule: EscalationRule, held_clock: Clock, counting, sent, before, due
):
    change(cast, rule, counting=counting)
    held_clock.set(sent)
    find(cast)
    held_clock.set(before)
    run()
    assert told() == []
    held_clock.set(due)
    run()
    assert len(told()) == 1


def test_an_overdue_finding_goes_up_the_line_by_working_days(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    change(
        cast,
        rule,
        event="finding.overdue",
        condition="overdue",
        after=3,
        repeat_after=2,
        targets=["town_group", "office"],
    )
    find(cast, due=date(2026, 11, 19))
    held_clock.set("2026-11-20T09:00")
    tell_overdue()
    days = []
    for day in range(20, 31):
        held_clock.set(f"2026-11-{day}T08:30")
        run()
        if len(told()) > len(days):
            days.append(day)
    assert days == [24, 26, 30]  # Thursday + 3 working days, then every second one
    assert [target for target, _who in told()] == ["town_group", "office", "office"]
    notice = Notice.objects.filter(event="escalation.overdue").first()
    assert notice
    assert notice.body == "“留样不足”应于 2026-11-19 前办结，至今未办。待办：白校长。"


# ---- until when -----------------------------------------------------------------------------------


def test_what_is_confirmed_is_escalated_no_more(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    acknowledge(notice_id=opened().pk, by=cast.principal)
    held_clock.set("2026-11-18T10:00")
    run()
    assert len(told()) == 1
    assert not Escalation.objects.exists()


def test_what_is_merely_read_still_waits_for_confirmation(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    mark_read(notice_id=opened().pk, by=cast.principal)
    held_clock.set("2026-11-17T10:00")
    run()
    assert len(told()) == 1


def test_one_of_several_is_enough_unless_the_rule_wants_everyone(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    add_person("deputy", "副校长", Membership.Role.SCHOOL_CONTACT, school=cast.school)
    find(cast)
    acknowledge(notice_id=opened().pk, by=cast.principal)
    change(cast, rule, everyone=True)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == [("deputies", {"白校长"})]  # who confirmed learns that the other did not
    change(cast, rule, everyone=False)
    held_clock.set("2026-11-18T10:00")
    run()
    assert len(told()) == 1


def test_an_answered_finding_is_escalated_no_more(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    finding = find(cast)
    act_on_finding(
        finding_id=finding.pk,
        action_id=uuid4(),
        by=cast.principal,
        step=Step(action="answer", measures="已补足"),
    )
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == []
    assert not Escalation.objects.exists()


def test_a_later_deadline_ends_the_escalation_of_the_old_one(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    change(cast, rule, event="finding.overdue", condition="overdue", after=1, repeat_after=1)
    finding = find(cast, due=date(2026, 11, 16))
    held_clock.set("2026-11-17T09:00")
    tell_overdue()
    act_on_finding(
        finding_id=finding.pk,
        action_id=uuid4(),
        by=cast.office,
        step=Step(action="postpone", due_on=date(2026, 11, 20)),
    )
    held_clock.set("2026-11-19T09:00")
    run()
    assert told() == []
    held_clock.set("2026-11-23T09:00")
    tell_overdue()
    run()
    assert len(told()) == 1


def test_a_recalled_notice_is_escalated_no_more(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    Notice.objects.filter(event="finding.opened").update(
        state="recalled", recalled_at=timezone.now(), recall_reason="误发"
    )
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == []
    assert not Escalation.objects.exists()


def test_a_rule_that_is_switched_off_does_nothing(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    change(cast, rule, enabled=False)
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == []
    assert not Escalation.objects.exists()


def test_an_escalation_is_not_escalated_itself(cast: Cast, rule: EscalationRule, held_clock: Clock):
    change(cast, rule, event="*", condition="unread")
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    assert len(told()) == 1
    assert set(Escalation.objects.values_list("notice__event", flat=True)) == {"finding.opened"}


def test_an_event_that_is_switched_off_is_not_watched(cast: Cast, rule: EscalationRule):
    change(cast, rule, event="finding.closed", condition="unread")
    notify("finding.closed", recipients=[cast.ada], school=cast.school, finding="x")
    assert Escalation.objects.count() == 1


# ---- who may see ------------------------------------------------------------------------------------


def test_nobody_who_may_not_see_the_school_is_told(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    add_person("fargroup", "西组长", Membership.Role.TOWN_GROUP, area=cast.far_town)
    above = add_person(
        "city", "市主任", Membership.Role.OFFICE, area=cast.county.parent, is_staff=True
    )
    find(cast)
    for day in range(17, 25):
        held_clock.set(f"2026-11-{day}T10:00")
        run()
    everybody = set().union(*(who for _target, who in told()))
    assert everybody == {"安督学", "杜组长", "方主任"}
    assert above.name not in everybody


def test_an_unannounced_visit_is_escalated_to_no_school(
    cast: Cast, rule: EscalationRule, held_clock: Clock, kitchen
):
    change(cast, rule, event="visit.assigned", condition="unread")
    plan = planned(cast, cast.school, announced=False)
    publish_activity(activity_id=plan.pk, by=cast.office)
    for day in range(17, 21):
        held_clock.set(f"2026-11-{day}T10:00")
        run()
    assert [who for _target, who in told()] == [{"杜组长"}, {"方主任"}, {"方主任"}, {"方主任"}]
    school_side = Delivery.objects.filter(recipient=cast.principal)
    assert not school_side.exists()


def test_where_nobody_is_left_to_tell_the_step_is_kept_and_the_watch_ends(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    change(cast, rule, targets=["deputies"])
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == [("", set())]
    assert not Escalation.objects.exists()


def test_a_school_without_a_contact_is_escalated_too(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    Membership.objects.filter(user=cast.principal).delete()
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == [("inspector", {"安督学"})]
    notice = Notice.objects.get(event="escalation.unacknowledged")
    assert notice.params["waiting"] == "学校没有联系人"


# ---- once, whatever happens -------------------------------------------------------------------------


def test_looking_again_and_again_takes_each_step_once(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    held_clock.set("2026-11-17T10:00")
    for _look in range(3):
        run()
    assert len(told()) == 1


def test_a_worker_that_dies_in_the_middle_leaves_the_step_to_the_next(
    cast: Cast, rule: EscalationRule, held_clock: Clock, monkeypatch
):
    find(cast)
    held_clock.set("2026-11-17T10:00")
    with monkeypatch.context() as broken:
        broken.setattr(escalation, "notify", lambda *_a, **_k: 1 / 0)
        run()
    assert told() == []
    held_clock.set("2026-11-17T10:05")  # its lease or its backoff is over
    run()
    assert told() == [("inspector", {"安督学"})]
    row = Escalation.objects.get()
    assert (row.taken, row.work_attempts) == (1, 0)


def test_a_row_whose_lease_was_lost_does_nothing(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    held_clock.set("2026-11-17T10:00")
    pump = next(pump for pump in work.pumps() if pump.name == PUMP)
    (late,) = work.claim(pump)
    Escalation.objects.update(work_due_at=clock.now())
    run()
    escalate(late)
    assert len(told()) == 1
    assert Notice.objects.filter(event="escalation.unacknowledged").count() == 1
    assert Escalation.objects.get().taken == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_tell_once(cast: Cast, rule: EscalationRule, held_clock: Clock):
    for _finding in range(5):
        find(cast)
    held_clock.set("2026-11-17T10:00")
    together = Barrier(3)

    def look() -> None:
        try:
            together.wait(10)
            run()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(look) for _worker in range(3)]:
            future.result()
    run()
    assert [target for target, _who in told()] == ["inspector"] * 5
    assert Notice.objects.filter(event="escalation.unacknowledged").count() == 5


def test_finding_what_is_due_uses_the_index_of_what_is_due(db):
    query = rows().filter(work_due_at__lte=clock.now()).order_by("work_due_at")[:50]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "escalation_due" in query.explain()


def test_a_look_costs_the_same_however_many_notices_there_are(
    cast: Cast, rule: EscalationRule, held_clock: Clock, django_assert_max_num_queries
):
    find(cast)
    for _notice in range(60):
        notify("finding.closed", recipients=[cast.ada], school=cast.school, finding="x")
    held_clock.set("2026-11-17T10:00")
    with django_assert_max_num_queries(50):
        run()
    assert len(told()) == 1
    with django_assert_max_num_queries(3):
        run()


# ---- rules ------------------------------------------------------------------------------------------


def test_a_new_county_begins_with_rules(db):
    county = add_area("新县", "910199", "county")
    town = add_area("新镇", "910199101", "town", county)
    assert county.escalation_rules.filter(enabled=True).count() == 5
    assert not town.escalation_rules.exists()


def test_the_rules_that_a_county_begins_with_are_ones_that_an_office_could_write(cast: Cast):
    for rule in list(cast.county.escalation_rules.all()):
        names = RuleDraft.__dataclass_fields__
        same = RuleDraft(**{name: getattr(rule, name) for name in names})
        save_rule(by=cast.office, area_id=cast.county.pk, rule_id=rule.pk, draft=same)


def test_a_new_rule_watches_what_is_open_already(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    EscalationRule.objects.filter(pk=rule.pk).update(enabled=False)
    find(cast)
    find(cast, cast.far_school)
    assert not Escalation.objects.exists()
    held_clock.set("2026-11-18T12:00")
    save_rule(by=cast.office, area_id=cast.town.pk, draft=draft(name="镇规则"))
    run()
    assert told() == [("inspector", {"安督学"})]


def test_saving_a_rule_again_does_not_begin_from_the_start(
    cast: Cast, rule: EscalationRule, held_clock: Clock
):
    find(cast)
    held_clock.set("2026-11-17T10:00")
    run()
    Escalation.objects.all().delete()  # as after its last step
    change(cast, rule)
    run()
    assert len(told()) == 1
    held_clock.set("2026-11-18T10:00")
    run()
    assert [target for target, _who in told()] == ["inspector", "town_group"]


def test_a_changed_rules_numbers_count_at_once(cast: Cast, rule: EscalationRule, held_clock: Clock):
    find(cast)
    change(cast, rule, after=48)
    held_clock.set("2026-11-17T10:00")
    run()
    assert told() == []
    held_clock.set("2026-11-17T16:00")
    change(cast, rule, after=30)
    run()
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"name": "名" * 81}, "/name"),
        ({"event": "finding.celebrated"}, "/event"),
        ({"event": "escalation.unread"}, "/event"),
        ({"condition": "sad"}, "/condition"),
        ({"condition": "overdue"}, "/event"),
        ({"counting": "lunar"}, "/counting"),
        ({"event": "finding.overdue", "condition": "overdue", "counting": "office"}, "/counting"),
        ({"targets": []}, "/targets"),
        ({"targets": ["mayor"]}, "/targets"),
        ({"targets": ["office", "office"]}, "/targets"),
        ({"after": 0}, "/after"),
        ({"after": 1001}, "/after"),
        ({"repeat_after": 0}, "/repeat_after"),
        ({"at_most": 0}, "/at_most"),
        ({"at_most": 21}, "/at_most"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(cast: Cast, changes, pointer):
    with pytest.raises(Invalid) as refused:
        save_rule(by=cast.office, area_id=cast.county.pk, draft=draft(**changes))
    assert pointer in [problem.pointer for problem in refused.value.problems]


def test_only_offices_write_rules_and_only_their_own(cast: Cast, rule: EscalationRule):
    for who in (cast.town_group, cast.ada, cast.principal, cast.carla):
        with pytest.raises(NotAllowed):
            save_rule(by=who, area_id=cast.town.pk, draft=draft())
    elsewhere = add_area("云外县", "910122", "county", cast.county.parent)
    far = add_person("far", "远主任", Membership.Role.OFFICE, area=elsewhere, is_staff=True)
    with pytest.raises(NotFound):
        save_rule(by=far, area_id=cast.county.pk, draft=draft())
    with pytest.raises(NotFound):
        save_rule(by=far, area_id=elsewhere.pk, rule_id=rule.pk, draft=draft())
    assert rule not in rules_visible_to(far)
    assert rule in rules_visible_to(cast.town_group)
    assert not rules_visible_to(cast.carla).exists()


def test_each_change_of_a_rule_is_in_the_audit_log(cast: Cast, rule: EscalationRule):
    change(cast, rule, after=48)
    entries = AuditEntry.objects.filter(action="escalation.saved").order_by("id")
    assert [entry.details["after"] for entry in entries] == [24, 48]


def test_what_can_be_escalated_is_about_a_school():
    assert "finding.opened" in events_to_escalate()
    assert "finding.*" in events_to_escalate()
    assert not {"announcement", "export.ready", "escalation.unread"} & set(events_to_escalate())


def test_ids_are_in_order_of_time(cast: Cast):
    before = watching.first_id_of(clock.now() - timedelta(seconds=1))
    notice = notify("finding.closed", recipients=[], school=cast.school, finding="x")
    assert before < notice.pk < watching.first_id_of(clock.now() + timedelta(seconds=1))


def test_a_visit_that_was_given_more_time_is_overdue_no_more(
    cast: Cast, rule: EscalationRule, held_clock: Clock, activity: Activity
):
    visit = Visit.objects.get(school=cast.school)
    change(cast, rule, event="visit.overdue", condition="overdue", targets=["town_group"])
    Activity.objects.update(starts=date(2026, 11, 9), ends=date(2026, 11, 13))
    notice = notify(
        "visit.overdue",
        recipients=[cast.ada],
        subject=("visit", visit.pk),
        school=cast.school,
        activity="周",
        ends="2026-11-13",
    )
    rule.refresh_from_db()
    assert escalation.still_waits(notice, rule)
    assert timezone.localdate(moment_of(rule, notice, 0, None)) > date(2026, 11, 13)
    Activity.objects.update(ends=date(2026, 11, 30))
    assert not escalation.still_waits(notice, rule)
