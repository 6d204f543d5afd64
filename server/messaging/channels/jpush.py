"""JPush, which reaches phones in mainland China through their vendors' own push services.

JPUSH_URL is `jpush://app_key:master_secret@api.jpush.cn`, with these options behind a question mark:
`ttl_hours` (72); `apns_production` (1); `scheme` (https). A device's address is its registration id.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from server.core import clock
from server.core.hosts import NoAnswer
from server.core.outbound import Answer, get, post
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.messaging.channels import AddressGone, Sent, Unavailable
from server.messaging.channels.devices import device_of
from server.messaging.channels.texts import cut, in_json, text_of
from server.messaging.models import Delivery, Device, Ticket

OPTIONS = {"ttl_hours", "apns_production", "scheme"}
BODY_BYTES = 600
TITLE_BYTES = 150
"""JPush takes 4000 bytes all in all, of which three kinds of phones have their own parts."""

CID_LIFE = timedelta(hours=20)
"""JPush forgets a cid after a day."""


@dataclass(frozen=True, repr=False)
class JPushChannel:
    """One message per delivery, however often it is tried: JPush knows repetitions by their cid."""

    base: str
    app_key: str
    master_secret: str
    ttl_hours: int = 72
    apns_production: bool = True

    name = "jpush"
    carries_many = True

    @classmethod
    def from_url(cls, url: str) -> JPushChannel:
        """Raises ImproperlyConfigured for what the module's first lines do not describe."""
        wanted = "JPUSH_URL: use jpush://app_key:master_secret@api.jpush.cn?ttl_hours=72"
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        whole = parts.scheme == "jpush" and parts.hostname and parts.username and parts.password
        if not whole or not options.keys() <= OPTIONS:
            raise ImproperlyConfigured(wanted)
        try:
            port = f":{parts.port}" if parts.port else ""
            return cls(
                base=f"{options.get('scheme', 'https')}://{parts.hostname}{port}",
                app_key=unquote(parts.username or ""),
                master_secret=unquote(parts.password or ""),
                ttl_hours=int(options.get("ttl_hours", 72)),
                apns_production=options.get("apns_production", "1") != "0",
            )
        except ValueError:
            raise ImproperlyConfigured(wanted) from None

    def send(self, delivery: Delivery) -> Sent:
        """Hand it to JPush, which tells only by reports whether it arrived: the most is "sent"."""
        device = device_of(delivery, Device.PushProvider.JPUSH)
        document = {"cid": self._cid(delivery), **self._message(delivery, device.push_address)}
        try:
            answer = post(f"{self.base}/v3/push", _json(document), self._headers)
        except NoAnswer as error:
            raise Unavailable(str(error)) from None
        if answer.status != 200 or "msg_id" not in answer.document:
            raise _failure(answer, device.push_address)
        return Sent("sent")

    @property
    def _headers(self) -> dict[str, str]:
        pair = base64.b64encode(f"{self.app_key}:{self.master_secret}".encode()).decode()
        return {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}

    def _cid(self, delivery: Delivery) -> str:
        """The delivery's cid, kept before it is used: a worker that dies in between repeats it.

        JPush accepts only those that it gave out, and sends once for each within a day.
        """
        moment = clock.now()
        if delivery.work_attempts > 1:  # else a new life of a dead one: a new message
            fresh = Ticket.objects.filter(delivery=delivery, taken_at__gt=moment - CID_LIFE)
            kept = fresh.values_list("text", flat=True).first()
            if kept:
                return kept
        try:
            answer = get(f"{self.base}/v3/push/cid?count=1", self._headers)
        except NoAnswer as error:
            raise Unavailable(str(error)) from None
        given = answer.document.get("cidlist")
        if answer.status != 200 or not isinstance(given, list) or not given:
            raise _failure(answer, "")
        cid = str(given[0])[:200]
        Ticket.objects.update_or_create(
            delivery=delivery, defaults={"text": cid, "taken_at": moment}
        )
        return cid

    def _message(self, delivery: Delivery, registration_id: str) -> dict[str, Any]:
        notice = delivery.notice
        text = text_of(delivery, language=delivery.person.language)
        title = cut(text.title, TITLE_BYTES, in_json)
        body = cut(text.body, BODY_BYTES, in_json)
        extras = {
            "notice": str(notice.pk),
            "event": notice.event,
            "subject_type": notice.subject_type,
            "subject_id": str(notice.subject_id or ""),
            "requires_ack": "true" if notice.requires_ack else "false",
            "link": text.link,
        }
        phone = {"title": title, "alert": body, "extras": extras}
        return {
            "platform": "all",
            "audience": {"registration_id": [registration_id]},
            "notification": {
                "android": {**phone, "priority": 1 if notice.is_urgent else 0},
                "ios": {"alert": {"title": title, "body": body}, "extras": extras},
                "hmos": phone,
            },
            "options": {
                "time_to_live": self.ttl_hours * 3600,
                "apns_production": self.apns_production,
                "apns_collapse_id": str(notice.pk),
            },
        }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _failure(answer: Answer, address: str) -> WorkFailure:
    """Source: docs.jiguang.cn, Push API v3, return codes.

    Wrong credentials are temporary: they are the operator's to mend, not the message's.
    """
    error = answer.document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    told = str(error.get("message", "")) if isinstance(error, dict) else answer.start
    reason = f"JPush {code or f'HTTP {answer.status}'}: {told[:200]}"
    if code == 1011:  # nobody has this registration id, or it was away for 255 days
        return AddressGone(reason, address=address)
    if code in (1002, 1003, 1005, 1009, 1012):
        return PermanentFailure(reason)
    kind = Unavailable if answer.status >= 500 or answer.status == 401 else TemporaryFailure
    return kind(reason, retry_after=answer.retry_after or _reset(answer))


def _reset(answer: Answer) -> float | None:
    """Seconds until the minute's quota begins anew."""
    told = answer.headers.get("X-Rate-Limit-Reset", "")
    return float(told) if told.isascii() and told.isdigit() and len(told) < 6 else None
