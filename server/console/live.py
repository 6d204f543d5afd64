"""The overview that moves: who is told that its figures changed, and the part that the page fetches.

A follower of the change feed tells the pages of every area above what changed, at most once a second for
each area, and nothing of content. The page then asks for its part again; the same figures cost it 304.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from server.activities.models import Submission, Visit
from server.core.changes import Change
from server.core.following import Follower, follow
from server.grid.models import School
from server.messaging.channels.socket import EVERYWHERE, group_of_area, hint_groups

CHANGED = {"type": "overview.changed"}
SHOWN = frozenset({"visit", "submission", "finding"})
"""Types of changes that move a figure of the page."""
REST_SECONDS = 1.0


# ---- the page --------------------------------------------------------------------------------


def overview_context(request: HttpRequest) -> dict[str, Any]:
    """What the page and its part are made from."""
    from server.console.overview import overview_of, selection_of

    selection = selection_of(request)
    address = reverse("admin:overview_part")
    query = request.GET.urlencode()
    return {
        "selection": selection,
        "overview": overview_of(selection),
        "live_part": f"{address}?{query}" if query else address,
    }


@require_safe
def overview_part(request: HttpRequest) -> HttpResponse:
    """The figures alone, with an ETag."""
    response = render(request, "console/parts/overview.html", overview_context(request))
    etag = quote_etag(hashlib.blake2b(response.content, digest_size=16).hexdigest())
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ("Cookie", "Accept-Language"))
    return get_conditional_response(request, etag=etag, response=response) or response


# ---- who is told -----------------------------------------------------------------------------


def start() -> None:
    """Follow the feed; called when the app is ready."""
    follow(Follower(name="overview", tell=tell_pages, rest_seconds=REST_SECONDS))


def tell_pages(changes: Sequence[Change]) -> None:
    """Hint at every area above the schools of these changes, each once."""
    groups = groups_of(schools_of(change for change in changes if change.type in SHOWN))
    if groups:
        hint_groups(groups, CHANGED)


def schools_of(changes: Iterable[Change]) -> set[Any]:
    """The schools that the changes are about.

    A change of an unannounced visit names its readers only, so that its school does not learn of it.
    """
    schools, visits, submissions = set(), set(), set()
    for change in changes:
        if change.school_id:
            schools.add(change.school_id)
        elif change.type == "visit":
            visits.add(change.object_id)
        elif change.type == "submission":
            submissions.add(change.object_id)
    if visits:
        rows = Visit.objects.order_by().filter(pk__in=visits)
        schools.update(rows.values_list("school", flat=True))
    if submissions:
        found = Submission.objects.order_by().filter(pk__in=submissions, visit__isnull=False)
        schools.update(found.values_list("visit__school", flat=True))
    return schools


def groups_of(schools: Iterable[Any]) -> list[str]:
    """The groups of all areas in which the schools lie."""
    paths = School.objects.order_by().filter(pk__in=list(schools))
    groups = {
        group_of_area(path[: end + 1])
        for path in paths.values_list("area__path", flat=True).distinct()
        for end, letter in enumerate(path)
        if letter == "/"
    }
    return [EVERYWHERE, *sorted(groups)] if groups else []
