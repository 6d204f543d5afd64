"""The short way answers as the long one does, and leaves alone what it does not want."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from media_storage.models import MediaObject
from media_storage.stores import get_store
from mobile_api.views import media as views
from mobile_api.views.short import NotOrdinary
from server.core import clock
from server.messaging.models import Device
from tests.clients import Phone, new, now
from tests.media_storage.pictures import jpeg

PICTURE = jpeg(80, 60)
VARIES = {"X-Request-ID", "ETag", "Content-Length"}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """ways(False) closes the short way; the list tells which requests went it."""

    def ways(is_open: bool = True) -> list[str]:
        went: list[str] = []
        for view in (views.MediaView, views.CompleteView):
            short = view.__dict__["short"].__func__

            def watched(*args: Any, _short: Any = short, **kwargs: Any) -> Any:
                if not is_open:
                    raise NotOrdinary
                answer = _short(*args, **kwargs)
                went.append(args[0].path.rpartition("/")[2])
                return answer

            monkeypatch.setattr(view, "short", staticmethod(watched))
        return went

    return ways


def declared(**changes: Any) -> dict[str, Any]:
    return {
        "id": new(),
        "filename": "厨房.jpg",
        "content_type": "image/jpeg",
        "size": len(PICTURE),
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
        "taken_at": now(),
        "location": {"lat": 33.0, "lon": 108.0, "accuracy_m": 5.0},
        **changes,
    }


def arrive(media_id: str) -> None:
    media = MediaObject.objects.get(id=media_id)
    get_store().write_at(f"incoming/{media.key}", [PICTURE])  # type: ignore[attr-defined]


def both(
    ways: Any, phone: Phone, ask: Callable[[Phone], Any], undo: Callable[[], None]
) -> tuple[Any, list[str]]:
    """The answer of either way, which must be the same, and which requests went the short one."""
    answers = []
    went: list[str] = []
    for is_open in (False, True):
        went = ways(is_open)
        answers.append(ask(phone))
        undo()
    long, short = answers
    assert short.status_code == long.status_code
    same = {name: value for name, value in long.items() if name not in VARIES}
    assert {name: value for name, value in short.items() if name not in VARIES} == same
    told, told_long = short.json(), long.json()
    for each in (told, told_long):
        each.pop("request_id", None)
        for part in each.get("upload", {}).get("parts", ()):
            part.pop("url")  # every declaration has a key of its own
        each.get("upload", {}).pop("expires_at", None)
    assert told == told_long
    assert (b": " in short.content) == (b": " in long.content)
    return short, went


def forget() -> None:
    MediaObject.objects.all().delete()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 201),
        ({"link": "weak"}, 201),
        ({"location": None, "taken_at": None}, 201),
        ({"sha256": "x"}, 422),
        ({"size": 0}, 422),
        ({"content_type": "text/html"}, 422),
        ({"location": {"lat": 91, "lon": 0}}, 422),
    ],
)
@pytest.mark.parametrize("language", [{}, {"Accept-Language": "en"}])
def test_a_declaration_is_answered_alike(cast, phone, ways, change, status, language):
    body = json.dumps(declared(**change)).encode()
    answer, _went = both(
        ways,
        phone(cast.ada),
        lambda ada: ada.raw("POST", "/media", body, headers=language),
        forget,
    )
    assert answer.status_code == status


def test_a_declaration_again_and_another_under_its_id_are_answered_alike(cast, phone, ways):
    ada, first = phone(cast.ada), declared()
    ada.post("/media", first, status=201)
    for body, status in ((first, 200), ({**first, "size": 5}, 409)):
        content = json.dumps(body).encode()
        answer, _went = both(
            ways, ada, lambda ada, content=content: ada.raw("POST", "/media", content), lambda: None
        )
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("before", "status"), [("nothing", 409), ("arrived", 200), ("others", 422)]
)
def test_a_completion_is_answered_alike(cast, phone, ways, before, status):
    ada, body = phone(cast.ada), declared()
    if before == "others":
        body["sha256"] = "0" * 64

    def prepare() -> None:
        forget()
        ada.post("/media", body, status=201)
        if before != "nothing":
            arrive(body["id"])

    prepare()
    path = f"/media/{body['id']}/complete"
    answer, _went = both(ways, ada, lambda ada: ada.raw("POST", path), prepare)
    assert answer.status_code == status


def test_what_is_ordinary_goes_the_short_way_with_few_queries(
    cast, phone, ways, django_assert_num_queries
):
    went = ways(True)
    ada, body = phone(cast.ada), declared()
    with django_assert_num_queries(2):  # who asks, and one insert
        ada.post("/media", body, status=201)
    arrive(body["id"])
    with django_assert_num_queries(2):  # whose it is, and one update
        ada.post(f"/media/{body['id']}/complete")
    assert went == ["media", "complete"]


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ({"headers": {"Authorization": ""}}, 401),
        ({"headers": {"Authorization": "Bearer other"}}, 401),
        ({"headers": {"Authorization": "Basic x"}}, 401),
        ({"headers": {"Accept": "text/html"}}, 406),
        ({"query": {"format": "json"}}, 201),
        ({"content_type": "text/plain"}, 415),
        ({"content": b""}, 422),
        ({"content": b"{"}, 400),
        ({"content": b"[]"}, 400),
        ({"content": b'{"id": 1, "id": 1}'}, 400),
        ({"content": b"{}" + b" " * 9000}, 422),
    ],
)
def test_what_is_not_goes_the_long_one(cast, phone, ways, call, status):
    went = ways(True)
    content = call.get("content", json.dumps(declared()).encode())
    options = {name: value for name, value in call.items() if name != "content"}
    answer = phone(cast.ada).raw("POST", "/media", content, **options)
    assert answer.status_code == status, answer.content
    assert went == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revoked_at": clock.now()}, 401),
        ({"token_expires_at": clock.now() - timedelta(days=1)}, 401),
        ({"last_seen_at": clock.now() - timedelta(days=1)}, 200),
    ],
)
def test_a_device_that_is_not_in_order_goes_the_long_one(cast, phone, ways, change, status):
    ada, body = phone(cast.ada), declared()
    ada.post("/media", body, status=201)
    arrive(body["id"])
    went = ways(True)
    Device.objects.update(**change)
    path = f"/media/{body['id']}/complete"
    if status == 401:
        ada.post("/media", declared(), status=401)
        ada.post(path, status=401)
    else:
        ada.post(path)
        assert Device.objects.get().last_seen_at > clock.now() - timedelta(minutes=1)
    assert went == []


def test_a_person_who_left_goes_the_long_one(cast, phone, ways):
    ada, body = phone(cast.ada), declared()
    ada.post("/media", body, status=201)
    cast.ada.is_active = False
    cast.ada.save()
    went = ways(True)
    ada.post("/media", declared(), status=401)
    ada.post(f"/media/{body['id']}/complete", status=401)
    assert went == []


def test_carla_completes_no_photo_that_is_not_hers(cast, phone, ways):
    body = declared()
    phone(cast.ada).post("/media", body, status=201)
    arrive(body["id"])
    went = ways(True)
    phone(cast.carla).post(f"/media/{body['id']}/complete", status=404)
    assert went == []
    assert MediaObject.objects.get().state == "declared"


def test_a_database_that_is_away_is_come_again_on_either_way(cast, phone, ways, monkeypatch):
    ada = phone(cast.ada)

    def away(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("the database system is starting up")

    monkeypatch.setattr(views, "declare_media", away)
    answer = ada.raw("POST", "/media", json.dumps(declared()).encode())
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_a_store_that_is_away_is_asked_once(cast, phone, ways, settings, monkeypatch):
    ada, body = phone(cast.ada), declared()
    ada.post("/media", body, status=201)
    settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
    asked = []
    real = views.complete_media
    monkeypatch.setattr(views, "complete_media", lambda **kwargs: asked.append(1) or real(**kwargs))
    answer = ada.raw("POST", f"/media/{body['id']}/complete")
    assert (answer.status_code, answer["Retry-After"], len(asked)) == (503, "5", 1)
