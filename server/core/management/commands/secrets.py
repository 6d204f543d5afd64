"""`secrets keygen|rotate`: the keys that encrypt others' credentials in the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from server.core.secrets import KeysUnusable, new_key, reseal_all


class Command(BaseCommand):
    help = "Make a key for SECRETS_KEYS, or encrypt every stored credential under the first one."
    # `keygen` comes before a production's settings are whole.
    requires_system_checks: Any = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("keygen", help="print a new key for SECRETS_KEYS")
        actions.add_parser("rotate", help="encrypt all anew under the first key of SECRETS_KEYS")

    def handle(self, *_args: Any, action: str, **_options: Any) -> None:
        if action == "keygen":
            self.stdout.write(new_key())
            return
        try:
            self._rotate()
        except KeysUnusable as error:
            raise CommandError(str(error)) from error

    def _rotate(self) -> None:
        lost_at_all = 0
        for column, done, lost in reseal_all():
            self.stdout.write(f"{column}: {done} encrypted anew, {lost} that no key opens")
            lost_at_all += lost
        if lost_at_all:
            raise CommandError("Some were left as they are: give back the key that was taken away.")
