"""Shared copies follow from the stored facts, in whatever order these came, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from media_storage import bounded
from media_storage.housekeeping import sweep_now
from media_storage.models import MediaObject, Rendition
from media_storage.refusals import Refused
from media_storage.stores import get_store
from server.activities.models import Visit
from server.activities.services.attaching import attach_submission
from server.core import clock, work
from server.core.changes import Change
from server.findings.models import Finding
from server.sharing import making
from server.sharing.models import SharedCopy
from tests.cast import Cast
from tests.media_storage.pictures import office as office_file
from tests.server.sharing.conftest import (
    answer,
    blur_kitchen,
    copy_of,
    fill_in,
    found,
    names_of,
    new_photo,
    opened,
    picture,
    run,
)

pytestmark = pytest.mark.django_db

BOTH = {"small", "large"}
ALL = BOTH | {"shared", "shared_small"}


def keys_in_store(folder: Path) -> set[str]:
    objects = folder / "objects"
    return {str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()}


def expected_keys() -> set[str]:
    media, renditions = MediaObject.objects.all(), Rendition.objects.all()
    return {*media.values_list("key", flat=True), *renditions.values_list("key", flat=True)}


def test_a_photo_of_a_visit_gets_its_copy(shared_photo: MediaObject) -> None:
    copy = copy_of(shared_photo)
    assert names_of(shared_photo) == ALL
    assert (copy.work_due_at, copy.failed_code, copy.blurred, copy.faces) == (None, "", False, [])
    assert copy.made_at is not None
    assert opened(shared_photo, "shared").size == (800, 600)
    assert opened(shared_photo, "shared_small").size == (320, 240)


def test_the_plate_is_on_the_shared_copy_and_on_nothing_else(shared_photo: MediaObject) -> None:
    large, shared = opened(shared_photo, "large"), opened(shared_photo, "shared")
    difference = ImageChops.difference(large, shared).convert("L")
    box = difference.point(lambda value: 255 if value > 60 else 0).getbbox()
    assert box
    assert box[0] < 40
    assert box[3] > 560
    thumbnails = ImageChops.difference(
        opened(shared_photo, "small"), opened(shared_photo, "shared_small")
    )
    assert max(high for _low, high in thumbnails.getextrema()) < 80  # type: ignore[misc]


@pytest.mark.parametrize("order", list(permutations(["media", "accept", "submissions"])))
def test_the_copy_does_not_depend_on_what_came_first(
    cast: Cast, visit: Visit, order: tuple[str, ...]
) -> None:
    media = new_photo(cast.ada)
    for step in order:
        if step == "accept":
            fill_in(visit, cast.ada, media)
        else:
            run(step)
        run("shared_copies")
    run("submissions", "shared_copies")
    assert names_of(media) == ALL
    wanted = making.wanted_copy(copy_of(media))
    assert wanted
    assert copy_of(media).digest == wanted.digest
    assert ("活动", "食品安全督导周") in wanted.lines


def test_a_photo_that_belongs_to_nothing_has_no_copy(cast: Cast) -> None:
    media = new_photo(cast.ada)
    run()
    assert names_of(media) == BOTH
    assert copy_of(media).work_due_at is None


def test_a_document_has_no_copy_and_no_row(cast: Cast, visit: Visit) -> None:
    content_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    media = new_photo(cast.ada, office_file("word/document.xml"), content_type=content_type)
    fill_in(visit, cast.ada, media)
    run()
    assert MediaObject.objects.get(pk=media.pk).state == "ready"
    assert not SharedCopy.objects.exists()


def test_evidence_of_a_rectification_gets_its_copy(cast: Cast) -> None:
    before, after = new_photo(cast.principal), new_photo(cast.principal)
    finding = found(cast)
    MediaObject.objects.filter(pk=after.pk).update(work_due_at=None)  # still on its way
    run()
    answer(finding, cast.principal, before, after)
    run()
    assert names_of(before) == ALL
    MediaObject.objects.filter(pk=after.pk).update(work_due_at=clock.now())
    run()
    assert names_of(after) == ALL


def test_faces_are_hidden_where_the_instrument_wants_it(cast: Cast, visit: Visit) -> None:
    blur_kitchen()
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run()
    copy = copy_of(media)
    assert (copy.blurred, len(copy.faces) >= 1) == (True, True)
    for plain, shared in (("large", "shared"), ("small", "shared_small")):
        face = Image.eval(
            ImageChops.difference(opened(media, plain), opened(media, shared)), lambda value: value
        )
        scale = face.width / 800
        inner = face.crop(tuple(round(side * scale) for side in (340, 220, 460, 380)))  # type: ignore[arg-type]
        assert max(high for _low, high in inner.getextrema()) > 60  # type: ignore[misc]


def test_faces_on_evidence_follow_the_instrument_of_the_finding(cast: Cast, visit: Visit) -> None:
    fill_in(visit, cast.ada)  # no photo; the answer makes a finding
    from server.activities.models import Submission

    submission = Submission.objects.get()
    by_hand, from_form = found(cast), found(cast)
    Finding.objects.filter(pk=from_form.pk).update(submission=submission)
    media, other = new_photo(cast.principal), new_photo(cast.principal)
    answer(by_hand, cast.principal, media)
    answer(from_form, cast.principal, other)
    run()
    # Nobody has said of a finding entered by hand that faces may be seen.
    assert copy_of(media).blurred
    assert not copy_of(other).blurred


def test_one_use_that_wants_faces_hidden_is_enough(cast: Cast, visit: Visit) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run()
    assert not copy_of(media).blurred
    MediaObject.objects.update(owner=cast.principal)
    answer(found(cast), cast.principal, media)
    run()
    assert copy_of(media).blurred


def test_a_visit_that_is_found_later_is_written_on_a_new_copy(cast: Cast, visit: Visit) -> None:
    from server.activities.models import Submission

    media = new_photo(cast.ada)
    submission = fill_in(visit, cast.ada, media)
    Submission.objects.update(visit=None)
    run()
    before = set(media.renditions.filter(name__startswith="shared").values_list("key", flat=True))
    attach_submission(submission_id=submission.pk, visit_id=visit.pk, by=cast.ada)
    run()
    after = set(media.renditions.filter(name__startswith="shared").values_list("key", flat=True))
    assert (len(before), len(after), before & after) == (2, 2, set())
    assert ("活动", "食品安全督导周") in making.wanted_copy(copy_of(media)).lines  # type: ignore[union-attr]


def test_making_again_changes_nothing(shared_photo: MediaObject, media_folder: Path) -> None:
    keys = expected_keys()
    SharedCopy.objects.update(work_due_at=clock.now())
    run()
    assert expected_keys() == keys == keys_in_store(media_folder)


def test_nothing_of_an_older_copy_stays_in_the_store(
    shared_photo: MediaObject, media_folder: Path
) -> None:
    before = keys_in_store(media_folder)
    blur_kitchen()
    SharedCopy.objects.update(work_due_at=clock.now())
    run()
    after = keys_in_store(media_folder)
    assert after == expected_keys()
    assert len(before - after) == len(after - before) == 2
    assert copy_of(shared_photo).stale_keys == []


def test_a_worker_that_dies_after_writing_leaves_nothing_behind(
    cast: Cast, visit: Visit, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)

    class Killed(BaseException):
        pass

    def die(*_args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(making, "_finish", die)
        with pytest.raises(Killed):
            run()
    assert len(copy_of(media).stale_keys) == 2
    assert len(keys_in_store(media_folder)) == 5
    SharedCopy.objects.update(work_due_at=clock.now())
    run()
    assert keys_in_store(media_folder) == expected_keys()
    assert names_of(media) == ALL


def test_a_copy_that_somebody_changed_while_it_was_made_is_thrown_away(
    shared_photo: MediaObject, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes that are drawn while the worker is at it: what it made without them is never shown."""
    blur_kitchen()
    SharedCopy.objects.update(work_due_at=clock.now())
    make, seen = making._made, []

    def meddle(wanted: making.Wanted) -> making.Made:
        made = make(wanted)
        if not seen:
            boxes = [[0.1, 0.1, 0.2, 0.2]]
            SharedCopy.objects.update(boxes=boxes, work_due_at=clock.now())
        seen.append(list(wanted.boxes))
        return made

    monkeypatch.setattr(making, "_made", meddle)
    run()
    assert seen == [[], [[0.1, 0.1, 0.2, 0.2]]]
    assert copy_of(shared_photo).digest == making.wanted_copy(copy_of(shared_photo)).digest  # type: ignore[union-attr]
    assert keys_in_store(media_folder) == expected_keys()


def test_a_photo_that_is_deleted_while_its_copy_is_made_gets_none(
    cast: Cast, visit: Visit, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    make = making._made

    def meddle(wanted: making.Wanted) -> making.Made:
        MediaObject.objects.update(state="rejected", reject_code="broken")
        return make(wanted)

    monkeypatch.setattr(making, "_made", meddle)
    run()
    assert names_of(media) == BOTH
    assert keys_in_store(media_folder) == expected_keys()


def test_a_picture_that_cannot_be_made_says_why_and_is_not_tried_for_ever(
    cast: Cast, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    large = media.renditions.get(name="large")
    get_store().delete(large.key)
    get_store().write(large.key, [b"no picture"])
    run("shared_copies")
    copy = copy_of(media)
    assert (copy.failed_code, copy.work_due_at, copy.work_dead_at) == ("broken", None, None)
    assert names_of(media) == BOTH
    calls: list[int] = []
    monkeypatch.setattr(making, "_made", lambda wanted: calls.append(1))
    SharedCopy.objects.update(work_due_at=clock.now())
    run("shared_copies")
    assert calls == []


def test_a_child_that_talks_nonsense_is_not_believed(
    cast: Cast, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    page = {"name": "shared", "width": 1, "height": 1, "data": b"<html>"}
    for nonsense in (
        None,
        {"faces": [], "pictures": [page]},
        {"faces": [[0, 0, 7, 1]], "pictures": [page, {**page, "name": "shared_small"}]},
        {"faces": [], "pictures": [page, {**page, "name": "large"}]},
    ):
        monkeypatch.setattr(bounded, "run", lambda *_a, said=nonsense, **_o: said)
        with pytest.raises(Refused):
            making._made(making.wanted_copy(copy_of(media)))  # type: ignore[arg-type]


def test_what_disturbs_the_process_is_tried_again_a_few_times(
    cast: Cast, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")

    def disturbed(*_args: Any, **_options: Any) -> None:
        raise bounded.Disturbed("too_slow", "more than 40 seconds")

    with monkeypatch.context() as patch:
        patch.setattr(bounded, "run", disturbed)
        for _try in range(making.DISTURBED_TRIES):
            assert copy_of(media).failed_code == ""
            SharedCopy.objects.update(work_due_at=clock.now())
            run("shared_copies")
    assert copy_of(media).failed_code == "too_slow"


def test_a_store_that_is_away_is_tried_again(cast: Cast, visit: Visit, settings: Any) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    here = settings.MEDIA_STORE_URL
    settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
    run("shared_copies")
    assert copy_of(media).work_error
    assert copy_of(media).work_dead_at is None
    settings.MEDIA_STORE_URL = here
    SharedCopy.objects.update(work_due_at=clock.now())
    run("shared_copies")
    assert names_of(media) == ALL


def test_a_lost_rendition_is_our_fault_and_a_dead_row(cast: Cast, visit: Visit) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    get_store().delete(media.renditions.get(name="large").key)
    run("shared_copies")
    assert copy_of(media).work_dead_at is not None


def test_phones_that_show_the_photo_are_told(cast: Cast, visit: Visit) -> None:
    media = new_photo(cast.ada)
    submission = fill_in(visit, cast.ada, media)
    finding = found(cast)
    other = new_photo(cast.principal)
    answer(finding, cast.principal, other)
    run("media", "submissions")
    Change.objects.all().delete()
    run("shared_copies")
    told = set(Change.objects.values_list("type", "object_id"))
    assert told == {("submission", submission.pk), ("finding", finding.pk)}


def test_the_original_and_the_plain_renditions_stay_as_they_are(cast: Cast, visit: Visit) -> None:
    content = picture(face=True)
    media = new_photo(cast.ada, content)
    run("media")
    before = {name: opened(media, name).tobytes() for name in BOTH}
    blur_kitchen()
    fill_in(visit, cast.ada, media)
    run()
    assert {name: opened(media, name).tobytes() for name in BOTH} == before
    assert b"".join(get_store().read(media.key)) == content


def test_of_two_workers_on_one_copy_the_later_claim_wins(
    cast: Cast, visit: Visit, media_folder: Path
) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    [slow] = work.claim(making.PUMP)
    SharedCopy.objects.update(work_due_at=clock.now())  # its lease ran out
    [quick] = work.claim(making.PUMP)
    work.run(making.PUMP, quick)
    keys = expected_keys()
    work.run(making.PUMP, slow)
    assert expected_keys() == keys == keys_in_store(media_folder)
    assert copy_of(media).work_due_at is None


def test_only_the_bounded_process_loads_the_libraries_of_pictures() -> None:
    program = (
        "import django, sys; django.setup(); import server.config.urls, server.config.wsgi;"
        "from server.core import work; assert any(p.name == 'shared_copies' for p in work.pumps());"
        "print(sorted({'cv2', 'numpy', 'PIL.Image', 'PIL.ImageFont'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_the_pump_is_known_to_the_workers() -> None:
    assert making.PUMP in work.pumps()


def test_a_copy_that_the_store_has_lost_is_made_anew(shared_photo: MediaObject) -> None:
    store = get_store()
    plain = set(shared_photo.renditions.filter(name__in=BOTH).values_list("pk", flat=True))
    lost = shared_photo.renditions.get(name="shared")
    store.delete(lost.key)
    counts = sweep_now(say=lambda _what, _which: None)
    assert counts["lost (shared copies)"] == 1
    assert names_of(shared_photo) == BOTH
    run()
    assert names_of(shared_photo) == ALL
    assert opened(shared_photo, "shared").size == (800, 600)
    assert set(shared_photo.renditions.filter(name__in=BOTH).values_list("pk", flat=True)) == plain


def test_a_lost_thumbnail_leaves_the_copy_as_it_is(shared_photo: MediaObject) -> None:
    shared = shared_photo.renditions.get(name="shared")
    get_store().delete(shared_photo.renditions.get(name="small").key)
    sweep_now(say=lambda _what, _which: None)
    run()
    assert names_of(shared_photo) == ALL
    assert shared_photo.renditions.get(name="shared").key == shared.key
