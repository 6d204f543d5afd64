"""The photos of the demo county: drawn, dated and placed like a week's evidence, a few of them doubtful."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.console.demo import LASTS
from server.console.pictures import draw, draw_plan
from server.core import clock
from server.grid.coordinates import Point
from server.grid.models import User

Origin = MediaObject.Origin

TIMES = (time(8, 40), time(10, 20), time(14, 10), time(15, 50))
SCENES = {
    "kitchen": "kitchen",
    "licence_posted": "licence",
    "certificates": "licence",
    "receipts": "licence",
    "meat_certificates": "licence",
    "expired_food": "store",
    "off_floor": "store",
    "raw_cooked_storage": "samples",
    "no_cold_dishes": "kitchen",
    "no_risky_food": "store",
    "tools_apart": "kitchen",
    "samples_kept": "samples",
    "tableware": "sink",
    "clean_rooms": "hall",
    "pests": "bins",
    "hazard": "gate",
}
WALKED = ("ground", "classroom", "gate", "hall")

# Which photo of the county, in the order of taking, has something that is not as it should be.
FROM_GALLERY, USED_BEFORE, ELSEWHERE, BROKEN, NOT_SENT, NO_PLACE = 9, 16, 22, 27, 33, 38


def moments_of_visits() -> list[datetime]:
    """When visits began this week: four a day, all of them over by now."""
    now = timezone.localtime(clock.now())
    monday = now.date() - timedelta(days=now.weekday())
    begins = [
        timezone.make_aware(datetime.combine(monday + timedelta(days=day), at))
        for day in range(min(5, now.weekday() + 1))
        for at in TIMES
    ]
    over = [moment for moment in begins if moment + LASTS + timedelta(minutes=15) < now]
    return over or [now - LASTS - timedelta(minutes=20 + 7 * nth) for nth in range(len(TIMES))]


@dataclass
class Album:
    """Takes the county's photos, one after the other; the same ones everywhere."""

    chance: random.Random
    taken: list[tuple[bytes, UUID]] = field(default_factory=list)

    def take(
        self, name: str, *, owner: User, place: Point, accuracy: float, ends: datetime
    ) -> MediaObject:
        """A photo on a visit that `ends` then; its name says of what. Its bytes are stored."""
        nth = len(self.taken) + 1
        scene = SCENES.get(name.removesuffix(".jpg")) or self.chance.choice(WALKED)
        taken_at = ends - timedelta(seconds=self.chance.randint(240, 4200))
        if nth == FROM_GALLERY:
            taken_at -= timedelta(days=9)
        place = self._around(place, 0.02 if nth == ELSEWHERE else 0.00012)
        content = draw(
            scene,
            nth,
            taken_at=timezone.localtime(taken_at),
            place=None if nth == NO_PLACE else place,
        )
        if nth == USED_BEFORE:
            content = self.taken[2][0]
        elif nth == BROKEN:
            content = content[:20_000] + bytes(4000)  # as a full memory card leaves it
        media = self._media(
            name,
            owner,
            content,
            taken_at=taken_at,
            stored_at=ends,
            origin=Origin.GALLERY if nth == FROM_GALLERY else Origin.CAMERA,
        )
        if nth != NO_PLACE:
            media.latitude, media.longitude, media.accuracy_m = *place, accuracy
        if nth == NOT_SENT:
            media.state, media.stored_at = MediaObject.State.DECLARED, None
            media.work_due_at = None
        return media

    def mended(self, owner: User, place: Point, after: datetime) -> MediaObject:
        """What a school shows of its rectification; one sends a plan, one the inspector's own photo."""
        nth = len(self.taken) + 1
        span = max((clock.now() - after).total_seconds(), 120)
        taken_at = after + timedelta(seconds=self.chance.uniform(0.1, 0.9) * span)
        times: dict[str, Any] = {"taken_at": taken_at, "stored_at": taken_at}
        if nth % 7 == 0:
            media = self._media("整改方案.pdf", owner, draw_plan(nth), "application/pdf", **times)
        else:
            scene = self.chance.choice(("samples", "kitchen", "sink", "store"))
            place = self._around(place, 0.0001)
            content = draw(scene, nth, taken_at=timezone.localtime(taken_at), place=place)
            media = self._media("整改后.jpg", owner, content, origin=Origin.CAMERA, **times)
            media.latitude, media.longitude, media.accuracy_m = *place, 12.0
        media.save()
        return media

    def date(self) -> None:
        """Let the photos have arrived when their visits ended."""
        ids = [pk for _content, pk in self.taken]
        rows = MediaObject.objects.filter(pk__in=ids)
        rows.filter(stored_at__isnull=False).update(created_at=F("stored_at"))

    def _around(self, place: Point, degrees: float) -> Point:
        north, east = (self.chance.uniform(-degrees, degrees) for _axis in range(2))
        return place[0] + north, place[1] + east

    def _media(
        self,
        name: str,
        owner: User,
        content: bytes,
        content_type: str = "image/jpeg",
        **values: Any,
    ) -> MediaObject:
        media_id = UUID(int=self.chance.getrandbits(128), version=4)
        self.taken.append((content, media_id))
        stored = store_stream(filename=name, content_type=content_type, chunks=[content])
        row = new_media_values(media_id=media_id, owner_id=owner.pk, filename=name, stored=stored)
        return MediaObject(**{**row, **values})
