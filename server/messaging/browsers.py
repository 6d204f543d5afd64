"""Browsers that receive notices by Web Push: each is a device whose session is the page's own.

The device ends with the page session: log-out revokes it, and its expiry is the session's, so that a
computer that several people share goes on telling nobody's notices.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.http import HttpRequest

from server.core import clock
from server.grid.models import User
from server.messaging.models import Device
from server.messaging.sessions import close_session, digest_of, set_push

SESSION_KEY = "browser_device"
PLATFORM = "browser"


@transaction.atomic
def subscribe_browser(
    *, user: User, browser_id: UUID, name: str, subscription: dict[str, Any], until: datetime
) -> Device:
    """Push the person's notices to this browser until then. Repeating it prolongs it.

    `browser_id` is the browser's making. Raises Invalid for what is no subscription.
    """
    fresh = {
        "name": name[:80],
        "token_expires_at": until,
        "last_seen_at": clock.now(),
        "revoked_at": None,
    }
    device, _created = Device.objects.select_for_update().update_or_create(
        id=device_id_of(user, browser_id),
        defaults=fresh,
        create_defaults={
            **fresh,
            "user": user,
            "platform": PLATFORM,
            # Nobody has this token: the page's session is the only way in.
            "token_digest": digest_of(secrets.token_urlsafe(32)),
        },
    )
    set_push(device=device, provider="webpush", address=json.dumps(subscription))
    return device


def unsubscribe_browser(*, user: User, browser_id: UUID) -> None:
    """Push no more to this browser. Repeating it changes nothing."""
    _close(device_id_of(user, browser_id))


def device_id_of(user: User, browser_id: UUID) -> UUID:
    """The person is part of it: nobody names another's device, nor their own phone."""
    return uuid5(user.pk, f"browser {browser_id}")


def _close(device_id: UUID) -> None:
    device = Device.objects.filter(pk=device_id, platform=PLATFORM, revoked_at=None).first()
    if device is not None:
        close_session(device)


def _on_logout(*, request: HttpRequest | None, **_more: object) -> None:
    kept = request.session.get(SESSION_KEY) if request is not None else None
    if kept:
        _close(UUID(kept))


def register() -> None:
    """End the push with the page's session; call it when the app is ready."""
    user_logged_out.connect(_on_logout, dispatch_uid="browser push")
