"""Refused documents: kept for the office, then forgotten.

A phone that was refused keeps its document, and so do we: if the refusal was our mistake, the office
can still read what was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from server.activities.models import RefusedDocument
from server.core import clock
from server.core.errors import (
    ContentConflict,
    DuxueError,
    NotAuthenticated,
    TooLarge,
    Unavailable,
)
from server.grid.models import Membership, User
from server.grid.queries import OFFICES, area_paths, under
from server.messaging.models import Device
from server.messaging.sessions import device_of_now

_NOT_THE_DOCUMENTS_FAULT = (ContentConflict, TooLarge, Unavailable, NotAuthenticated)
"""A conflict is kept as such; the others say nothing against the document: the phone sends it again."""


@contextmanager
def keeping_refused(
    *, device: Device, format: str, raw: bytes, lately: bool = False
) -> Iterator[None]:
    """Keep `raw` where the block refuses it; of a device that was usable `lately` only if it still is."""
    try:
        yield
    except DuxueError as refusal:
        if lately:
            device_of_now(device)  # who may not send at all is told so first
        if not isinstance(refusal, _NOT_THE_DOCUMENTS_FAULT):
            keep_refused(device=device, format=format, raw=raw, refusal=refusal)
        raise


@transaction.atomic
def keep_refused(*, device: Device, format: str, raw: bytes, refusal: DuxueError) -> None:
    """Keep the bytes once per person, content and reason; a retry only counts."""
    row, created = RefusedDocument.objects.get_or_create(
        sender_id=device.user_id,
        sha256=hashlib.sha256(raw).hexdigest(),
        code=refusal.code,
        defaults={"device": device, "format": format, "raw": raw, "reason": _sentence(refusal)},
    )
    if not created:
        RefusedDocument.objects.filter(pk=row.pk).update(times=F("times") + 1)


def refused_visible_to(user: User) -> QuerySet[RefusedDocument]:
    """What was refused from people with a role in the subtrees of the person's offices."""
    if user.is_superuser:
        return RefusedDocument.objects.all()
    paths = area_paths(user, *OFFICES)
    staff = Membership.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path")
    )
    return RefusedDocument.objects.filter(sender__in=staff.values("user"))


def forget_old() -> int:
    """Delete what was kept long enough (`REFUSED_DOCUMENT_DAYS`). Returns how many rows."""
    before = clock.now() - timedelta(days=settings.REFUSED_DOCUMENT_DAYS)
    return RefusedDocument.objects.filter(received_at__lt=before).delete()[0]


def _sentence(refusal: DuxueError) -> str:
    lines = [str(refusal), *(f"{each.pointer}: {each.detail}" for each in refusal.problems)]
    return "\n".join(lines)[:4000]
