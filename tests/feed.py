"""Waiting for the change feed in tests: its horizon is the cluster's, which test runs share."""

from __future__ import annotations

import time

from server.core.changes import START, Change, latest_cursor


def settle(*, seconds: float = 60) -> None:
    """Return when everything committed so far can be read from the feed.

    A transaction of another test run in the same PostgreSQL cluster holds the feed back, as a long
    one would in production: later, never wrongly.
    """
    last = Change.objects.order_by("-txid", "-id").values_list("txid", "id").first() or START
    stop = time.monotonic() + seconds
    while latest_cursor() < last:
        if time.monotonic() > stop:
            raise AssertionError(f"the feed stands at {latest_cursor()} and not at {last}")
        time.sleep(0.02)  # there is nothing to wait on: the horizon is read, not signalled
