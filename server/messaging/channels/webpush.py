"""Web Push (RFC 8030, 8291, 8292): encrypted for the one browser, signed with our VAPID key.

A device's address is the browser's subscription as JSON: {"endpoint", "keys": {"auth", "p256dh"}}.
Browsers choose the endpoint, so it is looked at like every address that somebody gave us.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from pywebpush import WebPusher, WebPushException

from server.core.hosts import AddressRefused, NoAnswer
from server.core.outbound import Answer, post
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.messaging.channels import AddressGone, Sent
from server.messaging.channels.devices import device_of
from server.messaging.channels.texts import cut, in_json, text_of
from server.messaging.models import Delivery, Device
from server.messaging.subscriptions import NoSubscription, parse_subscription
from server.messaging.vapid import VapidUnusable, authorization

TTL_SECONDS = 72 * 3600
BODY_BYTES = 2400
TITLE_BYTES = 300
"""Push services take 4096 bytes, of which encryption needs 103 (RFC 8291) and JSON some."""


class WebPushChannel:
    """One notification per notice: its topic and its tag are the notice's id."""

    name = "webpush"
    carries_many = True

    def send(self, delivery: Delivery) -> Sent:
        """Hand it to the browser's push service, which tells nobody whether it arrived."""
        address = device_of(delivery, Device.PushProvider.WEBPUSH).push_address
        try:
            endpoint, keys = parse_subscription(address)
            content = _encrypted(endpoint, keys, _payload(delivery))
            headers = _headers(delivery, endpoint)
        except VapidUnusable as error:
            raise PermanentFailure(_("服务器未设置浏览器推送：%(why)s") % {"why": error}) from None
        except (NoSubscription, WebPushException, ValueError):
            raise AddressGone("not a browser's subscription", address=address) from None
        try:
            answer = post(endpoint, content, headers)
        except AddressRefused as error:
            raise AddressGone(str(error), address=address) from None
        except NoAnswer as error:
            raise TemporaryFailure(str(error)) from None
        if not 200 <= answer.status < 300:
            raise _failure(answer, address)
        return Sent("sent")


def _payload(delivery: Delivery) -> bytes:
    notice = delivery.notice
    text = text_of(delivery, language=delivery.person.language)
    document = {
        "notice": str(notice.pk),
        "event": notice.event,
        "title": cut(text.title, TITLE_BYTES, in_json),
        "body": cut(text.body, BODY_BYTES, in_json),
        "link": urlsplit(text.link)._replace(scheme="", netloc="").geturl()
        or f"/go/notice/{notice.pk}",
        "subject_type": notice.subject_type,
        "subject_id": str(notice.subject_id or ""),
        "requires_ack": notice.requires_ack,
        "urgent": notice.is_urgent,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _encrypted(endpoint: str, keys: dict[str, str], payload: bytes) -> bytes:
    pusher = WebPusher({"endpoint": endpoint, "keys": keys})
    encrypted: bytes = pusher.encode(payload, "aes128gcm")["body"]
    return encrypted


def _headers(delivery: Delivery, endpoint: str) -> dict[str, str]:
    parts = urlsplit(endpoint)
    return {
        "Authorization": authorization(f"{parts.scheme}://{parts.netloc}"),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(TTL_SECONDS),
        "Urgency": "high" if delivery.notice.is_urgent else "normal",
        "Topic": delivery.notice_id.hex,  # 32 characters, the most that RFC 8030 allows
    }


def _failure(answer: Answer, address: str) -> WorkFailure:
    """Source: RFC 8030, 5 to 8; RFC 8292, 4: 403 is a subscription made with another VAPID key."""
    reason = f"HTTP {answer.status}: {answer.start}"
    if answer.status in (403, 404, 410):
        return AddressGone(reason, address=address)
    if answer.status in (400, 413):
        return PermanentFailure(reason)
    # 401 is our key or our clock, redirects and the rest are the service's: to be mended, not ours.
    return TemporaryFailure(reason, retry_after=answer.retry_after)
