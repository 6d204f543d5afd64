"""Each channel that calls somebody else's server, with a local server that speaks its protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from server.messaging.chat_groups import RobotGiven, add_chat_group
from server.messaging.models import ChatGroup, Delivery
from server.messaging.services import notify
from server.messaging.sessions import set_push
from tests.cast import Cast
from tests.fakes.vendors import JPushServer, PushService, RobotServer, SmsGateway

LOOPBACK = ["127.0.0.0/8"]


@dataclass
class World:
    """A channel as it is set up: its server, a delivery to send, and what arrived in the end."""

    name: str
    server: Any
    make: Callable[..., Delivery]
    arrived: Callable[[], list[str]]
    """The texts that reached people, as they read them."""


def told(cast: Cast, channel: str, **options: Any) -> Delivery:
    """The delivery by this channel of a notice about the cast's school to its principal."""
    words = {"finding": "留样不足", "due": "2026-12-01"}
    options = {"recipients": [cast.principal], "school": cast.school, **words, **options}
    notice = notify("finding.overdue", subject=("finding", uuid4()), **options)
    rows = notice.deliveries.select_related("notice", "recipient", "group")
    return rows.get(channel=channel)


def add_robot(cast: Cast, server: RobotServer, kind: str, **more: Any) -> ChatGroup:
    """The school's group on this platform, signed where the platform signs."""
    signed = "" if kind == "wecom" else server.sign_secret
    given = {"webhook": server.webhook(kind), "sign_secret": signed, **more}
    return add_chat_group(
        group_id=uuid4(),
        by=cast.principal,
        name="东河镇中心小学教师群",
        school_id=cast.school.pk,
        robot=RobotGiven(**given),
    )


@contextmanager
def world_of(name: str, cast: Cast, settings: Any, log_in: Any) -> Iterator[World]:
    """The named world, running."""
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    settings.PUBLIC_URL = "https://duxue.example"
    maker = {"webpush": _webpush, "jpush": _jpush, "sms": _sms}.get(name, _robot)
    with maker(name, cast, settings, log_in) as world:
        yield world


@contextmanager
def _robot(kind: str, cast: Cast, settings: Any, _log_in: Any) -> Iterator[World]:
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        add_robot(cast, server, kind)

        def arrived() -> list[str]:
            return [read(document) for document in server.said]

        yield World("robot", server, lambda **more: told(cast, "robot", **more), arrived)


def read(document: dict[str, Any]) -> str:
    """A robot's message as people in the group read it."""
    if "text" in document:
        return str(document["text"]["content"])
    post = document["content"]["post"]["zh_cn"]
    words = [each.get("href", each.get("text", "@")) for line in post["content"] for each in line]
    return "\n".join([post["title"], *words])


@contextmanager
def _webpush(_name: str, cast: Cast, settings: Any, log_in: Any) -> Iterator[World]:
    with PushService() as server:
        browser = server.subscribe()
        _token, device = log_in(cast.principal)
        set_push(device=device, provider="webpush", address=json.dumps(browser.subscription))

        def arrived() -> list[str]:
            found = [browser.opened(body) for _path, _headers, body in server.requests]
            return [f"{each['title']}\n{each['body']}\n{each['link']}" for each in found]

        yield World("webpush", server, lambda **more: told(cast, "webpush", **more), arrived)


@contextmanager
def _jpush(_name: str, cast: Cast, settings: Any, log_in: Any) -> Iterator[World]:
    with JPushServer() as server:
        settings.JPUSH_URL = server.jpush_url()
        _token, device = log_in(cast.principal)
        set_push(device=device, provider="jpush", address="registration-1")

        def arrived() -> list[str]:
            phones = [each["notification"]["android"] for each in server.sent.values()]
            return [
                f"{each['title']}\n{each['alert']}\n{each['extras']['link']}" for each in phones
            ]

        yield World("jpush", server, lambda **more: told(cast, "jpush", **more), arrived)


@contextmanager
def _sms(_name: str, cast: Cast, settings: Any, _log_in: Any) -> Iterator[World]:
    with SmsGateway() as server:
        settings.SMS_URL = server.sms_url()

        def arrived() -> list[str]:
            return [each["text"] for each in server.sent.values()]

        yield World("sms", server, lambda **more: told(cast, "sms", **more), arrived)


NAMES = ["wecom", "dingtalk", "feishu", "webpush", "jpush", "sms"]
