"""Ids: UUIDv7, so that rows written together lie together in the index."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562): time-ordered, made by whoever creates the thing."""
    return uuid7()


def first_id_of(moment: datetime) -> UUID:
    """No id that `new_id` made from this moment on is smaller: a range of ids is a range of time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62)


def array_of(ids: Iterable[UUID | None]) -> str:
    """The ids as PostgreSQL reads a uuid[]: a tenth of what the driver takes for a list of them."""
    return "{" + ",".join(["NULL" if each is None else each.hex for each in ids]) + "}"


def array_of_new(count: int) -> str:
    """So many new ids as PostgreSQL reads a uuid[], without an object of Python's for each."""
    return "{" + ",".join([uuid_utils.uuid7().hex for _ in range(count)]) + "}"
