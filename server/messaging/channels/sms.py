"""Text messages, by whichever gateway the notification library apprise knows.

SMS_URL is an address of apprise with {phone} where the number belongs, and {delivery} where a gateway
takes an id by which it knows repetitions; docs/channels.md has examples. Operators write it, so it may
lead anywhere.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from typing import Any
from urllib.parse import quote

import apprise
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import Sent, Unavailable
from server.messaging.channels.texts import Text, fitted, text_of, utf16
from server.messaging.models import Delivery

PART = 67
PARTS = 3
"""A text message of Chinese holds 70 characters, or 67 in each of several that are put together."""
PATIENCE_SECONDS = 25.0
_STATUS = re.compile(r"error=(\d{3})\b")


class SmsChannel:
    """At most three parts per message; the link stays whole."""

    name = "sms"

    def __init__(self, url: str) -> None:
        """Raises ImproperlyConfigured."""
        self._url = url
        if "{phone}" not in url or self._gateway("13000000000", "0") is None:
            raise ImproperlyConfigured("SMS_URL: not an address that apprise knows, with {phone}")

    def send(self, delivery: Delivery) -> Sent:
        """Hand it to the gateway. apprise tells no more than what it logs: a status at the most."""
        person = delivery.person
        if not person.phone:
            raise PermanentFailure(_("此人没有手机号"))
        gateway = self._gateway(person.phone, str(delivery.pk))
        if gateway is None:
            raise PermanentFailure(_("短信网关不接受此号码"))
        heard = _Heard()
        gateway.logger = heard.logger  # its own, so that threads do not hear one another
        if not _within(gateway, words_of(text_of(delivery, language=person.language))):
            raise heard.failure()
        return Sent("sent")

    def _gateway(self, phone: str, delivery_id: str) -> Any:
        url = self._url.replace("{phone}", quote(phone, safe=""))
        with warnings.catch_warnings():
            # It loads its plugins now, and with them modules that Python 3.13 drops.
            warnings.simplefilter("ignore", DeprecationWarning)
            return apprise.Apprise.instantiate(
                url.replace("{delivery}", delivery_id), asset=_asset(), suppress_exceptions=True
            )


def _within(gateway: Any, words: str) -> bool:
    """Whether the gateway took it; its timeouts begin anew with each byte that drips in, ours does not.

    Raises TemporaryFailure.
    """
    results: list[bool] = []
    sending = threading.Thread(
        target=lambda: results.append(bool(gateway.send(body=words))), daemon=True
    )
    sending.start()
    sending.join(PATIENCE_SECONDS)
    if sending.is_alive():
        raise Unavailable(_("短信网关没有按时应答"))
    return bool(results and results[0])


def words_of(text: Text) -> str:
    """Title, body and link, in three parts at the most."""
    return fitted(text, PARTS * PART, measure=utf16)


def _asset() -> apprise.AppriseAsset:
    # Redirects could carry the credentials elsewhere.
    return apprise.AppriseAsset(app_id="Duxue", http_redirects=False)


class _Heard(logging.Handler):
    """What a gateway's plugin logs, which is all that it tells."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.logger = logging.Logger("sms")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def failure(self) -> PermanentFailure | TemporaryFailure:
        """By the status, where there is one; refused credentials are the operator's to mend."""
        reason = " ".join(" ".join(self.lines).split())[:300] or _("短信网关未接收")
        found = _STATUS.search(reason)
        if found and found.group(1) in ("400", "404", "413", "422"):
            return PermanentFailure(reason)
        return TemporaryFailure(reason)
