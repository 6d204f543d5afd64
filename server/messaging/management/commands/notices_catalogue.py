"""`notices_catalogue`: write docs/notices-catalogue.md anew from the catalogue of events."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from server.messaging.catalogue import catalogue_page


class Command(BaseCommand):
    help = "Write docs/notices-catalogue.md from server/messaging/events.py."

    def handle(self, *args: Any, **options: Any) -> None:
        page = Path(settings.BASE_DIR) / "docs" / "notices-catalogue.md"
        page.write_text(catalogue_page(), encoding="utf-8")
        self.stdout.write(str(page))
