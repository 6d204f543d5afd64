"""One inspector's day, played against a running server over HTTP: what `make phone` does.

It knows nothing of the server but its interfaces (docs/openapi.yaml), so it is also the shortest
example of a client: log in, sync, check in, photograph, fill in, complete; then the school answers
and the inspector verifies.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from server.console.pictures import draw

Json = dict[str, Any]
FORM = "food_safety"
WAIT_SECONDS = 30


class Refused(Exception):
    """The server said no, or what should have happened did not."""


class Phone:
    """A logged-in device of one person."""

    def __init__(self, http: httpx.Client, username: str, password: str) -> None:
        self.http = http
        self.username = username
        device = {"id": str(uuid4()), "name": f"{username} 的手机", "platform": "android"}
        body = {"username": username, "password": password, "device": device}
        session = self._send("POST", "/api/v1/auth/sessions", body)
        self.http.headers["Authorization"] = f"Bearer {session['token']}"
        self.name: str = session["user"]["name"]

    def get(self, path: str, **query: str) -> Json:
        return self._send("GET", f"/api/v1/{path}", query=query)

    def post(self, path: str, body: Json) -> Json:
        return self._send("POST", f"/api/v1/{path}", body)

    def put(self, path: str, body: Json) -> Json:
        return self._send("PUT", f"/api/v1/{path}", body)

    def sync(self) -> list[Json]:
        """Everything that this person may see."""
        changes: list[Json] = []
        page: Json = {"cursor": None, "has_more": True}
        while page["has_more"]:
            page = self.get("sync", **({"cursor": page["cursor"]} if page["cursor"] else {}))
            changes += page["changes"]
        return changes

    def photograph(self, number: int, *, place: Json | None = None) -> str:
        """Draw a picture, declare it, upload its parts to the store, complete it. Returns its id."""
        picture = draw("samples" if number == 21 else "kitchen", number, taken_at=datetime.now(UTC))
        media_id = str(uuid4())
        declared = self.post(
            "media",
            {
                "id": media_id,
                "filename": f"kitchen-{number}.jpg",
                "content_type": "image/jpeg",
                "size": len(picture),
                "sha256": hashlib.sha256(picture).hexdigest(),
                "taken_at": _now(),
                "location": place,
                "origin": "camera",
            },
        )
        for part in declared["upload"]["parts"]:
            piece = picture[part["offset"] : part["offset"] + part["size"]]
            answer = httpx.put(part["url"], content=piece, headers=part["headers"])
            answer.raise_for_status()
        # "arrived": the server still reads it, and the phone keeps its copy until it is "stored".
        while self.post(f"media/{media_id}/complete", {})["state"] == "arrived":
            time.sleep(1)
        return media_id

    def _send(
        self, method: str, path: str, body: Json | None = None, query: Json | None = None
    ) -> Json:
        clock = {"X-Device-Time": _now()}
        answer = self.http.request(method, path, json=body, params=query or None, headers=clock)
        if answer.is_error:
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else {}


Say = Callable[[str], object]
Pause = Callable[[], object]


def play_a_day(
    url: str, password: str, say: Say, *, pause: Pause = lambda: time.sleep(0.3)
) -> None:
    """Play the story and say each step; `pause` between two looks at what a worker derives.

    Raises Refused, httpx.HTTPError.
    """
    with ExitStack() as phones:

        def phone(username: str) -> Phone:
            http = phones.enter_context(httpx.Client(base_url=url, timeout=30))
            return Phone(http, username, password)

        _play(phone, say, pause)


def _play(phone: Callable[[str], Phone], say: Say, pause: Pause) -> None:
    inspector = phone("inspector1")
    say(f"登录 logged in: {inspector.name} (inspector1)")
    visit = _visit_to_make(inspector, phone, say, pause)
    _make_visit(inspector, visit, say)
    finding = _wait_for("finding", lambda: _first_finding(inspector, visit), pause)
    _rectify(phone("school1"), inspector, finding, say)
    office = phone("office")
    totals = office.get("findings/matrix", activity=visit["activity"]["id"])["totals"]
    say(f"督导办看到 the office sees: {_compact(totals)}")


def _visit_to_make(inspector: Phone, phone: Callable[[str], Phone], say: Say, pause: Pause) -> Json:
    changes = inspector.sync()
    say(f"同步 synced: {_counts(changes)}")
    visit = _open_visit(changes)
    if visit is None:
        say("没有待办任务，督导办新安排一次 no open visit left: the office plans another")
        _plan_another(phone("office"), inspector)
        visit = _wait_for("visit", lambda: _open_visit(inspector.sync()), pause)
    say(f"任务 visit: {visit['school']['name']} · {visit['activity']['title']}")
    return visit


def _open_visit(changes: list[Json]) -> Json | None:
    latest: dict[str, Json | None] = {
        change["id"]: change.get("data") for change in changes if change["type"] == "visit"
    }
    for visit in latest.values():
        if visit and visit["state"] == "assigned" and _uses_form(visit):
            return visit
    return None


def _uses_form(visit: Json) -> bool:
    return any(instrument["form_id"] == FORM for instrument in visit["instruments"])


def _plan_another(office: Phone, inspector: Phone) -> None:
    school = _school_of_school1(inspector)
    today = datetime.now().astimezone().date()
    activity = office.post(
        "activities",
        {
            "kind": "special",
            "title": f"校园食品安全回头看 {datetime.now().astimezone():%m-%d %H:%M:%S}",
            "starts": today.isoformat(),
            "ends": (today + timedelta(days=7)).isoformat(),
            "instruments": [FORM],
            "schools": [school["id"]],
            "announced": True,
        },
    )
    office.post(f"activities/{activity['id']}/publish", {})


def _school_of_school1(inspector: Phone) -> Json:
    """The inspector's school whose contact is school1: the first by its code."""
    schools: list[Json] = inspector.get("schools")["results"]
    return min(schools, key=lambda school: school["code"])


def _make_visit(inspector: Phone, visit: Json, say: Say) -> None:
    school = inspector.get(f"schools/{visit['school']['id']}")
    place = {**school["location"], "accuracy_m": 12.0}
    inspector.post(
        f"visits/{visit['id']}/check-in", {"id": str(uuid4()), "at": _now(), "location": place}
    )
    say(f"签到 checked in: {place['lat']:.5f}, {place['lon']:.5f} ± 12 m")
    names = ("kitchen.jpg", "samples.jpg")
    photos = [inspector.photograph(number, place=place) for number in (7, 21)]
    say(f"拍照并上传 photographed and uploaded: {len(photos)}")
    instrument = inspector.get(f"instruments/{FORM}")
    submission_id = str(uuid4())
    stored = inspector.put(
        f"submissions/{submission_id}",
        {
            "form_id": FORM,
            "version": instrument["version"],
            "visit_id": visit["id"],
            "answers": food_safety_answers(*names),
            "started_at": _now(),
            "ended_at": _now(),
            "device_time": _now(),
            "attachments": [
                {"name": name, "media_id": media} for name, media in zip(names, photos, strict=True)
            ],
        },
    )
    say(f"填报 filled in: 食品安全检查表 food safety check-list, {stored['state']}")
    inspector.post(
        f"visits/{visit['id']}/complete",
        {"id": str(uuid4()), "at": _now(), "summary": "留样不足，其余符合要求。"},
    )
    say("完成任务 completed the visit")


def food_safety_answers(kitchen_photo: str, samples_photo: str) -> Json:
    """Everything conforms but the kept samples."""
    from server.console.demo import ready_answers

    answers = ready_answers()
    answers["samples"] |= {
        "samples_kept": "no",
        "samples_kept_note": "午餐留样仅 80 克，标签缺少时间。",
        "samples_kept_photo": samples_photo,
    }
    answers["conclusion"]["kitchen_photo"] = kitchen_photo
    return answers


def _first_finding(inspector: Phone, visit: Json) -> Json | None:
    found: list[Json] = inspector.get("findings", visit=visit["id"])["results"]
    return found[0] if found else None


def _rectify(school: Phone, inspector: Phone, finding: Json, say: Say) -> None:
    say(f"发现问题 finding at the school: {finding['title']} (期限 due {finding['due']})")
    notice = school.get("notices", unread="true")["results"][0]
    say(f"学校收到通知 the school reads: {notice['title']}")
    school.post(f"notices/{notice['id']}/acknowledge", {})
    evidence = school.photograph(33)
    answer = {"measures": "已补足留样并重新培训食堂人员。", "media": [evidence]}
    _act(school, finding, "answer", note="请核查。", **answer)
    say("学校提交整改与照片 the school answered with measures and a photo")
    closed = _act(inspector, finding, "verify", note="现场核查，已整改到位。")
    say(f"督学核查 the inspector verified: {closed['state']}")


def _act(phone: Phone, finding: Json, action: str, **step: Any) -> Json:
    body = {"id": str(uuid4()), "action": action, "note": "", "media": [], **step}
    return phone.post(f"findings/{finding['id']}/actions", body)


def _wait_for(what: str, look: Callable[[], Json | None], pause: Pause) -> Json:
    """Derived work follows within a second or two."""
    stop = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < stop:
        if (found := look()) is not None:
            return found
        pause()
    raise Refused(f"no {what} after {WAIT_SECONDS} s: is the worker running?")


def _counts(changes: list[Json]) -> str:
    types = [change["type"] for change in changes]
    return ", ".join(f"{kind} {types.count(kind)}" for kind in sorted(set(types)))


def _compact(totals: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in totals.items())


def _now() -> str:
    return datetime.now(UTC).isoformat()
