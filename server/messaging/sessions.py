"""Sessions of devices: log-in, bearer tokens, OpenRosa credentials, push addresses.

A password is hashed at log-in only. Every later check is a digest and one indexed query, because
secrets that we generate ourselves have the entropy that a slow hash gives to those people choose.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction
from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Cast, Now
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.errors import Invalid, NotAuthenticated, NotFound, Problem
from server.core.standing import StandingQuery
from server.grid.models import User
from server.messaging.channels.socket import end_connections
from server.messaging.models import Device
from server.messaging.subscriptions import EndpointRefused, NoSubscription, checked_subscription

ODK_DEVICE = "ODK Collect"
OPENROSA_REALM = "Duxue"
SEEN_EVERY = timedelta(hours=1)
LATELY_SECONDS = 60.0
LATELY_KEPT = 2000
_KEY_MAC_BYTES = 16
_KEY_BYTES = 16 + 2 + _KEY_MAC_BYTES


class WrongCredentials(NotAuthenticated):
    code = "wrong_credentials"
    title = _("登录名或密码不正确")


class LockedOut(NotAuthenticated):
    code = "locked_out"
    title = _("登录失败次数过多，请 15 分钟后再试")


class TokenUnknown(NotAuthenticated):
    code = "token_unknown"
    title = _("登录信息无效，请重新登录")


class TokenExpired(NotAuthenticated):
    code = "token_expired"
    title = _("登录已过期，请重新登录")


class TokenRevoked(NotAuthenticated):
    code = "token_revoked"
    title = _("此设备的登录已停用，请重新登录")


class AccountInactive(NotAuthenticated):
    code = "account_inactive"
    title = _("此账号已停用，请联系教育督导办")


# ---- log-in and its end ---------------------------------------------------------------------


def open_session(
    *,
    username: str,
    password: str,
    device_id: UUID,
    device_name: str,
    platform: str,
    request: HttpRequest,
) -> tuple[str, Device]:
    """Log a person in on a device and return its new bearer token, which is stored only as a digest.

    A device has one session: logging in again replaces the token, and another person's log-in ends
    the first one's. `request` tells the lockout (django-axes) who is asking. Raises WrongCredentials,
    LockedOut.
    """
    user = _check_password(username, password, request)
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        device = Device.objects.select_for_update().filter(id=device_id).first()
        if device is not None:
            _end(device, unless_user=user)
        device, _created = Device.objects.update_or_create(
            id=device_id,
            defaults={
                "user": user,
                "name": device_name,
                "platform": platform,
                "token_digest": digest_of(token),
                "token_expires_at": clock.now() + timedelta(days=settings.DEVICE_TOKEN_DAYS),
                "last_seen_at": clock.now(),
                "revoked_at": None,
            },
        )
    return token, device


@transaction.atomic
def open_odk_session(user: User) -> Device:
    """The person's device for ODK Collect, by whose key address or settings QR code it logs in.

    Asking again prolongs it; one that was revoked comes back with another key.
    """
    open_until = clock.now() + timedelta(days=settings.DEVICE_TOKEN_DAYS)
    device, _created = Device.objects.select_for_update().update_or_create(
        id=uuid5(user.pk, ODK_DEVICE),
        defaults={"token_expires_at": open_until, "revoked_at": None},
        create_defaults={
            "user": user,
            "name": ODK_DEVICE,
            "platform": "odk",
            # Nobody has this token: the device is opened by its key alone.
            "token_digest": digest_of(secrets.token_urlsafe(32)),
            "token_expires_at": open_until,
            "last_seen_at": clock.now(),
        },
    )
    return device


def close_session(device: Device) -> None:
    """Log out: the token, the OpenRosa credentials and the push address end."""
    with transaction.atomic():
        _end(Device.objects.select_for_update().get(id=device.id))
    device.refresh_from_db()


def revoke_device(*, device_id: UUID, by: User) -> Device:
    """End the session of one of one's own devices, a lost one for example. Raises NotFound."""
    device = Device.objects.filter(id=device_id, user=by).first()
    if device is None:
        raise NotFound
    close_session(device)
    return device


def devices_of(user: User) -> QuerySet[Device]:
    """The person's devices whose session is open."""
    return user.devices.filter(_open())


def _check_password(username: str, password: str, request: HttpRequest) -> User:
    user = authenticate(request, username=username, password=password)
    if isinstance(user, User):
        return user
    if getattr(request, "axes_locked_out", False):
        # The middleware of axes would put a page of its own in the place of our answer.
        request.axes_locked_out = False  # type: ignore[attr-defined]
        raise LockedOut
    raise WrongCredentials


def _end(device: Device, *, unless_user: User | None = None) -> None:
    """Revoke what the device holds, unless it stays with the same person whose session is open."""
    if unless_user is not None and device.user_id == unless_user.pk and not device.revoked_at:
        return
    user_id = device.user_id
    device.revoked_at = device.revoked_at or clock.now()
    device.key_version += 1
    device.openrosa_ha1 = device.openrosa_password_digest = ""
    _clear_push(device)
    device.save()
    transaction.on_commit(lambda: end_connections(user_id, device.id), robust=True)


# ---- bearer token ---------------------------------------------------------------------------


def device_for_token(token: str) -> Device:
    """The device and its person, in one indexed query.

    Raises TokenUnknown, TokenRevoked, TokenExpired, AccountInactive.
    """
    return _usable(_BY_TOKEN.first(digest_of(token)))


_BY_TOKEN = StandingQuery(
    lambda digest: Device.objects.select_related("user").filter(token_digest=digest).order_by(), str
)
ORDINARY = ("revoked_at", "token_expires_at", "last_seen_at", "user__is_active", "user__language")
"""Of a device: what `is_ordinary` wants, and its person's language."""

_ORDINARY_BY_TOKEN = StandingQuery(
    lambda digest: (
        Device.objects.filter(token_digest=digest).order_by().values_list("user_id", *ORDINARY)
    ),
    str,
)


def ordinary_person(token: str) -> tuple[UUID, str] | None:
    """The id and the language of the token's person, by columns alone.

    None where `device_for_token` would refuse or has something to write down.
    """
    found = _ORDINARY_BY_TOKEN.first_values(digest_of(token))
    if found is None or not is_ordinary(*found[1:-1]):
        return None
    return found[0], found[-1]


def is_ordinary(
    revoked_at: datetime | None,
    token_expires_at: datetime,
    last_seen_at: datetime,
    is_active: bool,
) -> bool:
    """A device that may go on, and was seen lately."""
    moment = clock.now()
    return (
        revoked_at is None
        and moment < token_expires_at
        and moment - last_seen_at < SEEN_EVERY
        and is_active
    )


_BY_ID = StandingQuery(
    lambda id: Device.objects.select_related("user").filter(id=id).order_by(), UUID
)


def _usable(device: Device | None) -> Device:
    if device is None:
        raise TokenUnknown
    if device.revoked_at is not None:
        raise TokenRevoked
    if device.token_expires_at <= clock.now():
        raise TokenExpired
    if not device.user.is_active:
        raise AccountInactive
    _note_seen(device)
    return device


# ---- known lately ---------------------------------------------------------------------------


def device_known_lately(secret: str) -> Device | None:
    """The device that this token or OpenRosa key belonged to within the last minute, in this process.

    It lets the accept path read a body before it asks the database; what it then writes carries
    `usable_device` as a condition, or asks by `device_of_now` first. The object is shared: only read it.
    """
    found = _lately.get(digest_of(secret))
    return found[1] if found and found[0] > time.monotonic() else None


def remember_device(secret: str, device: Device) -> None:
    """Let `device_known_lately` find it."""
    if len(_lately) >= LATELY_KEPT:
        _lately.clear()
    _lately[digest_of(secret)] = time.monotonic() + LATELY_SECONDS, device


def device_of_now(device: Device) -> Device:
    """Ask for the device again. Raises as `device_for_token` does, for whatever ended since."""
    current = _usable(_BY_ID.first(device.id))
    if _identity(current) != _identity(device):
        raise TokenRevoked
    return current


def usable_device(device: Device) -> tuple[str, tuple[object, ...]]:
    """SQL that finds one row while the device's session is what it was, and its parameters."""
    return _SAME_SESSION.written(*_identity(device))


def _identity(device: Device) -> tuple[UUID, UUID, str, str]:
    """Whatever ends a session or gives the device to somebody else changes one of these."""
    return device.id, device.user_id, device.token_digest, str(device.key_version)


_lately: dict[str, tuple[float, Device]] = {}
_SAME_SESSION = StandingQuery(
    lambda id, user, digest, version: (
        Device.objects.annotate(version=Cast("key_version", CharField()))
        .filter(id=id, user=user, token_digest=digest, version=version)
        .filter(revoked_at=None, token_expires_at__gt=Now(), user__is_active=True)
        .order_by()
        .values_list("id")
    ),
    UUID,
    UUID,
    str,
    str,
)


def _note_seen(device: Device) -> None:
    """At most hourly: a write on every request would cost more than the request."""
    moment = clock.now()
    if moment - device.last_seen_at >= SEEN_EVERY:
        Device.objects.filter(id=device.id).update(last_seen_at=moment)
        device.last_seen_at = moment


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _open() -> Q:
    return Q(revoked_at=None, token_expires_at__gt=clock.now(), user__is_active=True)


# ---- OpenRosa -------------------------------------------------------------------------------


def key_for(device: Device) -> str:
    """The secret part of the device's OpenRosa address; derived, so that nothing of it is stored.

    base64url of device id, key version and an HMAC-SHA256 of both, cut to 16 bytes.
    """
    head = device.id.bytes + device.key_version.to_bytes(2, "big")
    return base64.urlsafe_b64encode(head + _key_mac(head)).rstrip(b"=").decode()


def device_for_key(key: str) -> Device:
    """The device of an OpenRosa address: the HMAC first, then one query by primary key.

    Raises as `device_for_token` does.
    """
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise TokenUnknown from None
    head, mac = raw[:-_KEY_MAC_BYTES], raw[-_KEY_MAC_BYTES:]
    if len(raw) != _KEY_BYTES or not hmac.compare_digest(mac, _key_mac(head)):
        raise TokenUnknown
    device = _usable(_BY_ID.first(UUID(bytes=head[:16])))
    if device.key_version != int.from_bytes(head[16:], "big"):
        raise TokenRevoked
    return device


def _key_mac(head: bytes) -> bytes:
    secret = settings.SECRET_KEY.encode()
    return hmac.digest(secret, b"openrosa-key:" + head, "sha256")[:_KEY_MAC_BYTES]


def new_openrosa_password(*, device: Device) -> str:
    """A generated password for HTTP Digest and Basic, shown once; an earlier one ends.

    Digest needs MD5(username:realm:password) at hand (RFC 7616); it opens nothing but this device.
    """
    password = secrets.token_urlsafe(18)
    secret = f"{device.user.username}:{OPENROSA_REALM}:{password}"
    device.openrosa_ha1 = hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest()
    device.openrosa_password_digest = digest_of(password)
    device.save(update_fields=["openrosa_ha1", "openrosa_password_digest"])
    return password


def device_for_basic(username: str, password: str) -> Device:
    """The device of a generated password. Raises as `device_for_token` does."""
    return _usable(
        Device.objects.select_related("user")
        .filter(openrosa_password_digest=digest_of(password), user__username=username)
        .first()
    )


def devices_with_digest(username: str) -> list[Device]:
    """The person's open devices that have a password for HTTP Digest; the caller compares HA1."""
    rows = Device.objects.select_related("user").filter(_open(), user__username=username)
    return list(rows.exclude(openrosa_ha1=""))


# ---- push -----------------------------------------------------------------------------------


@transaction.atomic
def set_push(*, device: Device, provider: str, address: str) -> None:
    """Remember where to push; no provider ends it. An address belongs to one device only.

    Raises Invalid.
    """
    if provider not in Device.PushProvider.values or bool(provider) != bool(address):
        problem = Problem("/provider", "invalid", _("请选择推送方式并提供推送地址"))
        raise Invalid(problems=[problem])
    if provider == Device.PushProvider.WEBPUSH:
        address = _subscription(address)
    if len(address) > 2048:
        raise Invalid(problems=[Problem("/address", "too_long", _("推送地址过长"))])
    taken = Device.objects.select_for_update().filter(push_address=address).exclude(id=device.id)
    for other in taken.exclude(push_address=""):
        _clear_push(other)
        other.save()
    _clear_push(device)
    device.push_provider, device.push_address = provider, address
    device.save(
        update_fields=[
            "push_provider",
            "push_address",
            "push_disabled_at",
            "push_disabled_reason",
        ]
    )


def _subscription(address: str) -> str:
    """Raises Invalid for what no browser gives, and for what leads into our own network."""
    try:
        return checked_subscription(json.loads(address))
    except (ValueError, NoSubscription):
        problem = Problem("/subscription", "invalid", _("浏览器推送订阅无效，请重新开启"))
    except EndpointRefused:
        problem = Problem("/subscription", "private", _("地址指向内部网络，已拒绝"))
    raise Invalid(problems=[problem])


def _clear_push(device: Device) -> None:
    device.push_provider = device.push_address = ""
    device.push_disabled_at, device.push_disabled_reason = None, ""
