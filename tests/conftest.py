"""The environment of tests: real services on demand, a browser, a media folder per test.

The people of the tests are in tests.cast.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Never

import pytest

from tests.services import CEPH, POSTGRES, REDIS, SWIFT, Missing, Service, running

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.plugin import DjangoDbBlocker

pytest_plugins = [
    "tests.cast",
    "tests.clients",
    "tests.forms",
    "tests.activities",
    "tests.conversations",
    "tests.evidence",
    "tests.receipts",
    "tests.moments",
]

# A test that starts the product in a process of its own means the product, not its test settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "server.config.settings"


SQLITE_ONLY = (
    "browser",  # the pages' queries run on both in server/console
    "flows/test_weak_link.py",  # about the network between a phone and the store
    "mobile_api/test_openapi_cases.py",  # about shapes; test_hostile_bodies.py sends rubbish to both
    "properties/test_evidence.py",  # about the order in which facts come
    "media_storage/test_checking.py",  # about stores: whatever the database, they are the same
    "media_storage/test_stores.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The pass on PostgreSQL leaves out what the pass on SQLite has proved: tests without a database
    of the pass's own, which are the same in both, processes that tests start among them; and those
    that SQLITE_ONLY names.
    """
    from django.conf import settings

    if "postgresql" not in settings.DATABASES["default"]["ENGINE"]:
        return
    ours = [item for item in items if _has_database(item) and not _is_named(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(ours)])
    items[:] = ours


def _is_named(item: pytest.Item) -> bool:
    tests = Path(__file__).parent
    return any(item.path.is_relative_to(tests / name) for name in SQLITE_ONLY)


def _has_database(item: pytest.Item) -> bool:
    from django.test import TransactionTestCase

    of_django = issubclass(getattr(item, "cls", None) or object, TransactionTestCase)
    marked = item.get_closest_marker("django_db") is not None
    fixtures = {"db", "transactional_db", "live_server"}.intersection(
        getattr(item, "fixturenames", ())
    )
    return of_django or marked or bool(fixtures)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """SQLite is emptied between tests by DELETE, which the audit log's trigger refuses.

    PostgreSQL is emptied by TRUNCATE. tests/server/core/test_audit.py puts the trigger back.
    """
    from django.db import connection

    if connection.vendor == "sqlite":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER core_audit_no_delete")


@pytest.fixture(autouse=True)
def language_of_the_house() -> Iterator[None]:
    """A request leaves its thread in the language of its phone; the next test starts in Chinese."""
    from django.utils import translation

    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def media_folder(settings: SettingsWrapper, tmp_path: Path) -> Path:
    """Where this test's media lies, and no other's."""
    folder = tmp_path / "media"
    settings.MEDIA_STORE_URL = f"folder://{folder}"
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    yield from _address_of(POSTGRES)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    yield from _address_of(REDIS)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """s3://KEY:SECRET@host:port/bucket?…, percent-encoded; a test makes a bucket of a new name.

    One server serves all workers and both passes of `make test`.
    """
    yield from _address_of(SWIFT)


@pytest.fixture(scope="session")
def ceph_url() -> Iterator[str]:
    """The same on Ceph's radosgw."""
    yield from _address_of(CEPH)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser, for Playwright's `executable_path`."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found or _do_without("chromium is not installed: on Debian `apt-get install chromium`")


def _address_of(service: Service) -> Iterator[str]:
    """The service that `make test` started for all workers, or one of this session's own."""
    given = os.environ.get(service.variable)
    if given:
        yield given
        return
    try:
        with running(service) as started:
            yield started.url
    except Missing as error:
        _do_without(str(error))


def _do_without(reason: str) -> Never:
    """A developer may lack a service; a CI run that skips it would prove nothing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
