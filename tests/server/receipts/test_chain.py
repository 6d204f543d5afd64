"""Making receipts: once for everything, in order, day by day, whatever breaks in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections
from django.utils import timezone

from media_storage.models import MediaObject
from server.activities.models import Submission, SubmissionAttachment, SubmissionConflict, Visit
from server.activities.services.attaching import attach_submission
from server.core import schedule
from server.core.changes import Change
from server.receipts import chain, contents
from server.receipts.checking import check_everything
from server.receipts.keys import KeyUnusable, PrivateKey
from server.receipts.models import Chain, DayHead, Receipt
from tests.receipts import NOON, SECOND_KEY, County, Time

pytestmark = pytest.mark.django_db


def of(subject: UUID) -> list[Receipt]:
    return list(Receipt.objects.filter(subject=subject).order_by("sequence"))


def content(receipt: Receipt) -> dict[str, Any]:
    return dict(receipt.statement.body["content"])


def days() -> list[tuple[str, int]]:
    return [(str(day), day.count) for day in DayHead.objects.order_by("number")]


def is_sound() -> bool:
    report = check_everything()
    assert report.flaws == []
    return True


# ---- what gets a receipt -----------------------------------------------------------------------


def test_a_submission_gets_one_receipt_with_its_document_its_form_and_its_files(county: County):
    row = county.send("a", photo="1.jpg")
    county.make()
    (receipt,) = of(row.pk)
    says, media = content(receipt), MediaObject.objects.get()
    assert says["document"]["size"] == len(bytes(row.raw))
    assert says["form"]["id"] == "kitchen"
    assert (says["sender"], says["visit"]) == (str(county.cast.ada.pk), str(county.visit.pk))
    assert says["received_at"] == "2026-11-23T04:00:00.000000Z"
    (file,) = says["files"]
    assert file["name"] == "1.jpg"
    known = {name: file["media"][name] for name in ("id", "size", "sha256", "latitude", "origin")}
    assert known == {
        "id": str(media.pk),
        "size": media.size,
        "sha256": media.sha256,
        "latitude": "33.0005",
        "origin": "camera",
    }


def test_a_receipt_holds_no_answer_and_nobodys_name(county: County):
    row = county.send("a")
    county.make()
    (receipt,) = of(row.pk)
    assert "证件在柜子里" not in receipt.body
    assert county.cast.ada.name not in receipt.body
    assert "东河镇中心小学" in receipt.body  # the school is a label


def test_nothing_new_makes_no_receipt(chained: County):
    before = Receipt.objects.count()
    for _ in range(3):
        chained.time.move(minutes=2)
        chained.make()
    assert Receipt.objects.count() == before
    Chain.objects.update(feed_txid=0, feed_id=0)  # the whole feed again
    chained.make()
    assert Receipt.objects.count() == before


def test_an_edit_names_what_it_replaces(chained: County):
    (receipt,) = of(chained.ids["edit"])
    assert content(receipt)["replaces"] == str(chained.ids["xml"])


def test_a_conflict_gets_its_receipt_with_its_file(chained: County):
    conflicts = SubmissionConflict.objects.order_by("name")
    assert [row.name for row in conflicts] == ["", "5.jpg"]
    (document,), (file,) = (of(row.pk) for row in conflicts)
    assert content(document)["document"]["sha256"] == conflicts[0].sha256
    assert content(file)["files"][0]["name"] == "5.jpg"


def test_rectification_and_check_in_get_theirs(chained: County):
    kinds = Receipt.objects.values_list("kind", flat=True)
    assert set(kinds) == set(Receipt.Kind.values)
    answer = next(
        row for row in Receipt.objects.filter(kind="finding_action") if "answer" in row.body
    )
    media = MediaObject.objects.get(filename="mended.jpg")
    assert content(answer)["files"][0]["media"]["sha256"] == media.sha256
    assert "已公示" not in answer.body


# ---- what comes later --------------------------------------------------------------------------


def test_a_photo_that_comes_later_makes_a_further_receipt_and_the_first_stays(chained: County):
    first, second = of(chained.ids["late"])
    assert content(first)["files"] == [{"name": "2.jpg", "media": None}]
    assert content(second)["files"][0]["media"]["sha256"]
    assert second.statement.body["previous"] == first.hash


def test_a_visit_that_is_attached_later_makes_a_further_receipt(county: County, kitchen):
    kitchen.instrument.open = True
    kitchen.instrument.save()
    bruno = county.cast.bruno
    Visit.team.through.objects.filter(user=bruno).delete()
    row = county.send("alone", sender=bruno)
    county.make()
    assert content(of(row.pk)[0])["visit"] is None
    visit = Visit.objects.get(school=county.cast.other_school)
    visit.team.add(bruno)
    attach_submission(submission_id=row.pk, visit_id=visit.pk, by=bruno)
    county.make()
    _first, second = of(row.pk)
    assert content(second)["visit"] == str(visit.pk)
    assert content(second)["school"] == str(county.cast.other_school.pk)
    assert is_sound()


def test_while_photos_are_missing_they_make_a_further_receipt_at_most_once_an_hour(county: County):
    row = county.send("a", photo="1.jpg", arrived=False)
    others = [SubmissionAttachment(submission=row, name=f"{n}.jpg") for n in (2, 3)]
    SubmissionAttachment.objects.bulk_create(others)
    county.make()
    county.time.move(minutes=5)
    county.arrive(MediaObject.objects.get())
    assert county.make() == 0  # two are still missing
    county.time.move(minutes=56)
    assert county.make() == 1
    first, second = of(row.pk)
    assert [bool(file["media"]) for file in content(second)["files"]] == [True, False, False]
    assert first.again_at is None
    assert county.make() == 0


def test_the_last_missing_photo_makes_its_receipt_at_once(county: County):
    row = county.send("a", photo="1.jpg", arrived=False)
    county.make()
    county.time.move(minutes=1)
    county.arrive(MediaObject.objects.get())
    assert county.make() == 1
    assert len(of(row.pk)) == 2


def test_what_never_came_is_not_called_received_whatever_else_became_of_it(county: County):
    row = county.send("a", photo="1.jpg", arrived=False)
    # As of a file that a rule deletes: neither waited for any longer nor ever there.
    county.make()
    media = MediaObject(state="ready", stored_at=None)
    assert contents._file(media) is None
    assert content(of(row.pk)[0])["files"] == [{"name": "1.jpg", "media": None}]


# ---- what was there before, and what the feed does not tell --------------------------------------


def test_older_submissions_get_their_receipts_in_the_order_in_which_they_came(county: County):
    for number in range(5):
        county.send(str(number))
        county.time.move(days=30)
    county.make()
    rows = Receipt.objects.filter(kind="submission").order_by("position")
    assert [row.subject for row in rows] == [county.ids[str(n)] for n in range(5)]
    # Signed today: nobody claims to have known it then.
    assert {row.day for row in rows} == {county.time.moment.date()}
    assert days() == []
    report = check_everything()
    assert report.is_sound
    assert "more than a day after" in report.notes[0]


def test_a_step_is_bounded(county: County, monkeypatch):
    monkeypatch.setattr(chain, "CHANGES", 3)
    for number in range(8):
        county.send(str(number))
    county.time.date_changes()
    Chain.objects.create()
    made = []
    while chain.step():
        made.append(Receipt.objects.count())
    assert max(after - before for before, after in zip([0, *made], made, strict=False)) <= 3
    assert Receipt.objects.filter(kind="submission").count() == 8


def test_what_the_feed_lost_is_found_by_the_patrol(county: County):
    row = county.send("a")
    Change.objects.all().delete()
    county.make()
    assert len(of(row.pk)) == 1
    assert is_sound()


def test_the_patrol_goes_round_in_parts(county: County, monkeypatch):
    monkeypatch.setattr(chain, "PATROL_ROWS", 2)
    rows = [county.send(str(number)) for number in range(5)]
    Change.objects.all().delete()
    counts = []
    for _ in range(4):
        county.make()
        counts.append(Receipt.objects.filter(kind="submission").count())
        county.time.move(minutes=1)
    assert counts == [2, 4, 5, 5]
    assert all(len(of(row.pk)) == 1 for row in rows)


def test_a_place_in_another_clusters_feed_begins_anew(chained: County):
    before = Receipt.objects.count()
    Chain.objects.update(feed_txid=2**40, feed_id=2**40)
    row = chained.send("restored")
    chained.make()
    assert len(of(row.pk)) == 1
    assert Receipt.objects.count() == before + 1
    assert is_sound()


def test_one_document_that_cannot_be_written_down_stops_nothing(county: County, monkeypatch):
    good, bad = county.send("good"), county.send("bad")
    plain = chain.SOURCES["submission"].__class__._fixed

    def fixed(self: Any, row: Submission, forms: Any) -> Any:
        if row.pk == bad.pk:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return plain(self, row, forms)

    monkeypatch.setattr(chain.SOURCES["submission"].__class__, "_fixed", fixed)
    county.make()
    assert (len(of(good.pk)), len(of(bad.pk))) == (1, 0)
    monkeypatch.undo()


# ---- days --------------------------------------------------------------------------------------


def midnight(time: Time) -> None:
    """The county's, at the end of Monday."""
    time.date_changes()
    time.moment = chain.end_of(date(2026, 11, 23))


def test_a_day_ends_at_the_countys_midnight_and_is_closed_after_a_grace(county: County):
    county.make()
    midnight(county.time)
    assert county.time.moment == NOON + timedelta(hours=12)  # 16:00 UTC
    county.time.move(minutes=9)
    county.make()
    assert days() == []
    county.time.move(minutes=1)
    county.make()
    assert days() == [("2026-11-23", 1)]


def test_the_zone_of_the_settings_decides(county: County, settings):
    settings.TIME_ZONE = "America/New_York"
    assert chain.end_of(date(2026, 11, 1)).utcoffset() == timedelta(hours=-5)  # clocks went back
    with timezone.override(ZoneInfo("America/New_York")):  # what another process would have
        county.make()  # Sunday, eleven in the evening
    county.time.move(hours=1, minutes=10)
    county.make()
    assert days() == [("2026-11-22", 1)]
    assert DayHead.objects.get().statement.body["zone"] == "America/New_York"


def test_what_came_before_midnight_is_monday_and_what_came_after_waits_for_tuesday(county: County):
    county.make()
    midnight(county.time)
    county.time.move(seconds=-2)
    monday = county.send("monday")
    county.time.move(seconds=3)
    tuesday = county.send("tuesday")
    county.time.move(seconds=5)
    county.make()
    assert (len(of(monday.pk)), len(of(tuesday.pk))) == (1, 0)
    county.time.move(minutes=10)
    county.make()
    assert str(of(monday.pk)[0].day) == "2026-11-23"
    assert str(of(tuesday.pk)[0].day) == "2026-11-24"
    assert days() == [("2026-11-23", 2)]
    assert is_sound()


def test_days_without_anything_are_closed_as_well_and_bound_to_each_other(county: County):
    county.make()
    county.time.move(days=4)
    county.make()
    assert [count for _day, count in days()] == [1, 0, 0, 0]
    heads = list(DayHead.objects.order_by("number"))
    for before, after in pairwise(heads):
        assert after.statement.body["previous"] == before.hash
    assert is_sound()


def test_after_a_rest_of_days_each_day_gets_what_came_on_it(county: County):
    county.make()
    for _day in range(3):
        county.time.move(days=1)
        county.send()
    county.make()  # the worker was away all the time
    assert days() == [("2026-11-23", 1), ("2026-11-24", 1), ("2026-11-25", 1)]
    assert Chain.objects.get().open_day == date(2026, 11, 26)
    assert is_sound()


def test_a_clock_that_goes_back_breaks_nothing(chained: County):
    chained.time.date_changes()
    chained.time.moment -= timedelta(days=2)
    chained.send("earlier")
    chained.make()
    assert str(of(chained.ids["earlier"])[0].day) == "2026-11-26"
    assert is_sound()


# ---- whoever makes them, and whatever breaks -----------------------------------------------------


class Killed(BaseException):
    """As SIGKILL, between two statements."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """The process ends before its statement of this number."""
    seen = [0]

    def count(execute: Any, sql: str, *arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] == number:
            raise Killed
        return execute(sql, *arguments)

    with connection.execute_wrapper(count):
        yield seen


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_any_statement_neither_forks_nor_skips(county: County):
    rows = [county.send("a", photo="1.jpg"), county.send("b", photo="2.jpg", arrived=False)]
    county.time.date_changes()
    crashes = 0
    while killed_then_resumed(county.time, crashes + 1):
        crashes += 1
        assert all(len(of(row.pk)) == 1 for row in rows)
        assert days() == [("2026-11-23", 3)]
        assert is_sound()
    assert crashes > 50


def killed_then_resumed(time: Time, number: int) -> bool:
    """The whole chain anew, killed before this statement and gone on with. False: it was never killed."""
    for model in (Receipt, DayHead, Chain):
        model.objects.all().delete()
    killed = False
    try:
        with killed_at(number):
            make_two_days(time)
    except Killed:
        killed = True
    Chain.objects.get_or_create(pk=1)
    assert_no_fork()
    make_two_days(time)
    return killed


def make_two_days(time: Time) -> None:
    for moment in (NOON, NOON + timedelta(days=1, minutes=30)):
        time.moment = max(moment, time.moment) if Receipt.objects.exists() else moment
        while chain.extend(seconds=60):
            pass


def assert_no_fork() -> None:
    """What is there now is a chain, if a shorter one."""
    positions = list(Receipt.objects.order_by("position").values_list("position", flat=True))
    assert positions == list(range(1, len(positions) + 1))
    assert Chain.objects.get().position == len(positions)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite serialises writers, so there is no race"
)
def test_workers_that_race_make_one_chain(county: County, monkeypatch):
    monkeypatch.setattr(chain, "CHANGES", 4)
    monkeypatch.setattr(chain, "PATROL_EVERY", timedelta(0))
    rows = [county.send(str(number)) for number in range(40)]
    county.time.date_changes()
    Chain.objects.create()
    start, failed = threading.Barrier(6), []

    def worker() -> None:
        start.wait(10)
        try:
            for _turn in range(40):
                chain.step()
        except Exception as error:  # it is the test that must hear of it
            failed.append(error)
        connections.close_all()

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    monkeypatch.undo()
    county.time.moment = NOON
    county.make()
    assert [len(of(row.pk)) for row in rows] == [1] * 40
    assert_no_fork()
    assert is_sound()


def test_a_second_worker_leaves_while_the_first_is_at_it(county: County, monkeypatch):
    county.send("a")
    county.time.date_changes()
    Chain.objects.create()
    monkeypatch.setattr(chain, "_locked", lambda *, wait: None)
    assert chain.step() is False
    assert Receipt.objects.count() == 0


# ---- keys --------------------------------------------------------------------------------------


def test_a_rotation_is_signed_by_the_old_key_and_by_the_new_and_is_a_link_of_the_chain(
    chained: County,
):
    first, second = Receipt.objects.filter(kind="key").order_by("position")
    new = PrivateKey(bytes.fromhex(SECOND_KEY))
    assert (first.position, first.countersignature) == (1, "")
    assert second.key == first.key != new.id
    assert second.countersignature == new.sign(second.body.encode())
    behind = Receipt.objects.filter(position__gt=second.position)
    assert {row.key for row in behind} == {new.id}
    assert is_sound()


def test_the_chain_never_goes_back_to_a_key(chained: County):
    for seed in ("a1" * 32, SECOND_KEY):
        with pytest.raises(KeyUnusable):
            chain.rotate(to=PrivateKey(bytes.fromhex(seed)))
    assert Receipt.objects.filter(kind="key").count() == 2


def test_without_the_chains_key_nothing_is_signed_and_the_console_can_say_why(
    chained: County, settings
):
    settings.RECEIPT_KEY = "cc" * 32
    row = chained.send("waits")
    assert chained.make() == 0
    assert "signed by key" in Chain.objects.get().error
    settings.RECEIPT_KEY = SECOND_KEY
    chained.make()
    assert len(of(row.pk)) == 1
    assert Chain.objects.get().error == ""
    assert is_sound()


def test_a_lost_key_is_replaced_and_whoever_trusts_the_old_one_alone_is_told(
    chained: County, settings
):
    settings.RECEIPT_KEY = "cc" * 32
    third = PrivateKey(bytes.fromhex("cc" * 32))
    chain.replace_lost_key(to=third)
    chained.send("after")
    chained.make()
    assert is_sound()
    second = PrivateKey(bytes.fromhex(SECOND_KEY))
    assert {flaw.code for flaw in check_everything(keys=[second.public]).flaws} == {"key"}
    assert check_everything(keys=[second.public, third.public]).is_sound


def test_there_is_no_other_key_before_there_is_a_chain(county: County):
    with pytest.raises(KeyUnusable):
        chain.rotate(to=PrivateKey(bytes.fromhex(SECOND_KEY)))


# ---- when --------------------------------------------------------------------------------------


def test_the_schedule_looks_and_starts_a_turn_only_where_there_is_work(county: County, monkeypatch):
    started = []
    task = SimpleNamespace(enqueue=lambda: started.append(1))
    monkeypatch.setattr(chain, "extend_task", task)
    _interval, look = schedule._periodic["receipts"]
    look()
    assert started == [1]
    county.make()
    look()
    assert started == [1]
    county.send("a")
    look()
    assert started == [1, 1]
    county.make()
    county.time.move(minutes=1)
    look()  # the patrol
    assert started == [1, 1, 1]


def test_a_turn_ends_when_its_time_is_up(county: County):
    county.send("a")
    assert chain.extend(seconds=0) == 0


def test_accepting_a_submission_does_nothing_for_it(chained: County):
    with connection.execute_wrapper(_refuse):
        chained.send("hot", photo="7.jpg")


def _refuse(execute: Any, sql: str, *rest: Any) -> Any:
    assert "receipts_" not in sql
    return execute(sql, *rest)
