"""The pages of conversations: for everybody with a log-in, in the console or on a page of their own.

Offices see them within the console. Inspectors and school contacts, who do not enter it, log in at
/conversations/login/ and see these pages alone. Every page works without scripts; with them the open
conversation asks every few seconds for what is new (docs/conversations.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.models import AnonymousUser
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.http import quote_etag
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from server.care.originals import open_original
from server.console.access import standing_of
from server.console.admin.base import attachment, sentence
from server.console.talk.sending import send_from_form
from server.console.talk.showing import days_of
from server.conversations.exporting import TYPES, export_conversation
from server.conversations.models import Conversation
from server.conversations.queries import (
    conversations_listed_for,
    conversations_moderated_by,
    conversations_visible_to,
    members_of,
    messages_found_by,
    page_of_messages,
)
from server.conversations.services import (
    conversation_to_be,
    mark_read,
    mute_conversation,
    open_conversation,
    remove_message,
    withdraw_message,
)
from server.core.errors import DuxueError, NotFound
from server.core.ids import new_id
from server.grid.models import User
from server.grid.queries import remember_roles

SHOWN = 50
"""Messages of one page."""
LISTED = 30
POLL_SECONDS = 5

View = Callable[..., HttpResponseBase]


def for_people(view: View) -> View:
    """Log in first; what one may not see does not exist."""

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if isinstance(request.user, AnonymousUser):
            return redirect(f"{reverse('login')}?next={request.path}")
        if not standing_of(request).enters:
            remember_roles(request.user)
        try:
            return view(request, request.user, *args, **kwargs)
        except NotFound:
            raise Http404 from None

    return guarded


# ---- looking ---------------------------------------------------------------------------------


@require_GET
@for_people
def index(request: HttpRequest, user: User) -> HttpResponse:
    """Mine, the latest first; or what was found."""
    words = request.GET.get("q", "").strip()[:100].replace("\0", "")
    rows: Any = conversations_listed_for(user).order_by("-last_at", "-id")
    if request.GET.get("unread"):
        rows = rows.filter(unread__gt=0)
    found = None
    if words:
        matches = messages_found_by(user, words, conversation_id=_within(request))
        chosen = matches.select_related(
            "conversation__school", "conversation__visit__activity", "conversation__finding"
        )
        found = list(chosen.order_by("-created_at", "-id")[:SHOWN])
    page = Paginator(rows, LISTED).get_page(request.GET.get("page"))
    context = {"title": _("沟通"), "page": page, "q": words, "found": found, "shown": SHOWN}
    return _render(request, "console/talk/list.html", context)


def _within(request: HttpRequest) -> UUID | None:
    try:
        return UUID(request.GET.get("in", ""))
    except ValueError:
        return None


@require_GET
@for_people
def about(request: HttpRequest, user: User, subject: str, subject_id: UUID) -> HttpResponse:
    """The conversation about this thing; before its first message there is none, only its page."""
    conversation = conversation_to_be(subject=subject, subject_id=subject_id, by=user)
    if not conversation._state.adding:
        return redirect("conversation", conversation.pk)
    return _page(request, user, conversation, [], has_more=False)


@require_GET
@for_people
def show(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    """One conversation: the newest messages, or those before a number."""
    conversation: Any = _listed(user, id)
    before = _number(request, "before")
    found, has_more = page_of_messages(user, conversation, before=before, limit=SHOWN)
    unread_after = -1 if before else conversation.read_number
    days = days_of(found, user, read_number=unread_after)
    return _page(request, user, conversation, days, has_more=has_more, before=before)


def _page(
    request: HttpRequest,
    user: User,
    conversation: Any,
    days: Any,
    *,
    has_more: bool,
    before: int | None = None,
) -> HttpResponse:
    new = conversation._state.adding
    first = days[0].bubbles[0].message.number if days else 0
    moderates = not new and conversations_moderated_by(user).filter(pk=conversation.pk).exists()
    context = {
        "title": conversation.title,
        "conversation": conversation,
        "new": new,
        "send_to": reverse(
            "conversation-about-send", args=[conversation.subject, conversation.about.pk]
        )
        if new
        else reverse("conversation-send", args=[conversation.pk]),
        "days": days,
        "earlier": first if has_more else 0,
        "before": before,
        "last": conversation.last_number,
        "members": [
            each for each in members_of(conversation).order_by("name") if each.pk != user.pk
        ],
        "moderates": moderates,
        "message_id": new_id(),
        "poll": POLL_SECONDS,
        "link": _page_of(request, conversation),
    }
    return _render(request, "console/talk/conversation.html", context)


def _page_of(request: HttpRequest, conversation: Conversation) -> str:
    """The console's page of what it is about, for whoever enters the console."""
    if not standing_of(request).enters:
        return ""
    meta = conversation.about._meta
    name = f"admin:{meta.app_label}_{meta.model_name}_change"
    return reverse(name, args=[conversation.about.pk])


@require_GET
@for_people
def fragment(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    """What is new after a number, or what was before one, to be put into the page: JSON with HTML.

    The page asks every few seconds: 304 while nothing has changed.
    """
    conversation = conversations_visible_to(user).filter(pk=id).first()
    if conversation is None:
        raise NotFound
    before, after = _number(request, "before"), _number(request, "after")
    etag = quote_etag(f"{conversation.last_number}-{after}-{before}-{get_language()}")
    if before is None and request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified(headers={"ETag": etag})
    found, has_more = page_of_messages(user, conversation, after=after, before=before, limit=SHOWN)
    days = days_of(found, user)
    moderates = conversations_moderated_by(user).filter(pk=id).exists()
    context = {"days": days, "conversation": conversation, "moderates": moderates}
    answer = JsonResponse(
        {
            "html": render_to_string("console/talk/messages.html", context, request=request),
            "last": found[-1].number if found else after,
            "first": found[0].number if found else before,
            "has_more": has_more,
            "gone": [
                each.about_number for each in found if each.about_number and each.kind != "expired"
            ],
            "expired_through": conversation.expired_through,
        }
    )
    answer.headers["ETag"] = etag
    patch_cache_control(answer, private=True, no_cache=True)
    return answer


@require_GET
@for_people
def file(request: HttpRequest, user: User, id: UUID, media_id: UUID) -> HttpResponse:
    """A document of a message, or a recording that no browser plays; each time is in the audit log."""
    try:
        opened = open_original(media_id=media_id, by=user, base_url=request.build_absolute_uri("/"))
    except NotFound:
        raise
    except DuxueError as error:
        messages.error(request, sentence(error))
        return redirect("conversation", id)
    return redirect(opened.url)


# ---- doing -----------------------------------------------------------------------------------


@require_POST
@for_people
def send(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    return _send(request, user, lambda: id)


@require_POST
@for_people
def send_about(request: HttpRequest, user: User, subject: str, subject_id: UUID) -> HttpResponse:
    """The first message makes the conversation."""

    def made() -> UUID:
        return open_conversation(subject=subject, subject_id=subject_id, by=user)[0].pk

    return _send(request, user, made)


def _send(request: HttpRequest, user: User, conversation: Callable[[], UUID]) -> HttpResponse:
    """A form of a page, answered with the page; a script's, with a short answer."""
    scripted = request.headers.get("Accept") == "application/json"
    try:
        id = conversation()
        message = send_from_form(
            conversation_id=id,
            message_id=_uuid(request.POST.get("message_id", "")) or new_id(),
            by=user,
            text=request.POST.get("text", ""),
            mentions=[each for text in request.POST.getlist("mentions") if (each := _uuid(text))],
            files=request.FILES.getlist("files"),
        )
    except NotFound:
        raise
    except DuxueError as error:
        if scripted:
            return JsonResponse({"error": sentence(error)}, status=422)
        messages.error(request, sentence(error))
        return redirect(_back(request))
    if scripted:
        page = reverse("conversation", args=[id])
        return JsonResponse({"number": message.number, "page": page, "next_id": str(new_id())})
    return redirect("conversation", id)


@require_POST
@for_people
def read(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    mark_read(conversation_id=id, by=user, number=_posted_number(request))
    return HttpResponse(status=204)


@require_POST
@for_people
def mute(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    mute_conversation(conversation_id=id, by=user, muted=bool(request.POST.get("muted")))
    return redirect("conversation", id)


@require_POST
@for_people
def withdraw(request: HttpRequest, user: User, id: UUID, message_id: UUID) -> HttpResponse:
    return _do(
        request, id, lambda: withdraw_message(conversation_id=id, message_id=message_id, by=user)
    )


@require_POST
@for_people
def remove(request: HttpRequest, user: User, id: UUID, message_id: UUID) -> HttpResponse:
    reason = request.POST.get("note", "")
    return _do(
        request,
        id,
        lambda: remove_message(conversation_id=id, message_id=message_id, by=user, reason=reason),
    )


@require_POST
@for_people
def export(request: HttpRequest, user: User, id: UUID) -> HttpResponse:
    kind = request.POST.get("kind", "")
    if kind not in TYPES:
        raise Http404
    try:
        content, name = export_conversation(conversation_id=id, by=user, kind=kind)
    except NotFound:
        raise
    except DuxueError as error:
        messages.error(request, sentence(error))
        return redirect("conversation", id)
    return attachment(content, name, TYPES[kind])


def _do(request: HttpRequest, id: UUID, do: Callable[[], object]) -> HttpResponse:
    try:
        do()
    except NotFound:
        raise
    except DuxueError as error:
        messages.error(request, sentence(error))
    return redirect("conversation", id)


# ---- common ----------------------------------------------------------------------------------


def _render(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    inside = standing_of(request).enters
    base = "console/page.html" if inside else "console/talk/outside.html"
    around = admin.site.each_context(request) if inside else {}
    return render(request, template, {**around, "base": base, "media": "", **context})


def _listed(user: User, id: UUID) -> Conversation:
    row = conversations_listed_for(user).filter(pk=id).first()
    if row is None:
        raise NotFound
    return row


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None


def _posted_number(request: HttpRequest) -> int:
    text = request.POST.get("number", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _back(request: HttpRequest) -> str:
    """The page that the form was on, which only ever is one of ours."""
    return request.path.removesuffix("send/")
