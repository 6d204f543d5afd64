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
    "picture": Job("media_storage.imaging:look"),
    "pdf": Job("media_storage.documents:look_into_pdf"),
    "office": Job("media_storage.documents:check_office"),
    "recording": Job("media_storage.recordings:look"),
    "shared": Job("media_storage.sharing:make_shared_copy"),
}
