"""`vapid keygen`: a key for Web Push."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from server.messaging.vapid import new_private_key


class Command(BaseCommand):
    help = "Print a new private key for VAPID_PRIVATE_KEY."
    requires_system_checks: Any = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["keygen"])

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(new_private_key())
