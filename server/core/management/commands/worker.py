"""`worker`: one background process of production. Any number may run; SIGTERM ends the task at hand."""

from typing import Any

from django.core.management.base import BaseCommand

from server.core.worker import new_worker, scheduling


class Command(BaseCommand):
    help = "Run background work and deliveries until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(databases=["default"])
        worker = new_worker()
        worker.configure_signals()
        with scheduling():
            worker.run()
