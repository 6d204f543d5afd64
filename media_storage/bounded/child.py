"""The bounded process itself: limits first, then one order after the other until the line closes.

It knows no Django. It is started by media_storage.bounded.parent with nothing but its line.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from media_storage.bounded.limits import MAX_OPEN_FILES, MAX_WRITTEN
from media_storage.bounded.wire import (
    Answer,
    Closed,
    Done,
    Failure,
    Order,
    Refusal,
    Result,
    Usage,
    peak_bytes,
    receive_order,
    send,
)
from media_storage.refusals import Reason, Refused

_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38


def main(line: float, parent: float, memory_bytes: float, idle_seconds: float) -> None:
    """Serve until the parent is gone or wants nothing for a while."""
    confine(int(memory_bytes))
    die_with(int(parent))
    with socket.socket(fileno=int(line)) as ours, suppress(Closed):
        while True:
            ours.settimeout(idle_seconds)
            try:
                order, file = receive_order(ours)
            except TimeoutError:
                return
            ours.settimeout(None)
            send(ours, _last_answer(ours, order, file))


def confine(memory_bytes: int) -> None:
    """Take away what no decoder needs. What the system does not know of, it does not limit."""
    faulthandler.enable()
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, MAX_WRITTEN),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    with suppress(OSError):
        # Where the machine itself lacks memory, this process goes before any other.
        Path("/proc/self/oom_score_adj").write_text("1000")


def die_with(parent: int) -> None:
    """End at once when the process `parent` ends, however it ends."""
    if not sys.platform.startswith("linux"):
        return  # the line closes, which is noticed between two files
    ours = ctypes.CDLL(None)
    ours.prctl(_DIE_WITH_PARENT, 9, 0, 0, 0)
    ours.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _last_answer(line: socket.socket, order: Order, file: int) -> Answer:
    """Send the results; what is to be said after them."""
    begun = _cpu_seconds()
    try:
        with os.fdopen(file, "rb") as opened:
            opened.seek(0)
            _allow(order.cpu_seconds)
            made = _function(order.function)(opened, **order.options)
            for value in made if isinstance(made, Iterator) else (made,):
                send(line, Result(value))
        return Done(_usage(begun))
    except Closed:
        raise
    except Refused as refused:
        code, cause = refused.code, refused.cause
    except MemoryError:
        code, cause = Reason.TOO_MUCH_MEMORY, "MemoryError"
    except Exception:
        return Failure(traceback.format_exc(), _usage(begun))
    # Outside the handlers: what the traceback held is free by now.
    return Refusal(str(code), cause[:500], _usage(begun))


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def _allow(seconds: int) -> None:
    """CPU time from now on: the system counts from the process's beginning, in whole seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _usage(begun: float) -> Usage:
    return Usage(cpu_seconds=_cpu_seconds() - begun, peak_bytes=peak_bytes())
