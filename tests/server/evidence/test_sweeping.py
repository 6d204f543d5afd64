"""The sweeper of checks: finds what no mark was written for, page after page, and nothing else."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from media_storage.models import Facts, MediaObject
from server.activities.models import Submission, Visit
from server.evidence import sweeping
from server.evidence.models import Flag, PhotoCheck, VisitCheck
from server.grid.models import School
from tests.evidence import FAR, codes


@pytest.fixture
def made(day, visit, cast, record):
    """A visit with a photo from elsewhere, checked."""
    day.check_in(visit, cast.ada)
    record(day.photo(cast.ada, place=FAR), visit)
    day.work()
    return visit


def test_what_is_checked_is_left_alone(made, django_assert_max_num_queries):
    with django_assert_max_num_queries(16):
        assert sweeping.sweep() == 0
    assert not PhotoCheck.objects.filter(work_due_at__isnull=False).exists()


def test_photos_and_visits_from_before_there_were_checks_are_found(day, made):
    PhotoCheck.objects.all().delete()
    VisitCheck.objects.all().delete()
    Flag.objects.all().delete()
    assert sweeping.sweep() == 2
    day.work()
    assert codes() == ["other_place"]


def test_facts_that_were_written_past_the_marks_are_found(day, cast, made):
    photo = MediaObject.objects.get()
    Facts.objects.filter(media=photo).update(exif_at=day.at(-48))
    School.objects.filter(pk=cast.school.pk).update(latitude=FAR[0], longitude=FAR[1])
    assert sweeping.sweep() == 2
    day.work()
    assert codes(photo) == ["other_day", "times_differ"]


def test_a_use_that_was_written_past_the_marks_is_found(day, cast, made, bruno_visit):
    Submission.objects.update(visit=bruno_visit)
    assert sweeping.sweep() == 1
    day.work()
    assert codes(visit=made) == []


def test_the_command_sweeps_a_whole_round(day, made, cast, monkeypatch, capsys):
    for _ in range(4):
        day.photo(cast.ada)
    day.work()
    monkeypatch.setattr(sweeping, "PHOTOS_A_TURN", 2)
    sweeping.sweep()
    PhotoCheck.objects.update(seen="")
    call_command("check_evidence")
    assert capsys.readouterr().out.startswith("5 photos and visits")
    assert PhotoCheck.objects.filter(work_due_at=None).count() == 0


def test_the_command_has_everything_checked_after_a_limit_was_changed(day, made, settings, capsys):
    settings.EVIDENCE_PLACE_METRES = 50_000
    call_command("check_evidence", "--all")
    assert capsys.readouterr().out.startswith("2 photos and visits")
    day.work()
    assert codes() == []


def test_dead_checks_wait_for_a_person(day, made):
    PhotoCheck.objects.update(work_dead_at=day.moment, work_error="bug", seen="")
    assert sweeping.sweep() == 0


def test_a_turn_goes_on_where_the_last_one_ended_and_begins_again(day, cast, made, monkeypatch):
    for _ in range(4):
        day.photo(cast.ada)
    day.work()
    PhotoCheck.objects.update(seen="")
    monkeypatch.setattr(sweeping, "PHOTOS_A_TURN", 2)
    assert [sweeping.sweep() for _ in range(3)] == [2, 2, 1]
    day.work()
    assert [sweeping.sweep() for _ in range(3)] == [0, 0, 0]
    assert Visit.objects.count() == 3
