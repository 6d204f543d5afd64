"""Photos for the gallery's tests: many at once, without drawing each of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from media_storage.models import MediaObject, Rendition, new_key
from server.activities.models import Submission, SubmissionAttachment
from server.core import clock
from server.grid.models import User


def add_photos(
    submission: Submission,
    count: int = 1,
    *,
    item: str = "/licence",
    owner: User | None = None,
    starts: datetime | None = None,
    **fields: Any,
) -> Sequence[MediaObject]:
    """Ready photos with renditions that nobody drew, a second apart, attached to the submission."""
    first = starts or clock.now() - timedelta(hours=2)
    photos = [
        MediaObject(
            **{
                "id": uuid4(),
                "owner": owner or submission.sender,
                "filename": f"{submission.pk}-{n}.jpg",
                "content_type": "image/jpeg",
                "size": 4_000_000,
                "sha256": uuid4().hex * 2,
                "key": new_key(),
                "state": MediaObject.State.READY,
                "stored_at": first,
                "taken_at": first + timedelta(seconds=n),
                "latitude": 33.0005,
                "longitude": 108.0005,
                "accuracy_m": 12.0,
                **fields,
            }
        )
        for n in range(count)
    ]
    MediaObject.objects.bulk_create(photos)
    if fields.get("state", MediaObject.State.READY) == MediaObject.State.READY:
        Rendition.objects.bulk_create(
            _rendition(photo, *size) for photo in photos for size in SIZES
        )
    SubmissionAttachment.objects.bulk_create(
        SubmissionAttachment(submission=submission, name=f"{photo.pk}.jpg", media=photo, item=item)
        for photo in photos
    )
    return photos


SIZES = (("small", 320, 240), ("large", 1600, 1200))


def _rendition(photo: MediaObject, name: str, width: int, height: int) -> Rendition:
    key = f"{photo.key}-{name}.jpg"
    return Rendition(media=photo, name=name, width=width, height=height, size=9_000, key=key)
