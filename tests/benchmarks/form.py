"""What is sent: a form of twenty questions, its answers as XML and as JSON, and a photo of 200 KB.

Everything follows from a submission's id, so that what is stored can be compared with what was sent.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from uuid import UUID, uuid5

from PIL import Image

FORM_ID = "benchmark"
PHOTO_NAME = "kitchen.jpg"
PHOTO_BYTES = 200_000
NO_ID = str(UUID(int=0))

_CHECKS = (
    "食品经营许可证是否公示",
    "从业人员健康证是否齐全",
    "晨检记录是否完整",
    "原料索证索票是否齐全",
    "库房是否离墙离地",
    "生熟是否分开",
    "餐具是否消毒",
    "留样是否符合要求",
    "防蝇防鼠设施是否完好",
    "陪餐记录是否完整",
)
_YES_NO = "select_one yes_no"

Row = dict[str, Any]


def survey() -> tuple[list[Row], list[Row], Row]:
    """The rows of the sheets survey, choices and settings. The photo is the twentieth question."""
    checks: list[Row] = [
        {
            "type": _YES_NO,
            "name": f"check_{number}",
            "label": label,
            "required": "yes",
            "finding": "no",
            "finding_severity": "major",
            "finding_days": 7,
        }
        for number, label in enumerate(_CHECKS, start=1)
    ]
    rows: list[Row] = [
        {"type": "start", "name": "start"},
        {"type": "end", "name": "end"},
        {"type": "hidden", "name": "visit_id"},
        {"type": "begin group", "name": "kitchen", "label": "食堂"},
        *checks,
        {
            "type": "decimal",
            "name": "fridge",
            "label": "冷藏温度",
            "constraint": ". >= -5 and . <= 10",
        },
        {"type": "integer", "name": "meals", "label": "供餐人数", "constraint": ". >= 0"},
        {"type": "end group"},
        {"type": "begin group", "name": "visit", "label": "走访"},
        {"type": "date", "name": "day", "label": "日期", "required": "yes"},
        {"type": "time", "name": "hour", "label": "时间"},
        {"type": "geopoint", "name": "place", "label": "位置"},
        {"type": "select_multiple papers", "name": "papers", "label": "查阅资料"},
        {"type": "text", "name": "spoken_to", "label": "访谈对象", "required": "yes"},
        {
            "type": _YES_NO,
            "name": "follow_up",
            "label": "是否需要回访",
            "required": "yes",
        },
        {
            "type": "text",
            "name": "follow_up_note",
            "label": "回访说明",
            "relevant": "${follow_up} = 'yes'",
            "required": "yes",
        },
        {"type": "text", "name": "summary", "label": "小结"},
        {"type": "end group"},
        {"type": "image", "name": "photo", "label": "现场照片"},
    ]
    choices: list[Row] = [
        {"list_name": "yes_no", "name": "yes", "label": "是"},
        {"list_name": "yes_no", "name": "no", "label": "否"},
        *(
            {"list_name": "papers", "name": name, "label": label}
            for name, label in (("ledger", "台账"), ("menu", "食谱"), ("minutes", "会议记录"))
        ),
    ]
    return rows, choices, {"form_id": FORM_ID, "form_title": "性能测试表"}


_ANSWERS: dict[str, Any] = {
    "start": "2026-11-05T09:00:00.000+08:00",
    "end": "2026-11-05T09:40:00.000+08:00",
    "visit_id": "",
    "kitchen": {
        **{f"check_{number}": "yes" for number in range(1, len(_CHECKS) + 1)},
        "fridge": 4.5,
        "meals": 860,
    },
    "visit": {
        "day": "2026-11-05",
        "hour": "09:05:00.000+08:00",
        "place": "36.05312 96.01877 2890.0 8.0",
        "papers": ["ledger", "menu"],
        "spoken_to": "食堂负责人、两名学生、一名值班教师",
        "follow_up": "yes",
        "follow_up_note": "两周后查看新购置的留样柜是否投入使用。",
        "summary": "食堂管理总体规范，人员持证上岗，台账齐全。个别库房货架离墙距离不足，已当场调整。",
    },
}


@dataclass(frozen=True)
class Documents:
    """What one inspector sends for a submission with this id."""

    version: str
    visit_id: str

    def xml(self, submission_id: str, *, photo: bool) -> bytes:
        """As ODK Collect writes it."""
        before, after = _xml_around(self.version, self.visit_id, photo)
        return b"".join((before, submission_id.encode(), after))

    def json(self, submission_id: str, *, photo: bool) -> bytes:
        """As the phone app writes it: the body of PUT /submissions/{id}."""
        before, after = _json_around(self.version, self.visit_id, photo)
        return b"".join((before, media_id(submission_id).encode(), after)) if photo else before


def media_id(submission_id: str) -> str:
    """The id of the photo that goes with it."""
    return str(uuid5(UUID(submission_id), "photo"))


def photo_of(submission_id: str) -> bytes:
    """A photo that no other submission has: its comment is the id."""
    before, after = _photo_around()
    return b"".join((before, submission_id.encode(), after))


def photo_digest(submission_id: str) -> str:
    return hashlib.sha256(photo_of(submission_id)).hexdigest()


def answers(visit_id: str, *, photo: bool) -> dict[str, Any]:
    filled = {**_ANSWERS, "visit_id": visit_id}
    return {**filled, "photo": PHOTO_NAME} if photo else filled


@cache
def _xml_around(version: str, visit_id: str, photo: bool) -> tuple[bytes, bytes]:
    leaves = _elements(answers(visit_id, photo=photo))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<data xmlns:orx="http://openrosa.org/xforms" id="{FORM_ID}" version="{version}">'
        f"{leaves}<orx:meta><orx:instanceID>uuid:{NO_ID}</orx:instanceID></orx:meta></data>"
    )
    return _around(text.encode())


def _elements(filled: dict[str, Any]) -> str:
    return "".join(f"<{name}>{_text(value)}</{name}>" for name, value in filled.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return _elements(value)
    return " ".join(value) if isinstance(value, list) else str(value)


@cache
def _json_around(version: str, visit_id: str, photo: bool) -> tuple[bytes, bytes]:
    body = {
        "form_id": FORM_ID,
        "version": version,
        "visit_id": visit_id,
        "answers": answers(visit_id, photo=photo),
        "started_at": _ANSWERS["start"],
        "ended_at": _ANSWERS["end"],
        "device_time": _ANSWERS["end"],
        "attachments": [{"name": PHOTO_NAME, "media_id": NO_ID}] if photo else [],
    }
    text = json.dumps(body, ensure_ascii=False).encode()
    return _around(text) if photo else (text, b"")


def _around(text: bytes) -> tuple[bytes, bytes]:
    before, _id, after = text.partition(NO_ID.encode())
    return before, after


@cache
def _photo_around() -> tuple[bytes, bytes]:
    """A real JPEG around a comment segment of an id's length, so that the worker has real work."""
    buffer = BytesIO()
    _picture().save(buffer, "JPEG", quality=75, comment=NO_ID)
    content = buffer.getvalue()
    # Bytes after the end of the picture: cameras add some too, and readers stop before them.
    return _around(content.ljust(PHOTO_BYTES, b"\0"))


def _picture() -> Image.Image:
    """1600 by 1200 points of coarse noise: a JPEG of a little less than PHOTO_BYTES."""
    chance = random.Random(20)
    coarse = Image.frombytes("RGB", (90, 68), chance.randbytes(90 * 68 * 3))
    return coarse.resize((1600, 1200), Image.Resampling.BILINEAR)
