"""The worker: runs Django's tasks from the database, and the schedule that finds what hints lost."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from django_tasks_db.management.commands.db_worker import Worker

from server.core import schedule

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5


def new_worker(*, poll_seconds: float = POLL_SECONDS) -> Worker:
    """A worker for all queues; `running = False` stops it after the task at hand."""
    return Worker(
        queue_names=["*"],
        interval=poll_seconds,
        batch=False,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=f"{socket.gethostname()[:40]}-{uuid4().hex[:12]}",
        excluded_queue_names=[],
    )


@contextmanager
def scheduling() -> Iterator[None]:
    """Tick the schedule in a thread while the body runs."""
    stop = threading.Event()
    thread = threading.Thread(target=schedule.run_until, args=(stop,), name="schedule")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def working_in_threads() -> Iterator[None]:
    """The embedded world's worker: threads of this process, stopped with the body."""
    worker = new_worker()
    thread = threading.Thread(target=worker.run, name="worker")
    with scheduling():
        thread.start()
        try:
            yield
        finally:
            worker.running = False
            thread.join()
