"""Findings: raising by hand, and the buttons that the machine opens."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.activities.models import Visit
from server.core.clock import today
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding
from tests.cast import Cast


@pytest.fixture
def finding(made_visit: Visit) -> Finding:
    return Finding.objects.get()


@pytest.fixture
def answered(finding: Finding, cast: Cast) -> Finding:
    step = Step(action="answer", measures="已在食堂门口公示")
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=cast.principal, step=step)
    return Finding.objects.get()


def do(client, finding: Finding, name: str, **data: str):
    return client.post(f"/admin/findings/finding/{finding.pk}/do/{name}/", data, follow=True)


def test_raising_a_finding_by_hand(office, cast: Cast):
    due = today() + timedelta(days=15)
    answer = office.post(
        "/admin/findings/finding/add/",
        {
            "school": str(cast.school.pk),
            "title": "消防通道堆放杂物",
            "severity": "severe",
            "due_on": due.isoformat(),
        },
        follow=True,
    )
    finding = Finding.objects.get()
    assert (finding.school, finding.due_on, finding.severity) == (cast.school, due, "severe")
    assert "消防通道堆放杂物" in answer.content.decode()


def test_the_buttons_are_those_of_the_machine(office, finding: Finding, cast: Cast):
    answer = office.get(f"/admin/findings/finding/{finding.pk}/change/")
    assert list(answer.context["deeds"]) == ["postpone", "withdraw"]


def test_verifying_an_answer_closes_the_finding(office, answered: Finding):
    page = office.get(f"/admin/findings/finding/{answered.pk}/change/").content.decode()
    assert "已在食堂门口公示" in page
    do(office, answered, "verify")
    answered.refresh_from_db()
    assert answered.state == "closed"


def test_returning_wants_a_reason(office, answered: Finding):
    assert "请写明原因" in do(office, answered, "return").content.decode()
    due = today() + timedelta(days=3)
    do(office, answered, "return", note="照片看不清", day=due.isoformat())
    answered.refresh_from_db()
    assert (answered.state, answered.due_on) == ("returned", due)


def test_a_new_deadline_in_the_past_is_refused(office, finding: Finding):
    answer = do(office, finding, "postpone", day="2020-01-01")
    assert "期限不能早于今天" in answer.content.decode()


def test_the_school_answers_for_itself(office, finding: Finding):
    do(office, finding, "answer", note="代答")
    finding.refresh_from_db()
    assert finding.state == "open"


def test_a_finding_elsewhere_does_not_exist(group, finding: Finding, cast: Cast):
    Finding.objects.update(school=cast.far_school)
    assert group.get(f"/admin/findings/finding/{finding.pk}/change/").status_code == 404
