"""What is filled in and photographed. All of it follows from the run's seed and a number.

A submission has six checks, of which some fail, and up to three photos; its bytes are made once and
sent again unchanged, as phones do.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from typing import Any
from uuid import UUID, uuid5

from PIL import Image

FORM_ID = "faults"
CHECKS = tuple(f"check_{number}" for number in range(1, 7))
PHOTOS = ("photo_1", "photo_2", "photo_3")
FAILING = 0.05
"""How often a check fails: each time a finding, a notice, deliveries."""
LARGE = 0.004
"""How often a photo is so large that it is uploaded in parts."""

Row = dict[str, Any]


def survey() -> tuple[list[Row], list[Row], Row]:
    """The rows of the sheets survey, choices and settings."""
    rows: list[Row] = [
        {"type": "hidden", "name": "visit_id"},
        *(
            {
                "type": "select_one yes_no",
                "name": name,
                "label": f"检查项 {name}",
                "required": "yes",
                "finding": "no",
                "finding_severity": "minor",
                "finding_days": 7,
            }
            for name in CHECKS
        ),
        {"type": "text", "name": "remark", "label": "说明"},
        *({"type": "image", "name": name, "label": f"照片 {name}"} for name in PHOTOS),
    ]
    choices: list[Row] = [
        {"list_name": "yes_no", "name": "yes", "label": "符合"},
        {"list_name": "yes_no", "name": "no", "label": "不符合"},
    ]
    return rows, choices, {"form_id": FORM_ID, "form_title": "故障演练表"}


@dataclass(frozen=True)
class Photo:
    """A real JPEG that no other submission has."""

    name: str
    media_id: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Filled:
    """One filled-in form: what is sent for it, and what must follow from it."""

    id: str
    version: str
    visit_id: str
    failing: tuple[str, ...]
    remark: str
    photos: tuple[Photo, ...]

    @cached_property
    def xml(self) -> bytes:
        """As ODK Collect writes it."""
        leaves = "".join(f"<{name}>{value}</{name}>" for name, value in self._answers.items())
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<data xmlns:orx="http://openrosa.org/xforms" id="{FORM_ID}" version="{self.version}">'
            f"{leaves}<orx:meta><orx:instanceID>uuid:{self.id}</orx:instanceID></orx:meta></data>"
        ).encode()

    @cached_property
    def json(self) -> bytes:
        """As the phone app writes it: the body of PUT /submissions/{id}."""
        body = {
            "form_id": FORM_ID,
            "version": self.version,
            "visit_id": self.visit_id,
            "answers": self._answers,
            "started_at": "2026-11-05T09:00:00+08:00",
            "ended_at": "2026-11-05T09:40:00+08:00",
            "device_time": "2026-11-05T21:00:00+08:00",
            "attachments": [{"name": p.name, "media_id": p.media_id} for p in self.photos],
        }
        return json.dumps(body, ensure_ascii=False).encode()

    @property
    def _answers(self) -> dict[str, str]:
        checks = {name: "no" if name in self.failing else "yes" for name in CHECKS}
        photos = dict(zip(PHOTOS, [photo.name for photo in self.photos], strict=False))
        return {"visit_id": self.visit_id, **checks, "remark": self.remark, **photos}


def fill_in(
    *, seed: int, number: int, version: str, visit_id: str, allow_large: bool = False
) -> Filled:
    """The submission with this number. Large photos go in parts, which only the JSON phone does."""
    chance = random.Random(f"{seed} {number}")
    submission_id = str(UUID(bytes=chance.randbytes(16), version=4))
    how_many = chance.choices((0, 1, 2, 3), (50, 32, 12, 6))[0]
    return Filled(
        id=submission_id,
        version=version,
        visit_id=visit_id,
        failing=tuple(name for name in CHECKS if chance.random() < FAILING),
        remark="记录" * chance.randrange(1, 60),
        photos=tuple(
            _photo(submission_id, index, chance, allow_large) for index in range(how_many)
        ),
    )


def _photo(submission_id: str, index: int, chance: random.Random, allow_large: bool) -> Photo:
    media_id = str(uuid5(UUID(submission_id), str(index)))
    size = chance.randrange(6_000, 60_000)
    if allow_large and chance.random() < LARGE:
        size = 9 * 1024 * 1024
    before, after = _picture()
    # Bytes after the end of the picture: cameras add some too, and readers stop before them.
    content = b"".join((before, media_id.encode(), after)).ljust(size, b"\0")
    return Photo(f"photo-{index}.jpg", media_id, content)


@cache
def _picture() -> tuple[bytes, bytes]:
    """A small JPEG around a comment of an id's length."""
    no_id = str(UUID(int=0))
    buffer = BytesIO()
    noise = random.Random(7).randbytes(16 * 12 * 3)
    picture = Image.frombytes("RGB", (16, 12), noise).resize((400, 300))
    picture.save(buffer, "JPEG", quality=60, comment=no_id)
    before, _id, after = buffer.getvalue().partition(no_id.encode())
    return before, after
