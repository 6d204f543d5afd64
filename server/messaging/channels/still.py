"""Keeps the garbage collector from looking through ten thousand quiet sockets again and again.

Measured with 10,000 sockets: each full collection stops the process for 3 to 4 seconds, and finds next to
nothing. So what is open is put aside (`gc.freeze`, which takes no time), a few hundred sockets at a time. What the
pings of their long life leave with each comes after that: with sockets open, the collector by itself looks
through what is young only (a full collection stopped hints for half a second).
A closed socket leaves about 5 KB that only the collector frees (the parser of its frames refers to
itself): after some thousands of them everything is looked through once.
"""

from __future__ import annotations

import gc

FREEZE_EVERY = 200
LOOK_AFTER = 5_000
"""So many closed sockets, 25 MB, and a full collection is worth its stop."""

NEVER = 1_000_000
"""So many collections of what is young before one of everything, by the collector itself."""

_opened = _closed = 0


def socket_opened() -> None:
    """Put it aside, with those before it."""
    global _opened  # noqa: PLW0603 - of the process, as the collector is
    _opened += 1
    if _opened % FREEZE_EVERY == 0:
        gc.set_threshold(*gc.get_threshold()[:2], NEVER)
        gc.collect(1)
        gc.freeze()


def socket_closed() -> None:
    """Now and then, look for what the closed ones left after all."""
    global _closed  # noqa: PLW0603 - as above
    _closed += 1
    if _closed % LOOK_AFTER == 0:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
