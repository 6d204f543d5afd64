"""The checks as work: again and again, overtaken, at the same moment; flags that come and go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connection

from server.core import work
from server.core.changes import Change
from server.evidence import checking
from server.evidence.checking import PHOTOS, check_photo
from server.evidence.marking import mark_photos
from server.evidence.models import Flag, PhotoCheck
from server.evidence.services import explain_flag
from server.grid.models import School
from server.grid.services import save_school
from tests.activities import device_of
from tests.evidence import FAR, codes, flag

OTHER_SCHOOL = (33.01, 108.0)


@pytest.fixture
def made(day, visit, cast):
    day.check_in(visit, cast.ada)
    return visit


def move_school(cast, place: tuple[float, float]) -> None:
    school = School.objects.get(pk=cast.school.pk)
    school.latitude, school.longitude = place
    save_school(school=school, by=cast.office)


def test_checking_again_changes_nothing_and_tells_nobody(day, cast, made, record):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    day.work()
    flags, changes = list(Flag.objects.values()), Change.objects.count()
    mark_photos([photo.pk])
    day.work()
    assert list(Flag.objects.values()) == flags
    assert Change.objects.count() == changes


def test_a_flag_that_stands_no_more_is_cleared_and_comes_back_with_what_was_said(
    day, cast, made, record
):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    day.work()
    found = flag("other_place", photo)
    explain_flag(flag_id=found.pk, note_id=uuid4(), by=cast.ada, text="学校搬迁，坐标未更新")
    move_school(cast, FAR)
    day.work()
    assert codes(photo) == []
    kept = Flag.objects.get(pk=found.pk)
    assert kept.cleared_at is not None
    assert kept.notes.get().text == "学校搬迁，坐标未更新"
    move_school(cast, (33.0, 108.0))
    day.work()
    assert flag("other_place", photo).pk == found.pk
    assert flag("other_place", photo).notes.count() == 1


def test_phones_that_show_the_photo_learn_of_its_flags(day, cast, made, record):
    photo = day.photo(cast.ada, place=FAR)
    submission = record(photo, made)
    finding = day.find(made, cast.ada)
    answer = day.photo(cast.principal, taken=-30, place=None)
    day.mend(finding, cast.principal, answer)
    Change.objects.all().delete()
    day.work()
    told = {(change.type, change.object_id, change.school_id) for change in Change.objects.all()}
    assert ("submission", submission.pk, cast.school.pk) in told
    assert ("finding", finding.pk, cast.school.pk) in told


def test_a_check_in_elsewhere_is_told_with_the_visit(day, cast, visit):
    day.check_in(visit, cast.ada, place=FAR)
    Change.objects.all().delete()
    day.work()
    assert Change.objects.filter(type="visit", object_id=visit.pk).exists()


def test_a_check_costs_the_same_for_many_twins(
    day, cast, made, activity, record, django_assert_num_queries
):
    photo = day.photo(cast.ada, content="gate")
    record(photo, made)
    bruno_visit = activity.visits.get(school=cast.other_school)
    costs = []
    for _ in range(3):
        for _copy in range(4):
            copy = day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL)
            record(copy, bruno_visit)
        day.work()
        check = PhotoCheck.objects.get(media=photo)
        check.work_due_at = day.moment
        check.save()
        with django_assert_num_queries(17, exact=False) as queries:
            check_photo(check)
        costs.append(len(queries))
    assert len(set(costs)) == 1


def test_what_a_slow_check_found_does_not_last_when_a_fact_changed_meanwhile(
    day, cast, made, record, monkeypatch
):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    real, seen = checking._claims, []

    def slow(use, about):
        if not seen:
            seen.append(True)
            move_school(cast, FAR)  # while we look at the old position
        return real(use, about)

    monkeypatch.setattr(checking, "_claims", slow)
    day.work()
    assert seen
    assert codes(photo) == []


def test_a_row_that_is_due_again_takes_nothing_from_the_check_before(day, cast, made, record):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    work.drain(work._pumps["submissions"])
    (check,) = work.claim(PHOTOS)
    day.tick()
    mark_photos([photo.pk])
    work.run(PHOTOS, check)
    assert codes() == []
    assert PhotoCheck.objects.get(media=photo).work_due_at == day.moment
    day.work()
    assert codes(photo) == ["other_place"]


def test_a_photo_that_joins_a_record_later_is_checked_there(day, cast, made, record):
    id, device = uuid4(), device_of(cast.ada)
    record(None, made, id=id, sender=cast.ada, device=device)
    day.work()
    photo = day.photo(cast.ada, place=FAR)
    day.work()
    assert codes() == []
    record(photo, made, id=id, device=device)
    day.work()
    assert codes(photo) == ["other_place"]


def test_the_photos_of_a_visit_s_rectification_are_checked_when_it_moves(day, cast, visit):
    """The school has answered before the check-in, sent by a slow phone, arrives."""
    finding = day.find(visit, cast.ada)
    answer = day.photo(cast.principal, taken=-1, place=None)
    day.mend(finding, cast.principal, answer)
    day.work()
    assert codes(answer) == ["before_finding"]
    day.check_in(visit, cast.ada, at=-2)
    day.work()
    assert codes(answer) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer: nothing is checked at once"
)
def test_two_workers_that_check_twins_at_the_same_moment_flag_both(
    day, cast, made, bruno_visit, record
):
    for _round in range(5):
        content = str(uuid4())
        one = day.photo(cast.ada, content=content)
        two = day.photo(cast.bruno, content=content, place=OTHER_SCHOOL)
        record(one, made)
        record(two, bruno_visit)
        work.drain(work._pumps["submissions"])
        day.tick()
        together = Barrier(2)

        def run(together: Barrier = together) -> None:
            try:
                together.wait(10)
                work.drain(PHOTOS)
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(run) for _ in range(2)]:
                future.result()
        day.work()
        assert codes(one) == codes(two) == ["reused"]
