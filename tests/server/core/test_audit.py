"""The audit log: one entry for a deed, in its transaction, with where it came from, for ever."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from server.core import audit
from server.core.audit import (
    AppendOnly,
    AuditAction,
    AuditEntry,
    Origin,
    Subject,
    audit_action,
    audit_actions,
    coming_from,
    record_audit,
    record_audits,
    session_digest,
)
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> AuditAction:
    """An action of this test's own."""
    monkeypatch.setattr(audit, "_actions", dict(audit_actions()))
    return audit_action("test.looked", "看了")


def test_an_entry_says_who_did_what_to_which_object(looked: AuditAction, cast: Cast) -> None:
    subject = ("media", uuid4())
    entry = record_audit(
        looked, by=cast.ada, subject=subject, school_id=cast.school.pk, details={"reason": "核对"}
    )
    found = AuditEntry.objects.get(pk=entry.pk)
    assert (found.by, found.by_name, found.words) == (cast.ada, "安督学", "看了")
    assert (found.object_type, found.object_id, found.school_id) == (*subject, cast.school.pk)
    assert (found.details, found.device_id, found.ip) == ({"reason": "核对"}, None, None)


def test_the_request_behind_it_is_named_and_asked_only_once_written(looked: AuditAction) -> None:
    device, asked = uuid4(), []

    def origin() -> Origin:
        asked.append(1)
        return Origin("r-1", device, session_digest("secret"), "203.0.113.7")

    with coming_from(origin):
        assert not asked
        entry = record_audit(looked, by=None, subject=("media", None))
    assert (entry.request_id, entry.device_id, entry.ip) == ("r-1", device, "203.0.113.7")
    assert entry.session
    assert "secret" not in entry.session
    assert record_audit(looked, by=None, subject=("media", None)).request_id == ""


def test_what_is_rolled_back_was_not_done(looked: AuditAction) -> None:
    @transaction.atomic
    def fail_after_all() -> None:
        record_audit(looked, by=None, subject=("media", None))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_all()
    assert not AuditEntry.objects.exists()


def test_many_objects_are_many_entries_in_one_statement(
    looked: AuditAction, cast: Cast, django_assert_num_queries
) -> None:
    subjects = [Subject("media", uuid4()) for _ in range(50)]
    with django_assert_num_queries(1):
        assert record_audits(looked, by=cast.ada, subjects=subjects) == 50
    assert AuditEntry.objects.count() == 50


def test_one_entry_is_one_statement(looked: AuditAction, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        record_audit(looked, by=None, subject=("media", None))


def test_an_action_that_is_not_in_the_registry_is_refused(looked: AuditAction) -> None:
    with pytest.raises(TypeError):
        record_audit(AuditAction("test.looked", "看了"), by=None, subject=("media", None))
    with pytest.raises(TypeError):
        audit_action("test.looked", "又看了")


def test_our_own_code_cannot_change_or_delete_an_entry(looked: AuditAction) -> None:
    entry = record_audit(looked, by=None, subject=("media", None))
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(action=""),
    ):
        with pytest.raises(AppendOnly):
            change()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE core_auditentry SET action = 'x'", "DELETE FROM core_auditentry"],
)
def test_the_database_refuses_it_as_well(looked: AuditAction, statement: str) -> None:
    record_audit(looked, by=None, subject=("media", None))
    if connection.vendor == "sqlite":  # see tests.conftest.django_db_setup
        protection = import_module("server.core.migrations.0002_audit").PROTECTION["sqlite"]
        with connection.cursor() as cursor:
            cursor.execute(protection.split("--")[1])
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.get().action == "test.looked"


@pytest.mark.parametrize(("kept", "ip"), [(True, "203.0.113.7"), (False, None)])
def test_addresses_are_kept_only_where_the_setting_says_so(
    looked: AuditAction, settings, kept: bool, ip: str | None, monkeypatch
) -> None:
    settings.AUDIT_IP_ADDRESSES = kept

    def page(request):
        record_audit(looked, by=None, subject=("page", None))
        return landing(request)

    from server.console import urls

    landing = urls.urlpatterns[0].callback
    monkeypatch.setattr(urls.urlpatterns[0], "callback", page)
    Client().get("/", REMOTE_ADDR="203.0.113.7", headers={"X-Request-ID": "r-2"})
    entry = AuditEntry.objects.get()
    assert (entry.ip, entry.request_id) == (ip, "r-2")


def test_the_documentation_lists_every_action() -> None:
    page = (Path(__file__).parents[3] / "docs" / "care.md").read_text()
    table = page.partition("| code | written when |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", table)) == set(audit_actions())
