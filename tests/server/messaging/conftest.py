"""What the messaging tests share: devices of the cast, and the local FCM server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.test import RequestFactory

from server.grid.models import User
from server.messaging import channels
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
