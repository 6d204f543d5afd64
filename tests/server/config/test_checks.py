"""Production refuses what is only good for a try-out, and says what."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.management.base import SystemCheckError
from django.test import override_settings

from server.config.checks import (
    channels_are_understood,
    limits_of_evidence_make_sense,
    messages_can_be_sent,
    no_demo_accounts_in_production,
    production_is_whole,
    refuse_unfit_start,
    urls_are_understood,
)
from server.grid.models import User

FIT = {
    "PRODUCTION": True,
    "DEBUG": False,
    "SECRET_KEY": "k" * 50,
    "ALLOWED_HOSTS": ["duxue.example"],
    "MEDIA_STORE_URL": "s3://key:secret@store/bucket",
    "CHANNEL_URL": "redis://cache",
    "PUSH_URL": "log://",
    "DATABASES": {"default": {"ENGINE": "django.db.backends.postgresql"}},
    "RECEIPT_KEY": "5e" * 32,
    "RECEIPT_KEY_FILE": "",
    "SECRETS_KEYS": "5f" * 32,
    "SECRETS_KEYS_FILE": "",
}


@pytest.fixture
def ids(monkeypatch):
    """The ids of what is wrong with a fit production that was changed so."""

    def check(**changes: object) -> list[str]:
        changed = SimpleNamespace(EMBEDDED_SECRET_KEY="embedded", **{**FIT, **changes})
        monkeypatch.setattr("server.config.checks.settings", changed)
        return [error.id for error in production_is_whole()]

    return check


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("EVIDENCE_SIMILAR_BITS", 3, []),
        ("EVIDENCE_SIMILAR_BITS", 4, ["duxue.E010"]),
        ("EVIDENCE_SIMILAR_BITS", -1, ["duxue.E010"]),
        ("EVIDENCE_PLACE_METRES", -1, ["duxue.E011"]),
        ("EVIDENCE_PLACE_METRES", 0, []),
    ],
)
def test_a_limit_of_evidence_that_makes_no_sense_is_named(settings, name, value, found):
    setattr(settings, name, value)
    assert [error.id for error in limits_of_evidence_make_sense()] == found


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("QUIET_HOURS", "", []),
        ("QUIET_HOURS", "22:00-07:00", []),
        ("QUIET_HOURS", "22:00", ["duxue.E014"]),
        ("QUIET_HOURS", "at night", ["duxue.E014"]),
        ("DELIVERY_RATES", {"sms": "20", "robot.wecom": "0.5"}, []),
        ("DELIVERY_RATES", {"sms": "0"}, ["duxue.E015"]),
        ("DELIVERY_RATES", {"sms": "many"}, ["duxue.E015"]),
        ("DELIVERY_RATES", {"pigeon": "1"}, ["duxue.E015"]),
        ("CHANNEL_ORDER", ["sms", "mail", "jpush", "webpush", "fcm"], []),
        ("CHANNEL_ORDER", ["fcm"], ["duxue.E016"]),
    ],
)
def test_a_setting_of_messages_that_makes_no_sense_is_named(settings, name, value, found):
    setattr(settings, name, value)
    assert [error.id for error in messages_can_be_sent()] == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JPUSH_URL", "jpush://key@host"),
        ("MAIL_URL", "smtp://"),
        ("SMS_URL", "pigeon://{phone}"),
        ("VAPID_PRIVATE_KEY", "short"),
        ("OUTBOUND_PRIVATE_NETWORKS", ["10.0.0.0/40"]),
        ("ROBOT_HOSTS", ["wecom.example"]),
        ("ROBOT_HOSTS", ["wechat=https://robots.example"]),
    ],
)
def test_a_channel_that_cannot_work_is_named_and_no_secret_repeated(settings, name, value):
    assert channels_are_understood() == []
    setattr(settings, name, value)
    (error,) = channels_are_understood()
    assert error.id == "duxue.E021"
    assert name in error.msg or name == "VAPID_PRIVATE_KEY"
    assert "key@host" not in error.msg


def test_a_whole_production_has_nothing_to_mend(ids):
    assert ids() == []


@pytest.mark.parametrize(
    ("changes", "id"),
    [
        ({"SECRET_KEY": "short"}, "duxue.E002"),
        ({"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3"}}}, "duxue.E003"),
        ({"MEDIA_STORE_URL": "folder:///srv"}, "duxue.E004"),
        ({"CHANNEL_URL": "memory://"}, "duxue.E004"),
        ({"ALLOWED_HOSTS": ["*"]}, "duxue.E005"),
        ({"ALLOWED_HOSTS": []}, "duxue.E005"),
        ({"DEBUG": True}, "duxue.E006"),
        ({"RECEIPT_KEY": ""}, "duxue.E008"),
        ({"RECEIPT_KEY": "mistyped"}, "duxue.E008"),
        ({"RECEIPT_KEY": "", "RECEIPT_KEY_FILE": "/nowhere/receipt-key"}, "duxue.E008"),
        ({"SECRETS_KEYS": ""}, "duxue.E020"),
        ({"SECRETS_KEYS": "mistyped"}, "duxue.E020"),
        ({"SECRETS_KEYS": "", "SECRETS_KEYS_FILE": "/nowhere/secrets-keys"}, "duxue.E020"),
    ],
)
def test_an_embedded_part_or_a_missing_secret_is_named(ids, changes: dict, id: str):
    assert ids(**changes) == [id]


def test_the_embedded_world_may_be_embedded(ids):
    assert ids(PRODUCTION=False, SECRET_KEY="", DEBUG=True) == []


@pytest.mark.parametrize(
    "name", ["MEDIA_STORE_URL", "MEDIA_STORE_OLD_URL", "CHANNEL_URL", "PUSH_URL"]
)
def test_a_url_of_an_unknown_kind_is_refused(name: str):
    with override_settings(**{name: "gopher://hole"}):
        assert [error.id for error in urls_are_understood()] == ["duxue.E001"]


@pytest.mark.django_db
def test_demo_accounts_are_refused_in_production_until_they_cannot_log_in():
    User.objects.create(username="office", name="演示", is_demo=True)
    with override_settings(PRODUCTION=True):
        assert [e.id for e in no_demo_accounts_in_production(["default"])] == ["duxue.E007"]
        User.objects.update(is_active=False)
        assert no_demo_accounts_in_production(["default"]) == []


@pytest.mark.django_db
def test_an_unfit_production_does_not_start():
    refuse_unfit_start()  # embedded: starts
    with override_settings(PRODUCTION=True), pytest.raises(SystemCheckError, match="SECRET_KEY"):
        refuse_unfit_start()


def test_what_is_checked_at_the_start_loads_no_pages():
    """They take 25 MB, and the worker and live serve none."""
    asked = (
        "import django, sys; django.setup()\n"
        "from django.core.checks import Tags, run_checks\n"
        "from server.config.checks import INSTALLATION\n"
        "run_checks(tags=[each for each in INSTALLATION if each != Tags.database])\n"
        "print('server.config.urls' in sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", asked],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
