"""What the messaging tests share: devices of the cast, and the local FCM server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.test import RequestFactory

from server.core import clock, work
from server.grid.models import User
from server.messaging import channels
from server.messaging.channels import Sent
from server.messaging.models import Device
from server.messaging.sessions import open_session, set_push
from tests.cast import PASSWORD
from tests.fakes.fcm import FcmServer

LogIn = Callable[..., tuple[str, Device]]


@pytest.fixture
def log_in(cast) -> LogIn:
    """Log a person in on a device; `push` gives it an FCM address."""

    def log_in(
        user: User, device_id: UUID | None = None, *, push: str = "", password: str = PASSWORD
    ) -> tuple[str, Device]:
        token, device = open_session(
            username=user.username,
            password=password,
            device_id=device_id or uuid4(),
            device_name="测试手机",
            platform="android",
            request=RequestFactory().post("/api/v1/auth/sessions"),
        )
        if push:
            set_push(device=device, provider="fcm", address=push)
        return token, device

    return log_in


@pytest.fixture
def fcm(settings, tmp_path: Path) -> Iterator[FcmServer]:
    """A local FCM server, to which PUSH_URL points."""
    with FcmServer() as server:
        settings.PUSH_URL = server.push_url(tmp_path)
        yield server
        channels.channel_for("fcm").close()


class Worker:
    """A worker and the clock it lives by: `drain` runs what is due, `later` seconds from the last."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._real = clock.now

    def now(self) -> datetime:
        return self._real() + self.ahead

    def stop_the_clock(self) -> None:
        """From now on only `later` moves it, however slow the machine is."""
        moment = self._real()
        self._real = lambda: moment

    def drain(self, *, later: float = 0, pump: str = "deliveries") -> int:
        self.ahead += timedelta(seconds=later)
        return work.drain(next(each for each in work.pumps() if each.name == pump))


@pytest.fixture
def worker(monkeypatch) -> Worker:
    """Without jitter."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    made = Worker()
    monkeypatch.setattr(clock, "now", made.now)
    return made


class Postbox:
    """A channel of ours at its port: it keeps what it is given, or fails as it is told."""

    name = "mail"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failure: Exception | None = None

    def send(self, delivery) -> Sent:
        if self.failure:
            raise self.failure
        self.sent.append(delivery.notice.title)
        return Sent("sent")


@pytest.fixture
def postbox(monkeypatch, fcm: FcmServer) -> Iterator[Postbox]:
    """Stands for mail, beside FCM."""
    box = Postbox()
    monkeypatch.setitem(channels._makers, "mail", lambda: box)
    channels.channel_for.cache_clear()
    yield box
    channels.channel_for("fcm").close()  # it is forgotten with the postbox
    channels.channel_for.cache_clear()
