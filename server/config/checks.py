"""System checks: production refuses embedded parts, demo accounts and missing secrets.

Errors stop every management command, and `refuse_unfit_start` every server process of production.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import SystemCheckError
from django.db.utils import DatabaseError

from server.core.secrets import KeysUnusable, given_keys
from server.messaging.channels import channel_for
from server.messaging.preferences import CHOSEN, default_preferences
from server.messaging.providers import LANES
from server.messaging.vapid import VapidUnusable, given_key
from server.receipts.keys import KeyUnusable, given_seeds

STORE_SCHEMES = ("folder", "s3")
CHANNEL_SCHEMES = ("memory", "redis", "rediss", "unix")
PUSH_SCHEMES = ("log", "fcm")
INSTALLATION = (Tags.compatibility, Tags.security, Tags.database)
"""The checks that may fail in one place and not in another. Those of the code load all pages."""


@register(Tags.compatibility)
def urls_are_understood(**kwargs: Any) -> Sequence[CheckMessage]:
    """E001: a URL that chooses a part of the world has a scheme that we know."""
    urls = {
        "MEDIA_STORE_URL": STORE_SCHEMES,
        **({"MEDIA_STORE_OLD_URL": STORE_SCHEMES} if settings.MEDIA_STORE_OLD_URL else {}),
        "CHANNEL_URL": CHANNEL_SCHEMES,
        "PUSH_URL": PUSH_SCHEMES,
    }
    return [
        Error(
            f"{name} begins with {_scheme(name)!r}; known are {', '.join(known)}.",
            id="duxue.E001",
        )
        for name, known in urls.items()
        if _scheme(name) not in known
    ]


@register(Tags.compatibility)
def limits_of_evidence_make_sense(**kwargs: Any) -> Sequence[CheckMessage]:
    """E010-E011: the limits by which photos are flagged."""
    errors = []
    if not 0 <= settings.EVIDENCE_SIMILAR_BITS <= 3:
        # With four bands only pictures that differ in three bits at most are sure to be found.
        errors.append(Error("EVIDENCE_SIMILAR_BITS must be from 0 to 3.", id="duxue.E010"))
    limits = [
        "EVIDENCE_PLACE_METRES",
        "EVIDENCE_UNKNOWN_ACCURACY_METRES",
        "EVIDENCE_VISIT_MARGIN_MINUTES",
        "EVIDENCE_CLOCK_OFF_SECONDS",
        "EVIDENCE_TIMES_DIFFER_SECONDS",
        "EVIDENCE_CLOCK_READING_DAYS",
        "EVIDENCE_FLAT_BITS",
        "EVIDENCE_NAMED_OTHERS",
    ]
    errors += [
        Error(f"{name} must not be negative.", id="duxue.E011")
        for name in limits
        if getattr(settings, name) < 0
    ]
    return errors


@register(Tags.compatibility)
def working_time_is_readable(**kwargs: Any) -> Sequence[CheckMessage]:
    """E012: REMIND_AT is a time of day, OFFICE_HOURS two of them in order."""
    times = {"REMIND_AT": [settings.REMIND_AT], "OFFICE_HOURS": settings.OFFICE_HOURS.split("-")}
    errors = []
    for name, texts in times.items():
        try:
            read = [time.fromisoformat(text) for text in texts]
        except ValueError:
            read = []
        read = [each for each in read if each.tzinfo is None]  # "08:30-09:00" would be an offset
        if len(read) != len(texts) or len(read) != (2 if name == "OFFICE_HOURS" else 1):
            errors.append(Error(f"{name} must be like 08:30 or 08:30-17:30.", id="duxue.E012"))
        elif read != sorted(set(read)):
            errors.append(Error(f"{name} must end after it begins.", id="duxue.E012"))
    return errors


@register(Tags.compatibility)
def messages_can_be_sent(**kwargs: Any) -> Sequence[CheckMessage]:
    """E014-E016: quiet hours, rates and channels that mean something."""
    errors = []
    try:
        default_preferences()
    except ValueError:
        errors.append(Error("QUIET_HOURS must look like 22:00-07:00.", id="duxue.E014"))
    for name, rate in settings.DELIVERY_RATES.items():
        if name not in LANES or not _is_positive(rate):
            known = ", ".join(LANES)
            what = f"DELIVERY_RATES: {name}={rate}; use numbers above 0 for any of {known}."
            errors.append(Error(what, id="duxue.E015"))
    if unknown := set(settings.CHANNEL_ORDER) ^ {name.value for name in CHOSEN}:
        names = ", ".join(sorted(unknown))
        errors.append(
            Error(f"CHANNEL_ORDER must name every channel once: {names}.", id="duxue.E016")
        )
    return errors


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


@register(Tags.compatibility)
def channels_are_understood(**kwargs: Any) -> Sequence[CheckMessage]:
    """E021: a channel that is set up can work, and the lists of addresses are lists of addresses."""
    errors: list[CheckMessage] = []
    for name, url in (
        ("jpush", settings.JPUSH_URL),
        ("mail", settings.MAIL_URL),
        ("sms", settings.SMS_URL),
    ):
        try:
            if url:
                channel_for(name)
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), id="duxue.E021"))
    try:
        given_key()
    except VapidUnusable as error:
        errors.append(Error(str(error), id="duxue.E021"))
    errors += [
        Error(f"OUTBOUND_PRIVATE_NETWORKS: {each!r} is no network.", id="duxue.E021")
        for each in settings.OUTBOUND_PRIVATE_NETWORKS
        if not _is_network(each)
    ]
    errors += [
        Error(f"ROBOT_HOSTS: {each!r} is not wecom=https://host or the like.", id="duxue.E021")
        for each in settings.ROBOT_HOSTS
        if not re.fullmatch(r"(wecom|dingtalk|feishu)=https?://[^/@?#]+", each)
    ]
    return errors


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


@register(Tags.security)
def production_is_whole(**kwargs: Any) -> Sequence[CheckMessage]:
    """E002-E006, E008, E020: in production every part is a real one and every secret is set."""
    if not settings.PRODUCTION:
        return []
    errors = []
    if settings.SECRET_KEY == settings.EMBEDDED_SECRET_KEY or len(settings.SECRET_KEY) < 50:
        errors.append(Error("SECRET_KEY is missing or short (50 characters).", id="duxue.E002"))
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        errors.append(Error("DATABASE_URL must name a PostgreSQL database.", id="duxue.E003"))
    embedded = {"MEDIA_STORE_URL": "folder", "CHANNEL_URL": "memory"}
    errors += [
        Error(f"{name} must not be embedded in production ({scheme}://).", id="duxue.E004")
        for name, scheme in embedded.items()
        if _scheme(name) == scheme
    ]
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        errors.append(Error("ALLOWED_HOSTS must list the host names.", id="duxue.E005"))
    if settings.DEBUG:
        errors.append(Error("DEBUG must be off in production.", id="duxue.E006"))
    return [*errors, *_receipt_key_errors(), *_secrets_keys_errors()]


def _secrets_keys_errors() -> list[CheckMessage]:
    """E020: without its keys nobody opens the credentials in the database, after a restart neither."""
    try:
        keys = given_keys(settings.SECRETS_KEYS, settings.SECRETS_KEYS_FILE)
    except KeysUnusable as error:
        return [Error(str(error), id="duxue.E020")]
    if keys:
        return []
    message = "SECRETS_KEYS or SECRETS_KEYS_FILE must give a key that encrypts credentials."
    return [Error(message, hint="`python -m server secrets keygen` makes one.", id="duxue.E020")]


def _receipt_key_errors() -> list[CheckMessage]:
    """E008: receipts are signed by a key that stays: a made one would be gone with its container."""
    try:
        seeds = given_seeds(settings.RECEIPT_KEY, settings.RECEIPT_KEY_FILE)
    except KeyUnusable as error:
        return [Error(str(error), id="duxue.E008")]
    if seeds:
        return []
    message = "RECEIPT_KEY or RECEIPT_KEY_FILE must give a key that signs receipts."
    return [Error(message, hint="`python -m server receipts keygen` makes one.", id="duxue.E008")]


@register(Tags.database)
def no_demo_accounts_in_production(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """E007: anybody could log in with the demo password."""
    if not settings.PRODUCTION or not databases:
        return []
    from server.grid.models import User

    try:
        count = User.objects.filter(is_demo=True, is_active=True).count()
    except DatabaseError:  # not migrated yet, so there is nobody
        return []
    if not count:
        return []
    return [
        Error(
            f"{count} demo accounts exist.",
            hint="Give production a database of its own, or bar them from logging in.",
            id="duxue.E007",
        )
    ]


def refuse_unfit_start() -> None:
    """Raises SystemCheckError where a server of production must not start."""
    if not settings.PRODUCTION:
        return
    found = run_checks(tags=INSTALLATION, databases=["default"])
    errors = [each for each in found if each.is_serious()]
    if errors:
        raise SystemCheckError("\n".join(str(error) for error in errors))


def _scheme(name: str) -> str:
    return urlsplit(str(getattr(settings, name))).scheme
