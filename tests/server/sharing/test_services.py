"""What people decide about shared copies, and who may."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.care.queries import originals_open_to
from server.core import clock
from server.core.errors import Invalid, NotAllowed, NotFound, WrongState
from server.grid.models import User
from server.sharing import sweeping
from server.sharing.models import SharedCopy
from server.sharing.services import (
    MAX_BOXES,
    blur_boxes_of,
    remake_copies,
    remake_copy,
    set_blur_boxes,
)
from tests.cast import Cast
from tests.server.sharing.conftest import (
    answer,
    blur_kitchen,
    copy_of,
    fill_in,
    found,
    names_of,
    new_photo,
    run,
)

pytestmark = pytest.mark.django_db

BOX = [0.2, 0.25, 0.1, 0.2]


def open_to(media: MediaObject, *people: User) -> list[bool]:
    return [originals_open_to(user).filter(pk=media.pk).exists() for user in people]


def test_originals_are_open_to_the_team_and_the_office(
    cast: Cast, shared_photo: MediaObject
) -> None:
    assert open_to(shared_photo, cast.ada, cast.office) == [True, True]
    others = (cast.town_group, cast.principal, cast.expert, cast.bruno, cast.carla)
    assert open_to(shared_photo, *others) == [False] * 5


def test_originals_of_evidence_are_open_to_who_sent_it_who_verifies_and_the_office(
    cast: Cast,
) -> None:
    media = new_photo(cast.principal)
    answer(found(cast), cast.principal, media)
    assert open_to(media, cast.principal, cast.ada, cast.office) == [True] * 3
    others = (cast.town_group, cast.other_principal, cast.expert, cast.bruno, cast.carla)
    assert open_to(media, *others) == [False] * 5


def test_originals_of_what_stands_alone_are_open_to_the_senders_office(
    cast: Cast, kitchen: object
) -> None:
    media = new_photo(cast.ada)
    fill_in(None, cast.ada, media)
    assert open_to(media, cast.ada, cast.office, cast.carla) == [True, True, False]


@pytest.mark.parametrize("who", ["ada", "office"])
def test_boxes_are_hidden_on_a_new_copy(
    cast: Cast, shared_photo: MediaObject, who: str, media_folder: Path
) -> None:
    by = getattr(cast, who)
    old = set(shared_photo.renditions.values_list("key", flat=True))
    copy = set_blur_boxes(media_id=shared_photo.pk, by=by, boxes=[BOX])
    # At once nobody gets the old one any more.
    assert names_of(shared_photo) == {"small", "large"}
    assert (copy.boxes, copy.boxes_by) == ([BOX], by)
    run()
    assert names_of(shared_photo) == {"small", "large", "shared", "shared_small"}
    new = set(shared_photo.renditions.values_list("key", flat=True))
    assert len(old - new) == 2
    assert not any((media_folder / "objects" / key).exists() for key in old - new)


def test_the_same_boxes_again_change_nothing(cast: Cast, shared_photo: MediaObject) -> None:
    other = [0.5, 0.5, 0.1, 0.1]
    set_blur_boxes(media_id=shared_photo.pk, by=cast.ada, boxes=[BOX, other])
    run()
    made = copy_of(shared_photo).made_at
    set_blur_boxes(media_id=shared_photo.pk, by=cast.office, boxes=[other, BOX])
    assert (copy_of(shared_photo).made_at, copy_of(shared_photo).work_due_at) == (made, None)
    assert copy_of(shared_photo).boxes_by == cast.ada


def test_boxes_can_be_drawn_before_the_photo_belongs_anywhere(cast: Cast, visit: Visit) -> None:
    media = new_photo(cast.ada)
    with pytest.raises(WrongState):
        set_blur_boxes(media_id=media.pk, by=cast.ada, boxes=[BOX])
    run("media")
    set_blur_boxes(media_id=media.pk, by=cast.ada, boxes=[BOX])
    fill_in(visit, cast.ada, media)
    run()
    assert copy_of(media).boxes == [BOX]
    assert "shared" in names_of(media)


@pytest.mark.parametrize(
    "boxes",
    [
        [[-0.1, 0, 0.5, 0.5]],
        [[0.6, 0, 0.5, 0.5]],
        [[0, 0.6, 0.5, 0.5]],
        [[0, 0, 0, 0.5]],
        [[float("nan"), 0, 0.5, 0.5]],
        [[0, 0, float("inf"), 0.5]],
        [[0, 0, 0.5, float("nan")]],
        [BOX] * (MAX_BOXES + 1),
    ],
)
def test_boxes_outside_the_picture_are_refused(
    cast: Cast, shared_photo: MediaObject, boxes: list[list[float]]
) -> None:
    with pytest.raises(Invalid):
        set_blur_boxes(media_id=shared_photo.pk, by=cast.ada, boxes=boxes)
    assert copy_of(shared_photo).boxes == []
    assert "shared" in names_of(shared_photo)


def test_only_who_may_open_the_original_hides_anything(
    cast: Cast, shared_photo: MediaObject
) -> None:
    for user, error in (
        (cast.carla, NotFound),
        (cast.principal, NotFound),
        (cast.town_group, NotAllowed),
    ):
        with pytest.raises(error):
            set_blur_boxes(media_id=shared_photo.pk, by=user, boxes=[BOX])
        with pytest.raises(error):
            blur_boxes_of(media_id=shared_photo.pk, by=user)
        with pytest.raises(error):
            remake_copy(media_id=shared_photo.pk, by=user)


def test_a_setting_holds_for_new_pictures_until_the_office_has_them_made_anew(
    cast: Cast, shared_photo: MediaObject, activity: Activity
) -> None:
    blur_kitchen()
    run()
    assert not copy_of(shared_photo).blurred
    assert remake_copies(activity_id=activity.pk, by=cast.office) == 1
    # Not to be seen any more from now on, rather than when a worker has come to it.
    assert "shared" not in names_of(shared_photo)
    run()
    assert copy_of(shared_photo).blurred
    assert "shared" in names_of(shared_photo)


def test_making_anew_what_is_as_it_should_be_shows_it_all_the_time(
    cast: Cast, shared_photo: MediaObject, activity: Activity
) -> None:
    keys = set(shared_photo.renditions.values_list("key", flat=True))
    assert remake_copies(activity_id=activity.pk, by=cast.office) == 1
    assert "shared" in names_of(shared_photo)
    run()
    assert set(shared_photo.renditions.values_list("key", flat=True)) == keys


def test_only_the_activitys_office_has_its_copies_made_anew(
    cast: Cast, shared_photo: MediaObject, activity: Activity
) -> None:
    for user, error in ((cast.carla, NotAllowed), (cast.ada, NotAllowed), (cast.expert, NotFound)):
        with pytest.raises(error):
            remake_copies(activity_id=activity.pk, by=user)
    with pytest.raises(NotFound):
        remake_copies(activity_id=uuid4(), by=cast.office)


def test_one_that_failed_is_tried_again_when_somebody_asks(
    cast: Cast, shared_photo: MediaObject
) -> None:
    SharedCopy.objects.update(failed_code="too_slow", made_at=None)
    remake_copy(media_id=shared_photo.pk, by=cast.ada)
    run()
    assert copy_of(shared_photo).failed_code == ""
    assert "shared" in names_of(shared_photo)


def test_the_sweeper_finds_pictures_from_before_there_were_copies(
    shared_photo: MediaObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    SharedCopy.objects.all().delete()
    shared_photo.renditions.filter(name__startswith="shared").delete()
    monkeypatch.setattr(sweeping, "A_TURN", 1)
    assert sweeping.sweep() == 1
    assert sweeping.sweep() == 0  # the end of the round
    assert sweeping.sweep() == 0  # found, and marked already
    run()
    assert "shared" in names_of(shared_photo)


def told(*words: str) -> str:
    out = StringIO()
    call_command("shared_copies", *words, stdout=out)
    return out.getvalue()


def test_the_command_marks_what_is_asked_for(shared_photo: MediaObject, activity: Activity) -> None:
    assert told("--missing").startswith("0 pictures")
    assert told("--activity", str(activity.pk), "--dry-run").startswith("1 pictures; nothing")
    assert copy_of(shared_photo).work_due_at is None
    assert told("--instrument", "kitchen").startswith("1 pictures marked")
    assert copy_of(shared_photo).work_due_at is not None
    assert told("--instrument", "other", "--dry-run").startswith("0 pictures")
    assert told("--all", "--dry-run").startswith("1 pictures")
    SharedCopy.objects.update(failed_code="broken", made_at=None, work_due_at=None)
    assert told("--failed").startswith("1 pictures marked")
    assert (copy_of(shared_photo).digest, copy_of(shared_photo).work_due_at is None) == ("", False)
    with pytest.raises(CommandError):
        told("--activity", str(uuid4()))


def test_a_copy_that_is_made_has_a_digest() -> None:
    from django.db import IntegrityError, transaction

    media = new_photo(None)
    with pytest.raises(IntegrityError), transaction.atomic():
        SharedCopy.objects.create(media=media, made_at=clock.now())
