"""`load_demo`: the demo county and what the other apps add to it. Safe to run again."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from server.core.errors import Conflict
from server.grid.demo import load_demo


class Command(BaseCommand):
    help = "Load the demo county. Refused in production."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("demo accounts have a public password: not in production")
        try:
            county = load_demo()
        except Conflict as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"{county.county}: {len(county.towns)} towns, {len(county.schools)} schools, "
            f"{len(county.inspectors)} inspectors"
        )
