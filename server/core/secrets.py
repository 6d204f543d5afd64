"""Secrets of others, such as the address of a chat robot: encrypted before the database sees them.

SECRETS_KEYS holds one key or several, 64 hexadecimal digits each; the first one seals, all of them
open. To change keys: `python -m server secrets keygen`, put the new one first everywhere, restart,
`python -m server secrets rotate`, take the old one away.

A sealed text is a Fernet token (AES-128-CBC and HMAC-SHA256). Each purpose has keys of its own,
derived by HKDF-SHA256, so that what was sealed for one column cannot be opened in another's place.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db import models, transaction

from server.core.keyfiles import make_once

_KEY = re.compile(r"[0-9a-fA-F]{64}")


class KeysUnusable(Exception):
    """SECRETS_KEYS gives no key, or something that is none. It never repeats what was given."""


class SecretUnreadable(Exception):
    """None of the keys at hand sealed this text: a key was taken away too early, or it was changed."""


def seal(text: str, *, purpose: str) -> str:
    """The text, encrypted under the first key. Raises KeysUnusable."""
    return _fernet(purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """What was sealed for this purpose. Raises SecretUnreadable, KeysUnusable."""
    try:
        return _fernet(purpose).decrypt(sealed).decode()
    except InvalidToken:
        raise SecretUnreadable(f"no key at hand opens this {purpose}") from None


def new_key() -> str:
    """A new key, as it is written into SECRETS_KEYS."""
    return secrets.token_hex(32)


def given_keys(keys: str, file: str) -> list[str]:
    """The keys of SECRETS_KEYS, else of the file; lines that begin with # are comments.

    Raises KeysUnusable.
    """
    text = keys
    if not text and file:
        try:
            text = Path(file).read_text(encoding="ascii")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise KeysUnusable(
                f"SECRETS_KEYS_FILE cannot be read: {type(error).__name__}"
            ) from None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = [word for word in re.split(r"[,\s]+", "\n".join(lines)) if word]
    if not all(_KEY.fullmatch(word) for word in found):
        raise KeysUnusable("a key of SECRETS_KEYS is 64 hexadecimal digits")
    return found


# ---- changing keys ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sealed:
    """A column that holds sealed texts, and what they are sealed for."""

    model: str
    field: str
    purpose: str


_columns: dict[str, Sealed] = {}


def register_sealed(model: str, field: str, *, purpose: str) -> None:
    """Make a column known to `reseal_all`; call it when the app is ready. `model`: "app.Model"."""
    _columns[f"{model}.{field}"] = Sealed(model, field, purpose)


def reseal_all() -> Iterator[tuple[str, int, int]]:
    """Seal every column anew under the first key: (column, rows done, rows that no key opens)."""
    for name, column in _columns.items():
        done, lost = _reseal(apps.get_model(column.model), column)
        yield name, done, lost


def _reseal(model: type[models.Model], column: Sealed) -> tuple[int, int]:
    done = lost = 0
    keys = model._default_manager.exclude(**{column.field: ""}).order_by("pk")
    for key in list(keys.values_list("pk", flat=True)):
        with transaction.atomic():
            rows = model._default_manager.select_for_update().filter(pk=key)
            sealed: Any = rows.values_list(column.field, flat=True).first()
            if not sealed:
                continue
            try:
                again = seal(unseal(sealed, purpose=column.purpose), purpose=column.purpose)
            except SecretUnreadable:
                lost += 1
                continue
            model._default_manager.filter(pk=key).update(**{column.field: again})
            done += 1
    return done, lost


# ---- keys ------------------------------------------------------------------------------------


@cache
def _fernet(purpose: str) -> MultiFernet:
    keys = given_keys(settings.SECRETS_KEYS, settings.SECRETS_KEYS_FILE)
    if not keys and settings.SECRETS_KEYS_MADE:
        make_once(Path(settings.SECRETS_KEYS_FILE), f"{new_key()}\n")
        keys = given_keys("", settings.SECRETS_KEYS_FILE)
    if not keys:
        raise KeysUnusable("SECRETS_KEYS gives no key")
    return MultiFernet([Fernet(_derived(key, purpose)) for key in keys])


def _derived(key: str, purpose: str) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"duxue secrets: {purpose}".encode())
    return base64.urlsafe_b64encode(kdf.derive(bytes.fromhex(key)))


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("SECRETS_KEYS"):
        _fernet.cache_clear()


setting_changed.connect(_forget)
