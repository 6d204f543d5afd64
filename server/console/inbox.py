"""The inbox in a browser, for whoever does not enter the console: reading, confirming, answering.

Opening a notice reads it. A form is answered here as on the phone; a later answer replaces the earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from server.console.access import person
from server.core import clock
from server.core.errors import DuxueError, Invalid, NotFound, Text
from server.core.ids import new_id
from server.grid.models import User
from server.messaging.addressees import address
from server.messaging.models import Delivery, Notice
from server.messaging.queries import inbox_of, inbox_shown_to
from server.messaging.questions import Question
from server.messaging.reading import acknowledge, answer, mark_read, open_attachment

PER_PAGE = 30


@never_cache
@require_GET
def inbox(request: HttpRequest) -> HttpResponse:
    """My notices, the newest first."""
    if not request.user.is_authenticated:
        return redirect(f"{reverse('login')}?next={request.path}")
    rows = inbox_of(person(request))
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    address(page.object_list)
    return render(request, "console/inbox.html", {"page": page})


def notice_page(
    request: HttpRequest, notice: Notice, user: User, *, subject: str
) -> HttpResponse | None:
    """The notice as its recipient reads it; None where the person did not receive it. POST does what
    the notice asks. `subject`: where the thing that it is about is shown.
    """
    try:
        if request.method == "POST":
            return _do(request, notice, user, subject)
        mark_read(notice_id=notice.pk, by=user)
    except NotFound:
        return None
    return _shown(request, notice, user, subject)


@never_cache
@require_GET
def notice_file(request: HttpRequest, id: UUID, media_id: UUID) -> HttpResponse:
    """On to a short-lived address of an attachment."""
    if not request.user.is_authenticated:
        return redirect(f"{reverse('login')}?next={request.path}")
    try:
        opened = open_attachment(
            notice_id=id,
            media_id=media_id,
            by=person(request),
            base_url=request.build_absolute_uri("/").rstrip("/"),
        )
    except DuxueError as error:
        raise Http404(str(error)) from None
    return redirect(opened.url)


def _do(request: HttpRequest, notice: Notice, user: User, subject: str) -> HttpResponse:
    if notice.form is None:
        acknowledge(notice_id=notice.pk, by=user)
        return _shown(request, notice, user, subject)
    given = _given(notice.form, request.POST)
    try:
        answer(notice_id=notice.pk, answer_id=new_id(), by=user, answers=given)
    except Invalid as error:
        problems = {each.pointer.rpartition("/")[2]: each.detail for each in error.problems}
        return _shown(request, notice, user, subject, given=given, problems=problems, status=422)
    except NotFound:
        raise
    except DuxueError as error:  # closed or recalled meanwhile
        return _shown(request, notice, user, subject, given=given, refusal=str(error), status=409)
    return _shown(request, notice, user, subject)


def _given(form: Sequence[Question], posted: QueryDict) -> dict[str, Any]:
    """What was filled in, by question; what is no number stays as it is, for its refusal."""
    given: dict[str, Any] = {}
    for question in form:
        name = f"q-{question['id']}"
        if question["kind"] == "choices":
            given[question["id"]] = posted.getlist(name)
        elif question["kind"] == "number":
            given[question["id"]] = _number(posted.get(name, ""))
        else:
            given[question["id"]] = posted.get(name, "")
    return given


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Asked:
    """A question of the form, what is filled in, and what is wrong with it."""

    question: Question
    value: Any
    problem: Text


def _shown(
    request: HttpRequest,
    notice: Notice,
    user: User,
    subject: str,
    *,
    given: Mapping[str, Any] | None = None,
    problems: Mapping[str, Text] | None = None,
    refusal: str = "",
    status: int = 200,
) -> HttpResponse:
    row: Delivery | None = inbox_shown_to(user).filter(notice=notice).first()
    if row is None:
        raise NotFound
    stored = [each.answers for each in row.notice.own_answers]  # type: ignore[attr-defined]
    values = given if given is not None else (stored[0] if stored else {})
    recalled = row.notice.state == Notice.State.RECALLED
    context = {
        "title": row.title,
        "delivery": row,
        "notice": row.notice,
        "recalled": recalled,
        "files": [] if recalled else row.notice.files,  # type: ignore[attr-defined]
        "questions": [
            Asked(each, values.get(each["id"], ""), (problems or {}).get(each["id"], ""))
            for each in row.notice.form or ()
        ],
        "open": not recalled and not row.notice.is_closed(clock.now()),
        "refusal": refusal,
        "subject": subject,
    }
    return render(request, "console/notice_read.html", context, status=status)
