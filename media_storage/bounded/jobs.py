"""The jobs that a bounded process knows: name, function, limits. A new one is a line here.

Functions are named, not imported: only the child loads decoders.
"""

from __future__ import annotations

from dataclasses import dataclass

from media_storage.bounded.limits import STANDARD, Limits


@dataclass(frozen=True, slots=True)
class Job:
    """`function` as "module:name"."""

    function: str
    limits: Limits = STANDARD


JOBS: dict[str, Job] = {
    "shared": Job("media_storage.sharing:make_shared_copy"),
}
