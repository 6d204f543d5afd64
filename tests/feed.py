"""Waiting for the change feed in tests: its horizon is the cluster's, which test runs share."""

from __future__ import annotations

import time

from server.core.changes import Change, horizon


def settle(*, seconds: float = 60) -> None:
    """Return when everything committed so far is before the horizon.

    A transaction of another test run in the same PostgreSQL cluster holds the horizon back, as a
    long one would in production: later, never wrongly.
    """
    last = Change.objects.order_by("-txid").values_list("txid", flat=True).first() or 0
    stop = time.monotonic() + seconds
    while (below := horizon()) is not None and below <= last:
        if time.monotonic() > stop:
            raise AssertionError(f"transaction {below} holds the feed back for {seconds} s")
        time.sleep(0.02)  # there is nothing to wait on: the horizon is read, not signalled
