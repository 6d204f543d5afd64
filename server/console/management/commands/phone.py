"""`phone`: play one inspector's day against a running server; see server.console.phone."""

from argparse import ArgumentParser
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from server.console.phone import Refused, play_a_day


class Command(BaseCommand):
    help = "Play one inspector's day over HTTP: from log-in to a closed finding."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            play_a_day(
                options["url"], settings.DEMO_PASSWORD, lambda line: self.stdout.write(f"✓ {line}")
            )
        except httpx.ConnectError as error:
            raise CommandError(f"{options['url']} 没有响应 does not answer: make run") from error
        except (Refused, httpx.HTTPError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("一天结束 the day is done")
