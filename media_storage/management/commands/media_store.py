"""`python -m server media_store check|create`: try the object store, or make its bucket."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from media_storage.errors import StoreUnavailable
from media_storage.stores import Store, StoreError, get_store


class Command(BaseCommand):
    help = "Check that the media store takes, gives back and forgets bytes; or create its bucket."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["check", "create"])

    def handle(self, *_args: Any, action: str, **_options: Any) -> None:
        store = get_store()
        try:
            if action == "create":
                store.create()
            check(store)
        except (StoreError, StoreUnavailable, OSError) as error:
            raise CommandError(f"The media store does not work: {error}") from error
        self.stdout.write(self.style.SUCCESS("The media store works."))


def check(store: Store) -> None:
    """Write, read and delete a small object. Raises CommandError for other bytes than written."""
    key, content = f"check/{secrets.token_hex(8)}", secrets.token_bytes(1000)
    store.write(key, [content])
    try:
        if b"".join(store.read(key)) != content:
            raise CommandError("The media store gave back other bytes than it was given.")
    finally:
        store.delete(key)
