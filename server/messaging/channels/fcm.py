"""Firebase Cloud Messaging: credentials, encoding and errors of Google's SDK, one HTTP client of ours.

The only module that knows the SDK. Its own senders make at most 1,000 messages a second of a core
(docs/adr/0023); this one keeps connections open on an event loop of its own and makes ten times that.

PUSH_URL is `fcm:///path/to/service-account.json`, with these options behind a question mark:
`ttl_hours` (72), how long FCM keeps a message for a phone that is away; `timeout` (10), seconds;
`connections` (100), how many messages are under way at once; `endpoint`, another server that speaks
FCM's HTTP v1 (a test's).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID, uuid4

import aiohttp
import firebase_admin
import google.auth.transport.requests
import requests
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from firebase_admin import credentials, exceptions, messaging
from google.auth.exceptions import GoogleAuthError

from server.core import clock
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.messaging.channels import AddressGone, NotAsked, Sent, Unavailable
from server.messaging.message_text import MessageText, shortened, text_of
from server.messaging.models import Delivery, Device

OPTIONS = {"ttl_hours", "timeout", "connections", "endpoint"}
TITLE_BYTES, BODY_BYTES = 400, 2000
"""FCM takes 4,096 bytes of payload, the data and keys with it; the whole text is in the inbox."""
UNAVAILABLE = (401, 403, 429, 502, 503, 504)

Outcome = Sent | WorkFailure


class FcmChannel:
    """The phone shows one notification per notice, however often it is sent: it has the same tag."""

    name = "fcm"
    carries_many = True

    def __init__(
        self,
        credentials_file: Path,
        *,
        ttl_hours: int = 72,
        timeout: float = 10,
        connections: int = 100,
        endpoint: str = "",
    ) -> None:
        self._ttl = timedelta(hours=ttl_hours)
        self._app = firebase_admin.initialize_app(
            credentials.Certificate(json.loads(credentials_file.read_text("utf-8"))),
            {"httpTimeout": timeout},
            name=f"duxue-{uuid4().hex}",
        )
        self._service = messaging._get_messaging_service(self._app)
        self._token = AccessToken(self._app, timeout)
        url = self._service._fcm_url
        if endpoint:
            url = f"{endpoint.rstrip('/')}/v1/projects/{self._app.project_id}/messages:send"
        self._client = Client(url, timeout=timeout, connections=connections)

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
                connections=int(options.get("connections", 100)),
                endpoint=options.get("endpoint", ""),
            )
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(f"PUSH_URL: {error}") from error

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
        self._service._client.close()
        firebase_admin.delete_app(self._app)

    def send(self, delivery: Delivery) -> Sent:
        """Hand the message to FCM, which tells nobody whether it arrived: the most is "sent"."""
        outcome = self.send_all([delivery], seconds=math.inf)[delivery.pk]
        if isinstance(outcome, WorkFailure):
            raise outcome
        return outcome

    def send_all(self, deliveries: Sequence[Delivery], *, seconds: float) -> Mapping[UUID, Outcome]:
        """The same for many: as many at once as there are connections."""
        until = time.monotonic() + seconds
        addresses = _addresses(deliveries)
        outcomes: dict[UUID, Outcome] = {
            row.pk: NotAsked(_("此设备已退出登录或不再接收推送"))
            for row in deliveries
            if row.pk not in addresses
        }
        asked = [row for row in deliveries if row.pk in addresses]
        for answered in self._post(asked, addresses, until):
            outcomes.update(answered)
        return outcomes

    def _post(
        self, rows: Sequence[Delivery], addresses: Mapping[UUID, str], until: float
    ) -> Iterator[Mapping[UUID, Outcome]]:
        """Twice at most: what was refused because the access token had ended goes with a new one."""
        bodies = dict(self._bodies(rows, addresses))
        for last in (False, True):
            if not bodies:
                return
            try:
                authorization = self._token.of_now()
            except GoogleAuthError as error:
                failure = Unavailable(f"{type(error).__name__}: {error}")
                yield dict.fromkeys(bodies, failure)
                return
            answers = self._client.post(bodies, self._headers(authorization), until)
            stale = {pk for pk, answer in answers.items() if answer.status == 401 and not last}
            yield {
                pk: self._outcome(answer, addresses[pk])
                for pk, answer in answers.items()
                if pk not in stale
            }
            if stale:
                self._token.forget(authorization)
            bodies = {pk: bodies[pk] for pk in stale}

    def _headers(self, authorization: str) -> dict[str, str]:
        return {
            **self._service._fcm_headers,
            "Authorization": f"Bearer {authorization}",
            "Content-Type": "application/json",
        }

    def _bodies(
        self, rows: Sequence[Delivery], addresses: Mapping[UUID, str]
    ) -> Iterator[tuple[UUID, bytes]]:
        moment = clock.now()
        texts: dict[tuple[UUID, str], MessageText] = {}
        for row in rows:
            key = (row.notice_id, row.person.language)
            text = texts.get(key)
            own = row.carries or row.notice.templated
            if own or text is None:
                text = text_of(row)
                if not own:
                    texts[key] = text
            message = self._message(row, addresses[row.pk], text, moment)
            content = {"message": self._service.encode_message(message)}
            yield row.pk, json.dumps(content, ensure_ascii=False).encode()

    def _message(
        self, delivery: Delivery, address: str, text: MessageText, moment: datetime
    ) -> messaging.Message:
        notice = delivery.notice
        urgent = notice.is_urgent
        ttl = self._ttl_of(delivery, moment)
        message = messaging.Message(
            notification=messaging.Notification(
                title=shortened(text.title, TITLE_BYTES),
                body=shortened(text.body, BODY_BYTES),
            ),
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
                ttl=ttl,
                notification=messaging.AndroidNotification(
                    channel_id="urgent" if urgent else "notices", tag=str(notice.id)
                ),
            ),
            apns=messaging.APNSConfig(
                headers={
                    "apns-collapse-id": str(notice.id),
                    "apns-expiration": str(int((moment + ttl).timestamp())),
                }
            ),
        )
        # Set here, not in the constructor: the SDK deprecates it there in favour of installation
        # ids, but registration tokens are what phones of today report.
        message.token = address
        return message

    def _ttl_of(self, delivery: Delivery, moment: datetime) -> timedelta:
        """No longer than the delivery lives; whole seconds."""
        if delivery.expires_at is None:
            return self._ttl
        left = math.ceil((delivery.expires_at - moment).total_seconds())
        return min(self._ttl, timedelta(seconds=max(left, 0)))

    def _outcome(self, answer: Answer, address: str) -> Outcome:
        """What FCM's answer means for the delivery; the SDK's own reading of errors."""
        if answer.failure:
            return Unavailable(answer.failure)
        if answer.status != 200:
            failed = requests.HTTPError(response=answer.as_response())
            return _failure(self._service._handle_fcm_error(failed), address)
        try:
            return Sent("sent", provider_id=str(json.loads(answer.content)["name"])[-200:])
        except (ValueError, KeyError, TypeError) as error:  # an answer without a name
            return TemporaryFailure(f"{type(error).__name__}: {error}")


class AccessToken:
    """Google's access token, renewed shortly before its end; callable from every thread."""

    def __init__(self, app: firebase_admin.App, timeout: float) -> None:
        self._credential = app.credential.get_credential()
        self._ask = partial(google.auth.transport.requests.Request(), timeout=timeout)
        self._lock = threading.Lock()

    def of_now(self) -> str:
        """Raises GoogleAuthError."""
        with self._lock:
            if not self._credential.valid:
                self._credential.refresh(self._ask)
            token: str = self._credential.token
            return token

    def forget(self, token: str) -> None:
        """This token was refused."""
        with self._lock:
            if self._credential.token == token:
                self._credential.token = None


class Answer:
    """An HTTP answer, or why there is none."""

    __slots__ = ("content", "failure", "headers", "status")

    def __init__(
        self,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        failure: str = "",
    ) -> None:
        self.status, self.headers, self.content = status, headers or {}, content
        self.failure = failure

    def as_response(self) -> requests.Response:
        """In the shape that the SDK reads."""
        response = requests.Response()
        response.status_code = self.status
        response.headers.update(self.headers)
        # The SDK decodes it strictly, and what is broken is no reason to stumble.
        response._content = self.content.decode(errors="replace").encode()
        response.encoding = "utf-8"
        return response


class Client:
    """Posts many bodies to one address over connections that stay open, on a loop in a thread.

    A thread, because the pump is not asynchronous, and a loop that stands still between two batches
    would not learn that the other side has closed a connection. A forked child makes its own.
    """

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        self._url = url
        self._timeout, self._connections = timeout, connections
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._pid = 0

    def post(
        self, bodies: Mapping[UUID, bytes], headers: Mapping[str, str], until: float
    ) -> dict[UUID, Answer]:
        """The answers, by the bodies' keys. What was not begun by `until` (monotonic) is missing."""
        posting = self._post_all(bodies, headers, until)
        return asyncio.run_coroutine_threadsafe(posting, self._running_loop()).result()

    def close(self) -> None:
        """End the connections, the loop and its thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        if self._session is not None:
            asyncio.run_coroutine_threadsafe(self._session.close(), loop).result()
            self._session = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._loop, self._session = os.getpid(), None, None
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="fcm", daemon=True
                )
                self._thread.start()
            return self._loop

    async def _post_all(
        self, bodies: Mapping[UUID, bytes], headers: Mapping[str, str], until: float
    ) -> dict[UUID, Answer]:
        session = self._open_session()
        waiting = iter(bodies.items())
        answers: dict[UUID, Answer] = {}

        async def work_off() -> None:
            for key, body in waiting:
                answers[key] = await self._post_one(session, body, headers)
                if time.monotonic() >= until:
                    return

        many = min(self._connections, len(bodies))
        await asyncio.gather(*[work_off() for _ in range(many)])
        return answers

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _post_one(
        self, session: aiohttp.ClientSession, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """One more time where a connection that had lain idle turned out to be closed."""
        for last in (False, True):
            try:
                async with session.post(
                    self._url, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    return Answer(answer.status, answer.headers, await answer.read())
            except aiohttp.ServerDisconnectedError as error:
                if last:
                    return Answer(failure=f"{type(error).__name__}: {error}")
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                return Answer(failure=f"{type(error).__name__}: {error}")
        raise AssertionError("the second time returns")


def _addresses(deliveries: Sequence[Delivery]) -> dict[UUID, str]:
    """By delivery, the device's token of now, while the device is still the recipient's and logged in."""
    devices: dict[str, tuple[UUID, str]] = {
        str(pk): (user_id, address)
        for pk, user_id, address in Device.objects.filter(
            pk__in={row.address for row in deliveries},
            push_provider=Device.PushProvider.FCM,
            push_disabled_at=None,
            revoked_at=None,
            token_expires_at__gt=clock.now(),
        ).values_list("pk", "user_id", "push_address")
    }
    found = {
        row.pk: (row.recipient_id, *devices.get(row.address, (None, ""))) for row in deliveries
    }
    return {pk: address for pk, (owner, user, address) in found.items() if user and owner == user}


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
    response = error.http_response
    blamed = response is not None and response.status_code in UNAVAILABLE
    kind = Unavailable if blamed else TemporaryFailure
    return kind(reason, retry_after=_retry_after(error))


def _blames_token(error: exceptions.FirebaseError) -> bool:
    response = error.http_response
    return response is not None and '"message.token"' in response.text


def _retry_after(error: exceptions.FirebaseError) -> float | None:
    """Seconds; the form with a date is not what FCM sends."""
    response = error.http_response
    text = "" if response is None else response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
