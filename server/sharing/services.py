"""What people decide about shared copies: what else is hidden, and that copies are made anew."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from server.activities.queries import activities_managed_by, activities_visible_to
from server.care.queries import originals_open_to
from server.conversations.queries import media_visible_to
from server.core import clock
from server.core.audit import audit_action, record_audit
from server.core.errors import Invalid, NotAllowed, NotFound, Problem, WrongState
from server.grid.models import User
from server.sharing.making import take_down
from server.sharing.marking import has_picture, mark_copies
from server.sharing.models import SharedCopy
from server.sharing.uses import pictures_used_in, uses_of

PICTURE_HIDDEN = audit_action("media.blurred", _lazy("更改遮挡"))
COPIES_REMADE = audit_action("copies.remade", _lazy("重做共享图"))

MAX_BOXES = 60
_DIGITS = 5
"""Of a share: a hundred-thousandth of a picture is less than a pixel."""

Box = Sequence[float]
"""x, y, width, height by shares of the upright picture, from its upper left corner."""


def blur_boxes_of(*, media_id: UUID, by: User) -> SharedCopy:
    """What is hidden in a picture, and whether its copy is made. Raises NotFound, NotAllowed."""
    _check_may(media_id, by)
    return SharedCopy.objects.filter(pk=media_id).first() or SharedCopy(media_id=media_id)


@transaction.atomic
def set_blur_boxes(*, media_id: UUID, by: User, boxes: Sequence[Box]) -> SharedCopy:
    """Hide these places of a picture in its shared copy, instead of those hidden by hand before.

    What is shared now is withdrawn at once; the copy is made anew. The same boxes again change nothing.
    For whoever may open the original. Raises NotFound, NotAllowed, WrongState (no picture), Invalid.
    """
    _check_may(media_id, by)
    wanted = checked(boxes)
    if not has_picture(media_id):
        raise WrongState(_("这个文件没有可以遮挡的图片，或图片还在处理。"))
    SharedCopy.objects.get_or_create(pk=media_id)
    copy = SharedCopy.objects.select_for_update(of=("self",)).get(pk=media_id)
    if copy.boxes == wanted:
        return copy
    copy.boxes, copy.boxes_by, copy.boxes_at = wanted, by, clock.now()
    copy.save(update_fields=["boxes", "boxes_by", "boxes_at"])
    take_down([copy])
    mark_copies([media_id])
    record_audit(PICTURE_HIDDEN, by=by, subject=("media", media_id), details={"boxes": wanted})
    return copy


@transaction.atomic
def remake_copy(*, media_id: UUID, by: User) -> None:
    """Have one picture's copy made as it should be now, also where that failed before. Raises NotFound,
    NotAllowed."""
    _check_may(media_id, by)
    failed = SharedCopy.objects.filter(pk=media_id).exclude(failed_code="")
    failed.update(digest="", failed_code="")
    _remake([media_id])


@transaction.atomic
def remake_copies(*, activity_id: UUID, by: User) -> int:
    """Have the shared copies of an activity made as they should be now. Returns how many are looked at.

    For its office: after an instrument's setting, a name or a position was changed. Copies on which
    faces are to be hidden now and are not are withdrawn at once. Raises NotFound, NotAllowed.
    """
    if not activities_visible_to(by).filter(pk=activity_id).exists():
        raise NotFound
    activity = activities_managed_by(by).filter(pk=activity_id).first()
    if activity is None:
        raise NotAllowed(_("只有组织活动的督导办可以重做共享图。"))
    ids = list(pictures_used_in(activity).values_list("pk", flat=True))
    for start in range(0, len(ids), 500):
        _remake(ids[start : start + 500])
    subject = ("activity", activity_id)
    record_audit(COPIES_REMADE, by=by, subject=subject, activity_id=activity_id)
    return len(ids)


def _remake(ids: Sequence[UUID]) -> None:
    bare = SharedCopy.objects.filter(pk__in=ids, blurred=False).exclude(made_at=None)
    locked = bare.select_for_update(of=("self",)).order_by("pk")
    take_down([copy for copy in locked if any(use.blur for use in uses_of(copy.pk))])
    mark_copies(ids)


def checked(boxes: Sequence[Box]) -> list[list[float]]:
    """The boxes in one order, cut to the picture. Raises Invalid."""
    if len(boxes) > MAX_BOXES:
        detail = _("最多遮挡 %d 处") % MAX_BOXES
        raise Invalid(problems=[Problem("/boxes", "too_many", detail)])
    problems = [
        Problem(f"/boxes/{index}", "invalid", _("应为图片内的矩形：x、y、width、height 取 0 至 1"))
        for index, box in enumerate(boxes)
        if not _fits(box)
    ]
    if problems:
        raise Invalid(problems=problems)
    return sorted(
        [round(x, _DIGITS), round(y, _DIGITS), round(width, _DIGITS), round(height, _DIGITS)]
        for x, y, width, height in boxes
    )


def _fits(box: Box) -> bool:
    # Written so that NaN is refused as well.
    x, y, width, height = box
    inside = x >= 0 and y >= 0 and x + width <= 1.00001 and y + height <= 1.00001
    return bool(inside and width >= 0.0005 and height >= 0.0005)


def _check_may(media_id: UUID, by: User) -> None:
    if not media_visible_to(by).filter(pk=media_id).exists():
        raise NotFound
    if not originals_open_to(by).filter(pk=media_id).exists():
        raise NotAllowed(_("只有可以查看原图的人员可以遮挡图片。"))
