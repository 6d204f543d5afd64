"""`api`: the server of pages, the phones' API and OpenRosa in production; SIGTERM ends it in order.

The program is loaded once, before granian forks its processes, so that they share its memory: two of
them take 60 MB less than two that load it for themselves, and one that died is replaced at once.
"""

import gc
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connections
from django.urls import reverse
from django.utils.module_loading import import_string
from granian import Granian
from granian.constants import Interfaces

THREADS = 2
"""Of each process. One waits for the database while the other computes."""
IDLE_SECONDS = 600
"""A thread keeps its connection to the database, for as long as CONN_MAX_AGE allows."""
RESPAWN_SECONDS = 0.5
KILL_SECONDS = 30
"""For the requests at hand, once told to end."""


class Command(BaseCommand):
    help = "Serve pages, the phones' API and OpenRosa until SIGTERM or Ctrl-C."
    requires_system_checks = ()  # the application itself asks for them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=2, help="one for each core")

    def handle(self, *args: Any, **options: Any) -> None:
        application = import_string(settings.WSGI_APPLICATION)
        reverse("admin:index")  # reads the addresses of all pages, and with them the pages' code
        connections.close_all()  # what the checks asked by: two processes cannot share one
        gc.collect()
        gc.freeze()  # a collection would write to every page, and then it is shared no more
        server = Granian(
            settings.WSGI_APPLICATION,
            address=options["host"],
            port=options["port"],
            interface=Interfaces.WSGI,
            workers=options["workers"],
            blocking_threads=THREADS,
            blocking_threads_idle_timeout=IDLE_SECONDS,
            websockets=False,
            respawn_failed_workers=True,
            respawn_interval=RESPAWN_SECONDS,
            workers_kill_timeout=KILL_SECONDS,
        )
        server.serve(target_loader=lambda: application, wrap_loader=False)
