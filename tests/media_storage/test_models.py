"""What the database itself refuses."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from media_storage.models import MediaObject, Rendition, new_key

pytestmark = pytest.mark.django_db


def media(**changes: Any) -> MediaObject:
    values = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1, "sha256": "0" * 64}
    return MediaObject.objects.create(**{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"state": "stored"},
        {"state": "declared", "stored_at": timezone.now()},
        {"state": "rejected", "stored_at": timezone.now()},
        {"state": "ready", "stored_at": timezone.now(), "reject_code": "broken"},
        {"state": "lost", "stored_at": timezone.now()},
        {"latitude": 33.0},
        {"latitude": 91.0, "longitude": 0.0},
    ],
)
def test_a_row_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        media(**change)


def test_a_rendition_exists_once() -> None:
    values = {"media": media(), "name": "small", "width": 1, "height": 1, "size": 1}
    Rendition.objects.create(key="one", **values)
    with pytest.raises(IntegrityError):
        Rendition.objects.create(key="two", **values)


def test_keys_are_unlike_and_tell_only_the_day() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key.rpartition("/")[2]) == 32 for key in keys)
