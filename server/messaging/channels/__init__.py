"""The ways a notice reaches a person, behind one contract; PUSH_URL chooses what stands for push.

A channel sends one delivery, outside of any transaction, and says how far it got. It raises
`TemporaryFailure` when trying again may help, `PermanentFailure` when it cannot, and `AddressGone`
when the address itself is dead, which disables it for good. It may be called twice for the same
delivery: receivers tell a repetition by the notice's id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from server.core.work import PermanentFailure

if TYPE_CHECKING:
    from server.messaging.models import Delivery


class AddressGone(PermanentFailure):
    """This push address does not exist any more, or never was ours."""

    def __init__(self, reason: str, *, address: str) -> None:
        super().__init__(reason)
        self.address = address


@dataclass(frozen=True, slots=True)
class Sent:
    """How far the message is known to be: handed over, or with the recipient."""

    state: Literal["sent", "delivered"]
    note: str = ""


class Channel(Protocol):
    """One way to a person. `name` is the delivery's channel that it serves."""

    name: str

    def send(self, delivery: Delivery) -> Sent:
        """Send one delivery, whose notice and recipient are loaded."""


def _inbox() -> Channel:
    from server.messaging.channels.inbox import InboxChannel

    return InboxChannel()


def _socket() -> Channel:
    from server.messaging.channels.socket import SocketChannel

    return SocketChannel()


def _push() -> Channel:
    scheme = urlsplit(settings.PUSH_URL).scheme
    if scheme == "log":
        from server.messaging.channels.log import LogChannel

        return LogChannel()
    if scheme == "fcm":
        from server.messaging.channels.fcm import FcmChannel

        return FcmChannel.from_url(settings.PUSH_URL)
    raise ImproperlyConfigured(f"PUSH_URL: unknown scheme {scheme!r}; use log:// or fcm:///file")


def _webpush() -> Channel:
    from server.messaging.channels.webpush import WebPushChannel

    return WebPushChannel()


def _jpush() -> Channel:
    from server.messaging.channels.jpush import JPushChannel

    return JPushChannel.from_url(settings.JPUSH_URL) if settings.JPUSH_URL else _off("jpush")


def _robot() -> Channel:
    from server.messaging.channels.robots import RobotChannel

    return RobotChannel()


def _mail() -> Channel:
    from server.messaging.channels.mail import MailChannel

    if not settings.MAIL_URL:
        return _off("mail")
    return MailChannel.from_url(settings.MAIL_URL, settings.MAIL_FROM)


def _sms() -> Channel:
    from server.messaging.channels.sms import SmsChannel

    return SmsChannel(settings.SMS_URL) if settings.SMS_URL else _off("sms")


def _off(name: str) -> Channel:
    from server.messaging.channels.off import OffChannel

    return OffChannel(name, f"{name.upper()}_URL")


_makers: dict[str, Callable[[], Channel]] = {
    "inbox": _inbox,
    "socket": _socket,
    "fcm": _push,
    "webpush": _webpush,
    "jpush": _jpush,
    "robot": _robot,
    "mail": _mail,
    "sms": _sms,
}


@cache
def channel_for(name: str) -> Channel:
    """The channel that serves deliveries of this name. Raises KeyError for an unknown one."""
    return _makers[name]()


def _forget(*, setting: str, **_: object) -> None:
    if setting in ("PUSH_URL", "JPUSH_URL", "MAIL_URL", "MAIL_FROM", "SMS_URL"):
        channel_for.cache_clear()


setting_changed.connect(_forget)
