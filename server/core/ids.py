"""Ids: UUIDv7, so that rows written together lie together in the index."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562): time-ordered, made by whoever creates the thing."""
    return uuid7()
