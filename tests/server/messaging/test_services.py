"""Telling people: notices, announcements to large audiences, reading and acknowledging."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import translation

from server.core import clock, work
from server.core.changes import Change
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound
from server.core.ids import new_id
from server.core.work import Pump
from server.grid.models import Membership, User
from server.messaging import services
from server.messaging.composing import announce
from server.messaging.models import Delivery, Hint, Notice
from server.messaging.queries import (
    Audience,
    deliveries_of,
    inbox_of,
    notices_visible_to,
    recipients_of,
)
from server.messaging.reading import acknowledge, mark_read
from server.messaging.services import notify


def tell(people, **options) -> Notice:
    return notify("announcement", recipients=people, title="标题", body="正文", **options)


def hear(user: User) -> list[Notice]:
    return [row.notice for row in inbox_of(user)]


def changes() -> list[tuple]:
    return list(
        Change.objects.order_by("id").values_list("type", "object_id", "school_id", "user_id")
    )


def pump(name: str) -> Pump:
    return next(pump for pump in work.pumps() if pump.name == name)


def send(by: User, audience: Audience, **changes) -> Notice:
    content = {"notice_id": new_id(), "title": "会议", "body": "周三开会", "requires_ack": False}
    return announce(by=by, audience=audience, **{**content, **changes})


# ---- notify ---------------------------------------------------------------------------------


def test_a_notice_is_in_the_inbox_of_its_recipients_and_of_nobody_else(cast):
    notice = tell([cast.ada, cast.bruno])
    assert hear(cast.ada) == hear(cast.bruno) == [notice]
    assert hear(cast.carla) == []


def test_each_person_is_told_once_however_often_they_are_named(cast):
    notice = tell([cast.ada, cast.ada])
    assert list(notice.deliveries.values_list("channel", "state")) == [("inbox", "delivered")]
    assert [row.user_ids for row in Hint.objects.all()] == [[str(cast.ada.pk)]]


def test_recipients_may_be_a_query(cast):
    tell(User.objects.filter(username__in=["ada", "carla"]))
    assert len(hear(cast.ada)) == len(hear(cast.carla)) == 1


def test_people_who_cannot_log_in_any_more_are_passed_over(cast):
    cast.ada.is_active = False
    notice = tell([cast.ada])
    assert not notice.deliveries.exists()


def test_every_device_that_can_be_pushed_gets_its_own_delivery(cast, log_in):
    _token, phone = log_in(cast.ada, push="address-1")
    _token, tablet = log_in(cast.ada, push="address-2")
    log_in(cast.ada)  # no push
    notice = tell([cast.ada])
    rows = notice.deliveries.filter(channel="fcm")
    assert {row.address for row in rows} == {str(phone.id), str(tablet.id)}
    assert all(row.work_due_at for row in rows)


def test_the_text_is_in_the_language_of_the_reader_not_of_the_writer(cast):
    notice = notify(
        "finding.opened",
        recipients=[cast.principal],
        school=cast.school,
        finding="留样不足",
        due="2026-03-01",
    )
    assert notice.title == "发现问题，请整改：留样不足"
    assert notice.body.startswith("东河镇中心小学：留样不足。请于 2026-03-01 前")
    with translation.override("en"):
        assert notice.title == "Finding to rectify: 留样不足"


def test_a_notice_asks_for_confirmation_as_its_event_says_unless_told_otherwise(cast):
    params = {"finding": "留样不足", "due": "2026-03-01", "school": cast.school}
    assert notify("finding.opened", recipients=[], **params).requires_ack
    assert not notify("finding.opened", recipients=[], requires_ack=False, **params).requires_ack
    assert not tell([]).requires_ack


def test_a_wrong_parameter_raises_and_stores_nothing(cast):
    with pytest.raises(TypeError, match="school"):
        notify("visit.reviewed", recipients=[cast.ada], activity="食品安全")
    with pytest.raises(TypeError, match="activity"):
        notify("visit.reviewed", recipients=[cast.ada], school=cast.school)
    assert not Notice.objects.exists()


def test_a_notice_is_gone_with_the_transaction_that_told(cast):
    with transaction.atomic():
        tell([cast.ada])
        transaction.set_rollback(True)
    assert hear(cast.ada) == []


def test_the_change_feed_tells_the_recipients_only(cast):
    notice = tell([cast.ada])
    assert changes() == [("notice", notice.id, None, cast.ada.pk)]


def test_a_notice_to_nobody_is_no_change_for_everybody(cast):
    tell([])
    assert changes() == []


def test_telling_a_hundred_costs_as_many_queries_as_telling_one(
    cast, django_assert_max_num_queries
):
    people = [User(username=f"p{i}", name="人") for i in range(100)]
    User.objects.bulk_create(people)
    with django_assert_max_num_queries(12):  # SQLite takes 999 values in one insert
        tell(people)


# ---- announce -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "who"),
    [
        (lambda cast: {"areas": [cast.town.pk]}, "ada bruno group other principal"),
        (lambda cast: {"areas": [cast.far_town.pk]}, "carla"),
        (lambda cast: {"schools": [cast.school.pk]}, "ada principal"),
        (lambda cast: {"areas": [cast.town.pk], "roles": ["inspector"]}, "ada bruno"),
        (lambda cast: {"areas": [cast.town.pk], "roles": ["school_contact"]}, "other principal"),
        (lambda cast: {"roles": ["inspector"]}, "ada bruno carla"),
        (lambda cast: {"people": [cast.carla.pk]}, "carla"),
        (
            lambda cast: {"schools": [cast.school.pk], "people": [cast.carla.pk]},
            "ada carla principal",
        ),
        (
            lambda cast: {"areas": [cast.county.pk]},
            "ada bruno carla expert group office other principal",
        ),
        (lambda cast: {}, ""),
    ],
)
def test_an_audience_is_areas_schools_roles_and_people(cast, audience, who):
    people = recipients_of(Audience(**audience(cast)), cast.office)
    assert sorted(people.values_list("username", flat=True)) == who.split()


def test_a_town_group_reaches_its_own_town_only(cast):
    wide = Audience(areas=[cast.county.pk], people=[cast.carla.pk])
    people = recipients_of(wide, cast.town_group).values_list("username", flat=True)
    assert sorted(people) == ["ada", "bruno", "group", "other", "principal"]


def test_those_whose_term_has_ended_are_not_reached(cast):
    cast.principal.memberships.update(ends=clock.today() - timedelta(days=1))
    people = recipients_of(Audience(schools=[cast.school.pk]), cast.office)
    assert list(people) == [cast.ada]


def test_an_announcement_reaches_its_audience(cast):
    notice = send(cast.office, Audience(schools=[cast.school.pk]), requires_ack=True)
    assert hear(cast.principal) == hear(cast.ada) == [notice]
    assert (notice.title, notice.body, notice.requires_ack) == ("会议", "周三开会", True)


def test_only_offices_announce(cast):
    for person in (cast.ada, cast.principal, cast.expert):
        with pytest.raises(NotAllowed):
            send(person, Audience(schools=[cast.school.pk]))


def test_an_announcement_without_text_or_readers_is_refused_and_not_stored(cast):
    with pytest.raises(Invalid) as refusal:
        send(cast.office, Audience(schools=[cast.school.pk]), title=" ", body="")
    assert [problem.pointer for problem in refusal.value.problems] == ["/title", "/body"]
    with pytest.raises(Invalid) as refusal:
        send(cast.town_group, Audience(schools=[cast.far_school.pk]))
    assert refusal.value.problems[0].code == "nobody"
    assert not Notice.objects.exists()


def test_the_same_announcement_again_is_the_same_and_another_is_a_conflict(cast):
    audience = Audience(schools=[cast.school.pk], roles=["inspector", "school_contact"])
    first = send(cast.office, audience)
    again = Audience(schools=[cast.school.pk], roles=["school_contact", "inspector"])
    assert send(cast.office, again, notice_id=first.id) == first
    assert Delivery.objects.filter(channel="inbox").count() == 2
    for changes in ({"title": "改期"}, {"requires_ack": True}):
        with pytest.raises(ContentConflict):
            send(cast.office, audience, notice_id=first.id, **changes)
    with pytest.raises(ContentConflict):
        send(cast.town_group, audience, notice_id=first.id)


@pytest.fixture
def crowd(cast, monkeypatch) -> int:
    """23 more inspectors of the town; large is more than 5, a batch is 10."""
    monkeypatch.setattr(services, "AT_ONCE", 5)
    monkeypatch.setattr(services, "BATCH", 10)
    people = User.objects.bulk_create(User(username=f"p{i}", name="人") for i in range(23))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.town) for user in people
    )
    return 23 + 2  # and ada and bruno, by appointment


def test_a_large_audience_is_expanded_by_the_worker_in_batches(cast, crowd, monkeypatch):
    notice = send(cast.office, Audience(areas=[cast.town.pk], roles=["inspector"]))
    assert not notice.deliveries.exists()
    monkeypatch.setattr(services, "EXPAND_SECONDS", 0)
    notices = pump("notices")
    sizes = []
    while rows := work.claim(notices):
        work.run(notices, rows[0])
        sizes.append(notice.deliveries.filter(channel="inbox").count())
    assert sizes == [10, 20, crowd]
    notice.refresh_from_db()
    assert (notice.work_due_at, notice.work_error) == (None, "")


def test_an_audience_of_many_batches_is_not_taken_for_many_dead_workers(cast, crowd, monkeypatch):
    monkeypatch.setattr(services, "BATCH", 2)
    notice = send(cast.office, Audience(areas=[cast.town.pk], roles=["inspector"]))
    work.drain(pump("notices"))
    assert notice.deliveries.filter(channel="inbox").count() == crowd


def test_a_crash_in_the_middle_of_expanding_doubles_and_forgets_nobody(cast, crowd, monkeypatch):
    notice = send(cast.office, Audience(areas=[cast.town.pk], roles=["inspector"]))
    monkeypatch.setattr(services, "EXPAND_SECONDS", 0)
    services.expand(notice)  # a worker that dies before the pump notes that the batch was done
    monkeypatch.setattr(services, "EXPAND_SECONDS", 20)
    real = services.record_change

    def die(*_args, **_kwargs):
        monkeypatch.setattr(services, "record_change", real)
        raise RuntimeError("power cut")

    monkeypatch.setattr(services, "record_change", die)  # and one that dies within a batch
    with pytest.raises(RuntimeError), transaction.atomic():
        services.expand(notice)
    work.drain(pump("notices"))
    told = list(notice.deliveries.filter(channel="inbox").values_list("recipient", flat=True))
    assert len(told) == len(set(told)) == crowd
    hinted = [user_id for row in Hint.objects.all() for user_id in row.user_ids]
    assert len(hinted) == len(set(hinted)) == crowd


def test_two_workers_on_the_same_batch_tell_nobody_twice(cast, crowd):
    notice = send(cast.office, Audience(areas=[cast.town.pk], roles=["inspector"]))
    people = list(User.objects.filter(username__startswith="p1").values_list("pk", flat=True))
    people.sort()
    services.deliver(notice, people)
    services.deliver(notice, people)
    assert notice.deliveries.filter(channel="inbox").count() == len(people)


def test_a_batch_that_another_worker_has_told_meanwhile_is_left_alone(cast, crowd):
    notice = send(cast.office, Audience(areas=[cast.town.pk], roles=["inspector"]))
    people = sorted(User.objects.filter(username__startswith="p1").values_list("pk", flat=True))
    services._tell_batch(notice, people)
    services._tell_batch(notice, people)
    assert Hint.objects.count() == 1
    assert len(changes()) == 1  # for everybody: the crowd is larger than 5


# ---- reading --------------------------------------------------------------------------------


def test_reading_is_kept_with_device_and_both_clocks_and_repeating_changes_nothing(cast, log_in):
    _token, device = log_in(cast.ada)
    notice = tell([cast.ada])
    at = clock.now() - timedelta(hours=5)
    row = mark_read(notice_id=notice.id, by=cast.ada, device=device, at=at)
    assert (row.read_by_device, row.read_device_time) == (device, at)
    again = mark_read(notice_id=notice.id, by=cast.ada)
    assert (again.read_at, again.read_device_time) == (row.read_at, at)
    assert list(inbox_of(cast.ada, unread=True)) == []
    assert [found.notice for found in inbox_of(cast.ada, unread=False)] == [notice]


def test_acknowledging_reads_too_and_once(cast):
    notice = tell([cast.ada], requires_ack=True)
    row = acknowledge(notice_id=notice.id, by=cast.ada)
    assert row.read_at == row.acknowledged_at is not None
    assert acknowledge(notice_id=notice.id, by=cast.ada).acknowledged_at == row.acknowledged_at


def test_one_can_acknowledge_what_one_has_read_before(cast):
    notice = tell([cast.ada], requires_ack=True)
    read = mark_read(notice_id=notice.id, by=cast.ada).read_at
    row = acknowledge(notice_id=notice.id, by=cast.ada)
    assert row.read_at == read
    assert row.acknowledged_at is not None


def test_reading_is_a_change_for_the_readers_other_devices(cast):
    notice = tell([cast.ada])
    for _ in range(2):
        mark_read(notice_id=notice.id, by=cast.ada)
    assert changes() == [("notice", notice.id, None, cast.ada.pk)] * 2  # told, read


def test_what_was_not_sent_to_one_cannot_be_read(cast):
    notice = tell([cast.ada])
    for mark in (mark_read, acknowledge):
        with pytest.raises(NotFound):
            mark(notice_id=notice.id, by=cast.carla)


# ---- who may see ----------------------------------------------------------------------------


def test_a_notice_is_visible_to_recipients_author_and_the_schools_offices(cast):
    notice = services.notify(
        "announcement",
        recipients=[cast.principal],
        school=cast.school,
        created_by=cast.expert,
        title="标题",
        body="正文",
    )
    for person in (cast.principal, cast.expert, cast.office, cast.town_group):
        assert list(notices_visible_to(person)) == [notice]
    for person in (cast.ada, cast.carla, cast.other_principal):
        assert list(notices_visible_to(person)) == []


def test_who_got_it_is_for_the_author_and_the_schools_offices(cast):
    notice = services.notify(
        "announcement",
        recipients=[cast.principal],
        school=cast.school,
        created_by=cast.expert,
        title="标题",
        body="正文",
    )
    for person in (cast.expert, cast.office, cast.town_group):
        rows = deliveries_of(notice.id, by=person)
        assert [row.recipient for row in rows if row.channel == "inbox"] == [cast.principal]
    for person in (cast.principal, cast.carla):
        with pytest.raises(NotFound):
            deliveries_of(notice.id, by=person)
    with pytest.raises(NotFound):
        deliveries_of(uuid4(), by=cast.office)


def test_an_inbox_is_listed_in_one_query_newest_first(cast, django_assert_num_queries):
    notices = [
        notify("announcement", recipients=[cast.ada], school=cast.school, title=str(i), body="x")
        for i in range(5)
    ]
    with django_assert_num_queries(1):
        rows = list(inbox_of(cast.ada))
        assert [row.notice.title for row in rows] == ["4", "3", "2", "1", "0"]
        assert rows[0].notice.school == cast.school
    assert [row.notice for row in rows] == notices[::-1]


# ---- the database holds the invariants ------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "values"),
    [
        ("fcm", {"read_at": True}),
        ("inbox", {"acknowledged_at": True}),
        ("inbox", {"state": "delivered", "delivered_at": False}),
        ("fcm", {"state": "dead", "reason": ""}),
        ("fcm", {"state": "sent"}),
    ],
)
def test_the_database_refuses_deliveries_that_contradict_themselves(cast, channel, values):
    notice = tell([cast.ada])
    notice.deliveries.create(recipient=cast.ada, channel="fcm")
    moments = {True: clock.now(), False: None}
    values = {name: moments.get(value, value) for name, value in values.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        notice.deliveries.filter(channel=channel).update(**values)
