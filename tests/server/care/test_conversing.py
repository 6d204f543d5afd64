"""Messages under care: texts and files really go, unless they are held, and what is kept of them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from media_storage.models import MediaObject
from media_storage.stores import get_store
from server.activities.models import Activity
from server.care import conversing, deleting
from server.care.holds import lift_hold, set_hold
from server.care.models import Deletion
from server.conversations.models import Conversation, Message
from server.conversations.queries import media_visible_to
from server.conversations.services import remove_message, withdraw_message
from server.core import clock
from server.core.audit import AuditEntry
from server.findings.models import Finding
from tests.conversations import photo_of, say

pytestmark = pytest.mark.django_db


def age(conversation: Conversation, days: int) -> None:
    """All that was said was said so long ago."""
    then = clock.now() - timedelta(days=days)
    Message.objects.filter(conversation=conversation).update(created_at=then)


def withdrawn(conversation: Conversation, by, **more: object) -> Message:
    message = say(conversation, by, **more)
    withdraw_message(conversation_id=conversation.pk, message_id=message.pk, by=by)
    return message


def now_text(message: Message) -> str:
    return Message.objects.values_list("text", flat=True).get(pk=message.pk)


def test_a_withdrawn_text_leaves_the_database(cast, of_school):
    message = withdrawn(of_school, cast.ada, text="说错了")
    assert now_text(message) == "说错了"
    assert conversing.erase_gone() == 1
    row = Message.objects.get(pk=message.pk)
    assert (row.text, row.gone, row.sha256) == ("", "withdrawn", message.sha256)
    assert row.erased_at
    assert conversing.erase_gone() == 0
    log = json.dumps(list(AuditEntry.objects.values_list("details", flat=True)), ensure_ascii=False)
    assert "说错了" not in log


def test_a_removed_message_takes_its_files_along(cast, of_school):
    media = photo_of(cast.ada)
    message = say(of_school, cast.ada, "", media=[media.pk])
    remove_message(
        conversation_id=of_school.pk, message_id=message.pk, by=cast.office, reason="有学生正脸"
    )
    assert not media_visible_to(cast.principal).exists()
    conversing.erase_gone()
    row = Deletion.objects.get(media=media)
    assert (row.rule, row.reason, row.decided_by) == ("request", "有学生正脸", cast.office)
    deleting.delete_now(deletion_id=row.pk, by=cast.office)
    while Deletion.objects.get(pk=row.pk).state != "deleted":
        deleting.rows().filter(pk=row.pk).update(look_again_at=None)
        deleting.carry_out(deleting.rows().get(pk=row.pk))
    assert MediaObject.objects.get(pk=media.pk).state == "deleted"
    assert not list(get_store().traces(media.key))


@pytest.mark.parametrize("target", ["school", "visit", "activity"])
def test_a_hold_keeps_what_is_hidden(cast, of_visit, target):
    place = {
        "school": of_visit.school_id,
        "visit": of_visit.visit_id,
        "activity": of_visit.visit.activity_id,
    }[target]
    hold, _kept = set_hold(target=target, target_id=place, by=cast.office, reason="投诉")
    media = photo_of(cast.ada)
    message = withdrawn(of_visit, cast.ada, text="证据", media=[media.pk])
    assert conversing.erase_gone() == 0
    assert now_text(message) == "证据"
    assert not Deletion.objects.exists()
    lift_hold(hold_id=hold.pk, by=cast.office, reason="结案")
    assert conversing.erase_gone() == 1
    assert now_text(message) == ""
    assert Deletion.objects.get().media == media


def test_a_hold_that_is_set_while_the_worker_is_at_it_comes_first(cast, of_school, monkeypatch):
    """The look under the locks counts, not the one that found the conversation."""
    message = withdrawn(of_school, cast.ada, text="证据")

    def late(_places) -> None:
        set_hold(target="school", target_id=of_school.school_id, by=cast.office, reason="投诉")

    monkeypatch.setattr(conversing, "lock_places", late)
    assert conversing.erase_gone() == 0
    assert now_text(message) == "证据"


def test_messages_end_with_their_activitys_retention(cast, of_visit, settings):
    say(of_visit, cast.ada, "旧的")
    age(of_visit, 100)
    say(of_visit, cast.ada, "新的")
    assert conversing.expire() == 0  # kept for ever
    day = clock.today() - timedelta(days=settings.DELETION_GRACE_DAYS)
    rows = Activity.objects.filter(pk=of_visit.visit.activity_id)
    rows.update(keep_media_days=1, media_kept_until=day)
    assert conversing.expire() == 0  # the grace period
    rows.update(media_kept_until=day - timedelta(days=1))
    assert conversing.expire() == 1
    old, new, entry = Message.objects.order_by("number")
    assert (old.gone, new.gone, entry.kind, entry.about_number) == ("expired", "", "expired", 1)
    assert conversing.expire() == 0
    conversing.erase_gone()
    assert now_text(old) == ""
    assert AuditEntry.objects.filter(action="conversation.expired").count() == 1


def test_an_open_problem_keeps_the_talk_about_it(cast, of_visit, of_finding):
    for conversation in (of_visit, of_finding):
        say(conversation, cast.ada, "整改情况")
        age(conversation, 100)
    Activity.objects.update(keep_media_days=1, media_kept_until=clock.today() - timedelta(days=60))
    assert conversing.expire() == 0
    Finding.objects.update(state="closed", closed_at=clock.now())
    assert conversing.expire() == 2


def test_a_hold_keeps_messages_from_ending(cast, of_school, settings):
    settings.CONVERSATION_KEEP_DAYS = 30
    say(of_school, cast.ada, "旧的")
    age(of_school, 31)
    hold, _kept = set_hold(
        target="school", target_id=of_school.school_id, by=cast.office, reason="调查"
    )
    assert conversing.expire() == 0
    lift_hold(hold_id=hold.pk, by=cast.office, reason="结案")
    assert conversing.expire() == 1


def test_talk_of_no_activity_is_kept_as_the_setting_says(cast, of_school, settings):
    media = photo_of(cast.ada)
    say(of_school, cast.ada, "旧的", media=[media.pk])
    age(of_school, 31)
    assert conversing.expire() == 0
    settings.CONVERSATION_KEEP_DAYS = 30
    assert conversing.expire() == 1
    conversing.erase_gone()
    row = Deletion.objects.get(media=media)
    assert row.rule == "retention"
    Deletion.objects.filter(pk=row.pk).update(delete_after=clock.now())
    deleting.carry_out(deleting.rows().get(pk=row.pk))
    assert Deletion.objects.get(pk=row.pk).state in ("deleting", "deleted")


def test_files_of_messages_are_due_with_the_activitys_photos(cast, of_visit):
    from server.care.queries import due_media

    media = photo_of(cast.ada)
    say(of_visit, cast.ada, "", media=[media.pk])
    assert not due_media(clock.today()).exists()
    Activity.objects.update(keep_media_days=1, media_kept_until=clock.today() - timedelta(days=1))
    assert list(due_media(clock.today())) == [media]
    set_hold(target="media", target_id=media.pk, by=cast.office, reason="投诉")
    assert not due_media(clock.today()).exists()
