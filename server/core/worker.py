"""The worker: runs Django's tasks from the database, and the schedule that finds what hints lost."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from uuid import uuid4

from django.db import Error, close_old_connections
from django_tasks_db.management.commands.db_worker import Worker

from server.core import following, schedule, work

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
SLOW_SECONDS = 2.0
AWAY_SECONDS = 1.0
"""How long to wait for a database that is away before the next look."""


class PatientWorker(Worker):
    """Outlives a restart of the database, and ends after the row at hand."""

    def run(self) -> None:
        """Work until told to stop. A task that the database's failure took is found by the schedule."""
        while self.running:
            try:
                super().run()
            except Error as error:
                logger.warning("worker: the database is away: %s", error)
                time.sleep(AWAY_SECONDS)

    def stop(self) -> None:
        """End after the row at hand; what else is claimed goes back."""
        work.stopping.set()
        self.running = False

    def shutdown(self, signum: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        work.stopping.set()
        super().shutdown(signum, frame)


def new_worker(*, poll_seconds: float = POLL_SECONDS) -> PatientWorker:
    """A worker for all queues."""
    work.stopping.clear()
    return PatientWorker(
        queue_names=["*"],
        interval=poll_seconds,
        batch=False,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=f"{socket.gethostname()[:40]}-{uuid4().hex[:12]}",
        excluded_queue_names=[],
    )


RunUntil = Callable[[threading.Event], None]
_beside: dict[str, RunUntil] = {}


def run_beside(name: str, run_until: RunUntil) -> None:
    """Run this too, in a thread of its own in each worker process, until its event is set."""
    _beside[name] = run_until


@contextmanager
def scheduling() -> Iterator[None]:
    """Tick the schedule, follow the feed, run the slow pumps, each in a thread, while the body runs."""
    stop = threading.Event()
    whole: dict[str, RunUntil] = {
        "schedule": schedule.run_until,
        "feed": following.run_until,
        "slow work": run_slow_until,
        **_beside,
    }
    threads = [
        threading.Thread(target=run_until, args=(stop,), name=name)
        for name, run_until in whole.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def run_slow_until(stop: threading.Event, *, interval: float = SLOW_SECONDS) -> None:
    """Look every `interval` seconds for rows of slow pumps, until `stop` is set."""
    while not stop.wait(interval):
        close_old_connections()
        for pump in work.pumps():
            if pump.slow:
                _drain_patiently(pump)
    close_old_connections()


def _drain_patiently(pump: work.Pump) -> None:
    try:
        work.drain(pump)
    except Error as error:  # the database may be away for a moment: a later look tries again
        logger.warning("worker: %s: %s", pump.name, error)


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
            worker.stop()
            thread.join()
