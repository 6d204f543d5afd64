"""Findings: raised, answered with evidence, verified or returned, closed; and who is told."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from media_storage.models import MediaObject
from server.core import clock
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, WrongState
from server.findings.models import Finding, FindingAction
from server.findings.queries import findings_visible_to, media_visible_to
from server.findings.services import (
    EvidenceMissing,
    Step,
    act_on_finding,
    raise_finding,
    tell_overdue,
)
from server.grid.models import User
from server.messaging.models import Delivery
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def finding(cast: Cast) -> Finding:
    raised, _created = raise_finding(
        finding_id=uuid4(),
        by=cast.ada,
        school_id=cast.school.pk,
        title="消防通道堵塞",
        due_on=clock.today() + timedelta(days=7),
    )
    return raised


def act(finding: Finding, by: User, action: str, *, action_id=None, **step) -> Finding:
    return act_on_finding(
        finding_id=finding.pk,
        action_id=action_id or uuid4(),
        by=by,
        step=Step(action=action, **step),
    )


def photo_of(owner: User) -> MediaObject:
    return MediaObject.objects.create(
        owner=owner, filename="a.jpg", content_type="image/jpeg", size=1, sha256="0" * 64
    )


def told(event: str) -> set[str]:
    rows = Delivery.objects.filter(notice__event=event)
    return set(rows.values_list("recipient__username", flat=True))


def test_a_raised_finding_is_told_to_the_school(cast: Cast, finding: Finding):
    assert told("finding.opened") == {"principal"}


def test_the_story_of_a_finding_from_open_to_closed(cast: Cast, finding: Finding):
    evidence = photo_of(cast.principal)
    act(finding, cast.principal, "answer", measures="已清理", media=[evidence.pk])
    assert told("finding.answered") == {"ada"}
    act(finding, cast.ada, "return", note="照片不清楚")
    assert told("finding.returned") == {"principal"}
    act(finding, cast.principal, "answer", measures="重新拍摄")
    closed = act(finding, cast.ada, "verify")
    assert closed.state == Finding.State.CLOSED
    assert closed.closed_at is not None
    assert told("finding.closed") == {"principal", "ada"}
    assert list(media_visible_to(cast.ada)) == [evidence]
    assert not media_visible_to(cast.carla).exists()


def test_the_same_action_again_has_its_effect_once(cast: Cast, finding: Finding):
    action_id = uuid4()
    for _ in range(2):
        act(finding, cast.principal, "answer", action_id=action_id, measures="已清理")
    assert FindingAction.objects.count() == 1
    assert Delivery.objects.filter(notice__event="finding.answered", channel="inbox").count() == 1


def test_an_action_id_that_stands_for_something_else_is_a_conflict(cast: Cast, finding: Finding):
    action_id = uuid4()
    act(finding, cast.principal, "answer", action_id=action_id, measures="已清理")
    with pytest.raises(ContentConflict):
        act(finding, cast.principal, "answer", action_id=action_id, measures="别的")


def test_closing_a_finding_twice_is_refused(cast: Cast, finding: Finding):
    act(finding, cast.principal, "answer", measures="已清理")
    act(finding, cast.ada, "verify")
    with pytest.raises(WrongState):
        act(finding, cast.ada, "verify")


def test_a_school_may_not_verify_its_own_answer(cast: Cast, finding: Finding):
    act(finding, cast.principal, "answer", measures="已清理")
    with pytest.raises(NotAllowed):
        act(finding, cast.principal, "verify")


def test_only_the_office_reopens(cast: Cast, finding: Finding):
    act(finding, cast.principal, "answer", measures="已清理")
    act(finding, cast.ada, "verify")
    with pytest.raises(NotAllowed):
        act(finding, cast.ada, "reopen", note="复发")
    reopened = act(finding, cast.office, "reopen", note="复发")
    assert (reopened.state, reopened.closed_at) == ("returned", None)


def test_what_somebody_may_not_see_does_not_exist(cast: Cast, finding: Finding):
    for stranger in (cast.carla, cast.bruno, cast.other_principal, cast.expert):
        assert not findings_visible_to(stranger).exists()
        with pytest.raises(NotFound):
            act(finding, stranger, "verify")


@pytest.mark.parametrize(
    ("who", "action", "step", "pointer"),
    [
        ("principal", "answer", {}, "/measures"),
        ("ada", "withdraw", {}, "/note"),
        ("ada", "postpone", {}, "/due"),
        ("ada", "postpone", {"due_on": clock.today() - timedelta(days=1)}, "/due"),
    ],
)
def test_a_step_names_what_it_lacks(
    cast: Cast, finding: Finding, who: str, action: str, step: dict, pointer: str
):
    with pytest.raises(Invalid) as refusal:
        act(finding, getattr(cast, who), action, **step)
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]
    assert not FindingAction.objects.exists()


def test_evidence_of_somebody_else_is_refused(cast: Cast, finding: Finding):
    stolen = photo_of(cast.carla)
    with pytest.raises(EvidenceMissing):
        act(finding, cast.principal, "answer", measures="已清理", media=[stolen.pk])
    finding.refresh_from_db()
    assert finding.state == "open"


def test_a_finding_may_be_raised_where_one_inspects_only(cast: Cast):
    for by, refusal in ((cast.carla, NotFound), (cast.principal, NotAllowed)):
        with pytest.raises(refusal):
            raise_finding(
                finding_id=uuid4(),
                by=by,
                school_id=cast.school.pk,
                title="问题",
                due_on=clock.today(),
            )


def test_raising_the_same_again_is_the_same_and_other_content_a_conflict(cast: Cast):
    values = {"by": cast.ada, "school_id": cast.school.pk, "due_on": clock.today()}
    finding_id = uuid4()
    raise_finding(finding_id=finding_id, title="问题", **values)
    _again, created = raise_finding(finding_id=finding_id, title="问题", **values)
    assert not created
    with pytest.raises(ContentConflict):
        raise_finding(finding_id=finding_id, title="另一个问题", **values)
    assert Finding.objects.count() == 1


def test_what_is_overdue_is_told_once_per_deadline(cast: Cast, finding: Finding):
    assert tell_overdue() == 0
    Finding.objects.update(due_on=clock.today() - timedelta(days=1))
    assert tell_overdue() == 1
    assert tell_overdue() == 0
    assert told("finding.overdue") == {"principal", "ada"}
    act(finding, cast.ada, "postpone", due_on=clock.today() + timedelta(days=3))
    Finding.objects.update(due_on=clock.today() - timedelta(days=1))
    assert tell_overdue() == 1
