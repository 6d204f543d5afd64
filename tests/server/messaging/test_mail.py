"""Mail, to a real mail server: what arrives, and what its refusals mean."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import channel_for
from server.messaging.models import Delivery
from tests.conftest import _do_without
from tests.server.messaging.worlds import told
from tests.services.base import Missing, Running, running
from tests.services.smtp import SMTP, forget_mails, mails_in


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    try:
        with running(SMTP) as started:
            yield started
    except Missing as error:
        _do_without(str(error))


@pytest.fixture
def mailbox(server, settings) -> Running:
    """The server, empty, to which MAIL_URL points."""
    settings.MAIL_URL, settings.MAIL_FROM = (
        f"{server.url}?timeout=3",
        "督导办 <office@duxue.example>",
    )
    settings.PUBLIC_URL = "https://duxue.example"
    forget_mails(server)
    return server


@pytest.fixture
def mail(cast, mailbox) -> Callable[..., Delivery]:
    def mail(address: str = "principal@school.example", **options: object) -> Delivery:
        cast.principal.email = address
        cast.principal.save()
        return told(cast, "mail", **options)

    return mail


def test_a_mail_says_what_the_notice_says_and_where_to_open_it(mail, mailbox):
    row = mail()
    assert channel_for("mail").send(row).state == "sent"
    ((recipients, message),) = mails_in(mailbox)
    assert recipients == ["principal@school.example"]
    assert message["Subject"] == "整改已逾期：留样不足"
    assert message["From"] == "督导办 <office@duxue.example>"
    assert "应于 2026-12-01 前整改" in message.get_content()
    link = f"https://duxue.example/go/finding/{row.notice.subject_id}"
    assert link in message.get_content()
    assert message["Auto-Submitted"] == "auto-generated"


def test_a_repetition_has_the_same_message_id(mail, mailbox):
    row = mail()
    channel_for("mail").send(row)
    channel_for("mail").send(row)
    ids = {message["Message-ID"] for _recipients, message in mails_in(mailbox)}
    assert ids == {f"<{row.pk}@duxue.example>"}


@pytest.mark.parametrize(
    ("address", "kind", "code"),
    [
        ("nobody@school.example", PermanentFailure, "550"),
        ("full@school.example", TemporaryFailure, "452"),
        ("slow@school.example", TemporaryFailure, "421"),
    ],
)
def test_a_refused_recipient_is_dead_or_waits(mail, mailbox, address, kind, code):
    with pytest.raises(kind, match=code):
        channel_for("mail").send(mail(address))
    assert mails_in(mailbox) == []


@pytest.mark.parametrize(
    ("words", "kind"), [("554 please", PermanentFailure), ("451 please", TemporaryFailure)]
)
def test_refused_content_is_dead_or_waits(mail, words, kind):
    with pytest.raises(kind, match=words[:3]):
        channel_for("mail").send(mail(finding=words, due="x"))


def test_refused_credentials_and_senders_are_the_operators_to_mend(mail, mailbox, settings):
    settings.MAIL_URL = mailbox.url.replace("mail-secret", "wrong")
    with pytest.raises(TemporaryFailure, match="535") as failure:
        channel_for("mail").send(mail())
    assert "wrong" not in str(failure.value)
    settings.MAIL_URL, settings.MAIL_FROM = mailbox.url, "banned@duxue.example"
    with pytest.raises(TemporaryFailure, match="553"):
        channel_for("mail").send(mail())


def test_a_server_that_is_away_is_temporary(mail, settings):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.MAIL_URL = f"smtp://127.0.0.1:{closed.getsockname()[1]}?timeout=1"
    with pytest.raises(TemporaryFailure):
        channel_for("mail").send(mail())


def test_a_server_that_says_nothing_is_temporary(mail, settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.MAIL_URL = f"smtp://127.0.0.1:{silent.getsockname()[1]}?timeout=0.5"
        with pytest.raises(TemporaryFailure):
            channel_for("mail").send(mail())


def test_a_title_cannot_add_headers(mail, mailbox):
    channel_for("mail").send(mail(finding="x\r\nBcc: everybody@school.example"))
    ((recipients, message),) = mails_in(mailbox)
    assert recipients == ["principal@school.example"]
    assert message["Bcc"] is None
    assert "Bcc: everybody" in message["Subject"]


def test_a_megabyte_of_words_is_cut_and_keeps_its_link(mail, mailbox):
    row = mail(finding="留样不足", due="字" * 350_000)
    channel_for("mail").send(row)
    ((_recipients, message),) = mails_in(mailbox)
    content = message.get_content()
    assert len(content.encode()) < 70_000
    assert "字…\r\n" in content
    assert content.rstrip().endswith(str(row.notice.subject_id))


def test_somebody_without_an_address_gets_none(mail, mailbox, cast):
    row = mail()
    cast.principal.email = ""
    cast.principal.save()
    row.refresh_from_db()
    with pytest.raises(PermanentFailure):
        channel_for("mail").send(row)
    assert mails_in(mailbox) == []


def test_an_address_that_is_none_is_dead(mail, mailbox):
    row = mail()
    row.recipient.email = "two\nlines@school.example"
    with pytest.raises(PermanentFailure):
        channel_for("mail").send(row)
    assert mails_in(mailbox) == []


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("smtp://", "a@duxue.example"),
        ("imap://host", "a@duxue.example"),
        ("smtp://host:port", "a@duxue.example"),
        ("smtp://host?colour=red", "a@duxue.example"),
        ("smtp://host", ""),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, url, sender):
    settings.MAIL_URL, settings.MAIL_FROM = url, sender
    with pytest.raises(ImproperlyConfigured, match="MAIL_"):
        channel_for("mail")
