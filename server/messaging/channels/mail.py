"""E-mail, through Django's SMTP backend.

MAIL_URL is `smtp://`, `smtp+tls://` (STARTTLS) or `smtp+ssl://` with user, password, host and port; and
`timeout` (10), seconds, behind a question mark. MAIL_FROM is the sender.
"""

from __future__ import annotations

import smtplib
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.utils.translation import gettext as _

from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.messaging.channels import Sent, Unavailable
from server.messaging.channels.texts import Text, cut, text_of
from server.messaging.models import Delivery

SCHEMES = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
SUBJECT = 150
BODY_BYTES = 64 * 1024


@dataclass(frozen=True, repr=False)
class MailChannel:
    """One message per delivery; its Message-ID is the delivery's, so mailboxes know repetitions."""

    options: dict[str, Any]
    sender: str

    name = "mail"

    @classmethod
    def from_url(cls, url: str, sender: str) -> MailChannel:
        """Raises ImproperlyConfigured for what the module's first lines do not describe."""
        wanted = "MAIL_URL: use smtp+tls://user:password@host:587?timeout=10"
        try:
            parts = urlsplit(url)
            more = dict(parse_qsl(parts.query))
            if parts.scheme not in SCHEMES or not parts.hostname or not more.keys() <= {"timeout"}:
                raise ImproperlyConfigured(wanted)
            options = {
                "host": parts.hostname,
                "port": parts.port or SCHEMES[parts.scheme],
                "username": unquote(parts.username or ""),
                "password": unquote(parts.password or ""),
                "use_tls": parts.scheme == "smtp+tls",
                "use_ssl": parts.scheme == "smtp+ssl",
                "timeout": float(more.get("timeout", 10)),
            }
        except ValueError:
            raise ImproperlyConfigured(wanted) from None
        if "@" not in parseaddr(sender)[1]:
            raise ImproperlyConfigured("MAIL_FROM: give the sender's address")
        return cls(options, sender)

    def send(self, delivery: Delivery) -> Sent:
        """Hand it to the mail server, which tells nobody whether it arrived: the most is "sent"."""
        person = delivery.person
        if not person.email:
            raise PermanentFailure(_("此人没有电子邮箱"))
        text = text_of(delivery, language=person.language)
        connection = EmailBackend(**self.options)
        message = EmailMessage(
            subject=cut(" ".join(text.title.split()), SUBJECT),
            body=_body(text),
            from_email=self.sender,
            to=[person.email],
            headers=self._headers(delivery),
            connection=connection,
        )
        try:
            message.send()
        except ValueError as error:  # an address or a header that cannot be one
            raise PermanentFailure(f"{type(error).__name__}: {error}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise _failure(error) from None
        finally:
            # After a refused log-in the backend forgets to.
            with suppress(smtplib.SMTPException, OSError):
                connection.close()
        return Sent("sent")

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        domain = parseaddr(self.sender)[1].rpartition("@")[2]
        return {
            "Message-ID": f"<{delivery.pk}@{domain}>",
            "Auto-Submitted": "auto-generated",  # RFC 3834: no absence notes, please
            "X-Duxue-Notice": str(delivery.notice_id),
        }


def _body(text: Text) -> str:
    parts = [
        cut(text.body, BODY_BYTES),
        text.link and _("打开查看：%(link)s") % {"link": text.link},
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _failure(error: Exception) -> WorkFailure:
    """Source: RFC 5321, 4.2.1: 4yz may pass, 5yz will not.

    Refused credentials and senders are the operator's to mend, not the message's: temporary.
    """
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, told = next(iter(error.recipients.values()), (0, b""))
        reason = f"SMTP {code}: {_told(told)}"
        return PermanentFailure(reason) if 500 <= code < 600 else TemporaryFailure(reason)
    if isinstance(error, smtplib.SMTPResponseException):
        reason = f"SMTP {error.smtp_code}: {_told(error.smtp_error)}"
        of_operator = isinstance(error, smtplib.SMTPAuthenticationError | smtplib.SMTPSenderRefused)
        if 500 <= error.smtp_code < 600 and not of_operator:
            return PermanentFailure(reason)
        return Unavailable(reason) if of_operator else TemporaryFailure(reason)
    return Unavailable(f"{type(error).__name__}: {error}")


def _told(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return " ".join(text.split())[:300]
