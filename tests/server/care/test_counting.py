"""Storage use: the sums move with what changes, agree with a recount, and are read in one query."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import Sum

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.care.counting import (
    follow_feed,
    lines_of,
    recount,
    storage_use_visible_to,
    total_of,
)
from server.care.deleting import PUMP
from server.care.models import Count, CountedMedia, Deletion, StorageUse
from server.core import clock, work
from server.findings.models import Finding
from tests.cast import Cast
from tests.server.care.conftest import add_photo, answer_with, fill_in, found

pytestmark = pytest.mark.django_db


def sums(**where: object) -> dict[str, tuple[int, int, int, int]]:
    """By state: files, bytes, renditions, their bytes."""
    rows = StorageUse.objects.filter(files__gt=0, **where)
    return {row.state: (row.files, row.size, row.renditions, row.rendition_size) for row in rows}


def test_a_submission_brings_its_files_into_the_sums(
    photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    follow_feed()
    made = photo.renditions.aggregate(Sum("size"))["size__sum"]
    assert sums(activity=activity, school=cast.school) == {"ready": (1, photo.size, 4, made)}


def test_the_sums_move_with_the_state(
    photo: MediaObject, activity: Activity, made_visit: Visit, cast: Cast
) -> None:
    follow_feed()
    fill_in(made_visit, cast.ada)
    follow_feed()
    assert sums(activity=activity)["stored"][0] == 1
    work.drain_all()
    follow_feed()
    assert {state: files for state, (files, *_rest) in sums(activity=activity).items()} == {
        "ready": 2
    }


def test_evidence_counts_for_its_finding_s_activity(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    evidence = add_photo(cast.principal)
    answer_with(finding, cast.principal, evidence)
    follow_feed()
    files, size, *_rest = sums(activity=activity, school=cast.school)["ready"]
    assert (files, size) == (2, photo.size + evidence.size)


def test_a_file_of_two_activities_is_counted_once_where_it_came_first(
    expired: MediaObject, finding: Finding, activity: Activity
) -> None:
    finding.actions.first().media.add(expired)
    follow_feed()
    assert CountedMedia.objects.count() == 1
    assert StorageUse.objects.aggregate(Sum("files"))["files__sum"] == 1


def test_what_is_deleted_takes_no_bytes_and_is_still_counted(
    expired: MediaObject, activity: Activity
) -> None:
    [row] = found()
    moment = clock.now() - timedelta(seconds=1)
    Deletion.objects.filter(pk=row.pk).update(delete_after=moment, work_due_at=moment)
    work.drain(PUMP)
    follow_feed()
    assert sums(activity=activity) == {"deleted": (1, 0, 0, 0)}


def test_following_twice_counts_once(photo: MediaObject, activity: Activity) -> None:
    follow_feed()
    before = sums()
    Count.objects.update(txid=0, sequence=0)
    assert follow_feed() > 0
    assert sums() == before


def test_an_idle_system_writes_nothing(photo: MediaObject, django_assert_num_queries) -> None:
    follow_feed()
    with django_assert_num_queries(2):
        assert follow_feed() == 0


def test_the_nightly_recount_finds_what_the_feed_does_not_tell(
    photo: MediaObject, cast: Cast
) -> None:
    follow_feed()
    lonely = add_photo(cast.ada)
    follow_feed()
    assert not sums(activity=None)
    StorageUse.objects.update(rendition_size=0)  # a wrong sum, as a mistake of ours would leave it
    CountedMedia.objects.update(rendition_size=0)
    assert recount() == 2
    assert sums(activity=None)["ready"][1] == lonely.size
    assert all(row[3] > 0 for row in sums().values())
    assert recount() == 0  # once a day


def test_a_recount_goes_on_where_it_was_broken_off(
    photo: MediaObject, cast: Cast, monkeypatch
) -> None:
    from server.care import counting

    for _ in range(4):
        add_photo(cast.ada)
    monkeypatch.setattr(counting, "MEDIA", 2)
    monkeypatch.setattr(counting, "SECONDS", 0)
    Count.objects.create(name="storage")
    looked = 0
    while Count.objects.get().recounted_at is None:
        looked += counting._recount_some()
    assert looked == 5
    assert CountedMedia.objects.count() == 5


def test_each_sees_the_sums_of_their_schools(photo: MediaObject, cast: Cast) -> None:
    follow_feed()
    for person, seen in [
        (cast.office, True),
        (cast.town_group, True),
        (cast.carla, False),
        (cast.ada, False),
        (cast.principal, False),
    ]:
        assert storage_use_visible_to(person).exists() is seen


def test_lines_add_up_whatever_they_are_by(
    photo: MediaObject, finding: Finding, cast: Cast, django_assert_num_queries
) -> None:
    answer_with(finding, cast.principal, add_photo(cast.principal))
    follow_feed()
    rows = storage_use_visible_to(cast.office)
    totals = []
    for by in ("activity", "school", "state"):
        with django_assert_num_queries(2):  # the office's areas, and the sums
            lines = lines_of(storage_use_visible_to(cast.office), by)
        totals.append(total_of(lines))
    assert totals[0] == totals[1] == totals[2]
    assert totals[0].files == 2
    assert totals[0].total_size > totals[0].size > 0
    assert rows.exists()
