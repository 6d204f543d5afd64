"""`worker`: one background process of production. Any number may run; SIGTERM ends the task at hand."""

import os
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from server.core.worker import new_worker, scheduling

NICENESS = 10
"""Accept first, derive later: where both want the same core, phones do not wait for the worker."""


class Command(BaseCommand):
    help = "Run background work and deliveries until SIGTERM or Ctrl-C."
    # Those of the installation; the others would load all pages, 25 MB that nothing here needs.
    requires_system_checks = (Tags.compatibility, Tags.security)

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(tags=[Tags.database], databases=["default"])
        os.nice(NICENESS)
        worker = new_worker()
        worker.configure_signals()
        with scheduling():
            worker.run()
