"""Firebase Cloud Messaging, through Google's SDK: the only module that knows it.

PUSH_URL is `fcm:///path/to/service-account.json`, with these options behind a question mark:
`ttl_hours` (72), how long FCM keeps a message for a phone that is away; `timeout` (10), seconds;
`endpoint`, another server that speaks FCM's HTTP v1 (a test's).
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

import firebase_admin
from django.core.exceptions import ImproperlyConfigured
from django.utils import translation
from django.utils.translation import gettext as _
from firebase_admin import credentials, exceptions, messaging
from google.auth.exceptions import GoogleAuthError
from requests.adapters import HTTPAdapter

from server.core import clock
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.messaging.channels import AddressGone, Sent
from server.messaging.models import Delivery, Device

OPTIONS = {"ttl_hours", "timeout", "endpoint"}


class FcmChannel:
    """Sends one message per call; the phone shows one notification per notice, however often sent."""

    name = "fcm"

    def __init__(
        self,
        credentials_file: Path,
        *,
        ttl_hours: int = 72,
        timeout: float = 10,
        endpoint: str = "",
    ) -> None:
        self._ttl = timedelta(hours=ttl_hours)
        self._app = firebase_admin.initialize_app(
            credentials.Certificate(json.loads(credentials_file.read_text("utf-8"))),
            {"httpTimeout": timeout},
            name=f"duxue-{uuid4().hex}",
        )
        self._service = _bounded_service(self._app, endpoint)

    @classmethod
    def from_url(cls, url: str) -> FcmChannel:
        """Raises ImproperlyConfigured for what the module's first lines do not describe."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        if parts.netloc or not options.keys() <= OPTIONS:
            raise ImproperlyConfigured(
                "PUSH_URL: use fcm:///path/to/service-account.json?ttl_hours=72"
            )
        try:
            return cls(
                Path(unquote(parts.path)),
                ttl_hours=int(options.get("ttl_hours", 72)),
                timeout=float(options.get("timeout", 10)),
                endpoint=options.get("endpoint", ""),
            )
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(f"PUSH_URL: {error}") from error

    def close(self) -> None:
        """Give the connections back."""
        self._service._client.close()
        firebase_admin.delete_app(self._app)

    def send(self, delivery: Delivery) -> Sent:
        """Hand the message to FCM, which tells nobody whether it arrived: the most is "sent"."""
        address = _address(delivery)
        message = self._message(delivery, address)
        try:
            messaging.send(message, app=self._app)
        except exceptions.FirebaseError as error:
            raise _failure(error, address) from error
        except (GoogleAuthError, KeyError) as error:  # no access token; an answer without a name
            raise TemporaryFailure(f"{type(error).__name__}: {error}") from error
        return Sent("sent")

    def _message(self, delivery: Delivery, address: str) -> messaging.Message:
        notice = delivery.notice
        urgent = notice.is_urgent
        with translation.override(delivery.person.language):
            notification = messaging.Notification(title=delivery.title, body=delivery.body)
        message = messaging.Message(
            notification=notification,
            data={
                "notice": str(notice.id),
                "event": notice.event,
                "subject_type": notice.subject_type,
                "subject_id": str(notice.subject_id or ""),
                "requires_ack": "true" if notice.requires_ack else "false",
            },
            android=messaging.AndroidConfig(
                collapse_key=str(notice.id),
                priority="high" if urgent else "normal",
                ttl=self._ttl,
                notification=messaging.AndroidNotification(
                    channel_id="urgent" if urgent else "notices", tag=str(notice.id)
                ),
            ),
            apns=messaging.APNSConfig(
                headers={
                    "apns-collapse-id": str(notice.id),
                    "apns-expiration": str(int((clock.now() + self._ttl).timestamp())),
                }
            ),
        )
        # Set here, not in the constructor: the SDK deprecates it there in favour of installation
        # ids, but registration tokens are what phones of today report.
        message.token = address
        return message


def _bounded_service(app: firebase_admin.App, endpoint: str) -> Any:
    """The SDK's service without its inner retries, which hold a worker for seconds and, with a
    Retry-After, without bound: the pump backs off instead. There is no public way to say so.
    """
    service = messaging._get_messaging_service(app)
    session = service._client.session
    for prefix in [*session.adapters]:
        session.mount(prefix, HTTPAdapter(max_retries=0))
    if endpoint:
        service._fcm_url = f"{endpoint.rstrip('/')}/v1/projects/{app.project_id}/messages:send"
    return service


def _address(delivery: Delivery) -> str:
    """The device's token of now, while the device is still the recipient's and logged in."""
    device = Device.objects.filter(
        pk=delivery.address,
        user=delivery.recipient,
        push_provider=Device.PushProvider.FCM,
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    ).first()
    if device is None:
        raise PermanentFailure(_("此设备已退出登录或不再接收推送"))
    return device.push_address


def _failure(error: exceptions.FirebaseError, address: str) -> WorkFailure:
    """What an error of FCM means for the delivery.

    Wrong credentials and the like are temporary: they are the operator's to mend, not the message's.
    Source: FCM's documentation of its error codes (ErrorCode of the HTTP v1 API).
    """
    reason = f"{error.code}: {error}"
    if isinstance(error, messaging.UnregisteredError | messaging.SenderIdMismatchError):
        return AddressGone(reason, address=address)
    if isinstance(error, exceptions.InvalidArgumentError):
        blamed = _blames_token(error)
        return AddressGone(reason, address=address) if blamed else PermanentFailure(reason)
    return TemporaryFailure(reason, retry_after=_retry_after(error))


def _blames_token(error: exceptions.FirebaseError) -> bool:
    response = error.http_response
    return response is not None and '"message.token"' in response.text


def _retry_after(error: exceptions.FirebaseError) -> float | None:
    """Seconds; the form with a date is not what FCM sends."""
    response = error.http_response
    text = "" if response is None else response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
