"""The private keys that sign receipts: from RECEIPT_KEY, or a file, or made once by the embedded world.

A key is 32 random bytes, written as 64 hexadecimal digits: the seed of Ed25519 (RFC 8032). Several may
be given, separated by commas, spaces or lines; the one that the chain stands on signs, so a new key can
be given to every process before the chain is told of it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from server.core.keyfiles import add_line, make_once
from server.receipts.proof import key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = re.compile(r"[0-9a-fA-F]{64}")


class KeyUnusable(Exception):
    """No key, an unreadable one, or not the one that the chain stands on."""


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """A key that can sign."""

    seed: bytes

    @cached_property
    def _signer(self) -> Ed25519PrivateKey:
        # Late: every process knows this module, and few of them sign.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> str:
        """64 hexadecimal digits."""
        return self._signer.public_key().public_bytes_raw().hex()

    @cached_property
    def id(self) -> str:
        return key_id(self.public)

    def sign(self, raw: bytes) -> str:
        """128 hexadecimal digits."""
        return self._signer.sign(raw).hex()


def new_seed() -> str:
    """A new private key, as it is written into the settings."""
    return secrets.token_hex(32)


def seeds_in(text: str) -> list[str]:
    """The keys that a setting or a file holds; lines that begin with # are comments.

    Raises KeyUnusable for anything else, without repeating it: it may be a mistyped secret.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = re.split(r"[,\s]+", "\n".join(lines).strip())
    found = [word for word in words if word]
    if not all(_SEED.fullmatch(word) for word in found):
        raise KeyUnusable("a receipt key is 64 hexadecimal digits")
    return found


def given_seeds(key: str, file: str) -> list[str]:
    """The keys of RECEIPT_KEY, else of the file. Raises KeyUnusable."""
    if key:
        return seeds_in(key)
    if not file:
        return []
    try:
        return seeds_in(Path(file).read_text(encoding="ascii"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise KeyUnusable(f"RECEIPT_KEY_FILE cannot be read: {error}") from None


def private_keys(*, make: bool = False) -> dict[str, PrivateKey]:
    """The keys at hand, by id. `make`: where there are none, the embedded world makes one."""
    seeds = given_seeds(settings.RECEIPT_KEY, settings.RECEIPT_KEY_FILE)
    if not seeds and make and settings.RECEIPT_KEY_MADE:
        make_once(Path(settings.RECEIPT_KEY_FILE), f"{new_seed()}\n")
        seeds = given_seeds("", settings.RECEIPT_KEY_FILE)
    keys = [PrivateKey(bytes.fromhex(seed)) for seed in seeds]
    return {key.id: key for key in keys}


def add_to_file(path: Path, seed: str) -> None:
    """Write the key below those that the file holds.

    Raises OSError where the file may not be written, as a mounted secret may not.
    """
    add_line(path, seed)
