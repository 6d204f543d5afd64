"""Who reads which conversation, in both directions, and what an unannounced visit tells the school."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.conversations.models import Conversation
from server.conversations.queries import (
    conversations_listed_for,
    conversations_moderated_by,
    conversations_visible_to,
    media_visible_to,
    members_of,
    messages_found_by,
    messages_visible_to,
)
from server.conversations.services import open_conversation
from server.core import clock
from server.core.changes import Change
from server.core.errors import NotFound
from server.grid.models import Appointment, Membership, User
from tests.conversations import arrive, opened, photo_of, say

pytestmark = pytest.mark.django_db


def names(people) -> set[str]:
    return {person.username for person in people}


def test_members_follow_from_the_grid(cast, of_visit, of_finding, of_school):
    assert names(members_of(of_visit)) == {"ada", "principal", "office"}
    assert names(members_of(of_finding)) == {"ada", "principal", "office", "group"}
    assert names(members_of(of_school)) == {"ada", "principal", "office", "group"}


def test_both_directions_agree(cast, of_visit, of_finding, of_school, unannounced):
    quiet = opened("visit", unannounced.pk, cast.office)
    ids = [each.pk for each in (of_visit, of_finding, of_school, quiet)]
    for conversation in Conversation.objects.filter(pk__in=ids):
        members = set(members_of(conversation))
        readers = {
            person
            for person in User.objects.all()
            if conversations_visible_to(person).filter(pk=conversation.pk).exists()
        }
        assert members == readers


def test_a_province_is_no_member_of_a_schools_conversation(cast, of_school):
    far = Membership.objects.create(
        user=cast.expert, role="office", area=cast.county.parent.parent, starts=clock.today()
    )
    assert far.user not in members_of(of_school)
    assert not conversations_visible_to(cast.expert).exists()


def test_whoever_is_no_member_any_more_reads_nothing_any_more(cast, of_school):
    say(of_school, cast.principal, "请看食堂")
    assert messages_visible_to(cast.ada).count() == 1
    yesterday = clock.today() - timedelta(days=1)
    Appointment.objects.filter(inspector=cast.ada).update(ends=yesterday)
    assert not conversations_visible_to(cast.ada).exists()
    assert not messages_visible_to(cast.ada).exists()
    assert cast.ada not in members_of(of_school)


def test_the_school_learns_of_an_unannounced_visit_at_check_in_and_reads_from_there(
    cast, unannounced
):
    conversation = opened("visit", unannounced.pk, cast.office)
    say(conversation, cast.ada, "我们九点到，先看后厨")
    assert cast.principal not in members_of(conversation)
    assert not conversations_visible_to(cast.principal).exists()
    with pytest.raises(NotFound):
        open_conversation(subject="visit", subject_id=unannounced.pk, by=cast.principal)

    arrive(unannounced, cast.ada)
    say(conversation, cast.ada, "已到校")
    (message,) = messages_visible_to(cast.principal)
    assert (message.number, message.text) == (2, "已到校")
    (listed,) = conversations_listed_for(cast.principal)
    assert (listed.unread, listed.hidden_through) == (1, 1)
    assert [each.text for each in messages_visible_to(cast.office)] == [
        "我们九点到，先看后厨",
        "已到校",
    ]
    assert not messages_found_by(cast.principal, "后厨").exists()


def test_no_change_names_the_school_before_the_check_in(cast, unannounced):
    Change.objects.all().delete()
    conversation = opened("visit", unannounced.pk, cast.office)
    say(conversation, cast.ada, "先不要告诉学校")
    rows = Change.objects.filter(type="conversation")
    assert {row.school_id for row in rows} == {None}
    assert cast.principal.pk not in {row.user_id for row in rows}
    arrive(unannounced, cast.ada)
    assert rows.filter(school_id=cast.school.pk).exists()


def test_a_conversation_that_begins_after_the_check_in_is_whole_for_the_school(cast, unannounced):
    arrive(unannounced, cast.ada)
    conversation = opened("visit", unannounced.pk, cast.ada)
    say(conversation, cast.ada, "请开门")
    assert messages_visible_to(cast.principal).count() == 1


def test_files_go_with_their_messages(cast, unannounced):
    conversation = opened("visit", unannounced.pk, cast.office)
    early, late = photo_of(cast.ada), photo_of(cast.ada)
    say(conversation, cast.ada, "", media=[early.pk])
    arrive(unannounced, cast.ada)
    say(conversation, cast.ada, "", media=[late.pk])
    assert set(media_visible_to(cast.office)) == {early, late}
    assert set(media_visible_to(cast.principal)) == {late}
    assert not media_visible_to(cast.carla).exists()


def test_unread_counts_what_others_wrote_since(cast, of_school, django_assert_num_queries):
    for number in range(4):
        say(of_school, cast.principal if number % 2 else cast.ada, str(number))
    (mine,) = conversations_listed_for(cast.principal)
    assert (mine.unread, mine.read_number, mine.last_number) == (2, 0, 4)
    (offices,) = conversations_listed_for(cast.office)
    assert offices.unread == 4
    with django_assert_num_queries(2):  # the offices that one speaks for, and the list
        list(conversations_listed_for(cast.office))


def test_offices_moderate_town_groups_only_what_they_planned(cast, of_school, of_visit):
    assert set(conversations_moderated_by(cast.office)) == {of_school, of_visit}
    for person in (cast.town_group, cast.ada, cast.principal, cast.carla):
        assert not conversations_moderated_by(person).exists()


@pytest.mark.parametrize("words", ["留样", "样", "125 克", "ABC", "abc"])
def test_search_finds_parts_of_words(cast, of_school, words):
    say(of_school, cast.principal, "留样不足125 克，见 ABC 表")
    say(of_school, cast.principal, "别的")
    (found,) = messages_found_by(cast.ada, words)
    assert found.number == 1
    assert not messages_found_by(cast.carla, words).exists()


@pytest.mark.parametrize("words", ["%", "_", "\\"])
def test_search_takes_signs_for_what_they_are(cast, of_school, words):
    say(of_school, cast.principal, "没有那些")
    assert not messages_found_by(cast.ada, words).exists()
    say(of_school, cast.principal, f"合格率 85{words} 以上")
    assert messages_found_by(cast.ada, words).count() == 1
