"""docs/notices-catalogue.md, made from the catalogue of events."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import override

from server.messaging.events import EventKind, event_kinds
from server.messaging.wording import NAMES, shipped

HEAD = """\
# Catalogue of notices

What the product tells people by itself, to whom, and when. This page is made from
`server/messaging/events.py` by `python -m server notices_catalogue`; a test holds them together.

The texts are the product's own. An education office words each of them for its area on the page
“通知模板” of the web admin: in Chinese and English, with the variables named here. It also decides whether
a notice is urgent (a push may wake the phone, in quiet hours too), whether it must be acknowledged, and
whether it is sent at all; what the law requires is always sent. The nearest area's wording counts, from
the school's town upwards. Each save is a new version, and a notice that was sent keeps the version it was
made with ([ADR 26](adr/0026-a-notice-keeps-the-version-of-its-wording.md)).

Evaluations are not part of the product yet, so nothing is told of their steps.
"""


def catalogue_page() -> str:
    """The whole page."""
    with override("en"):
        return "\n".join([HEAD, *_table(), *_texts(), *_variables()]) + "\n"


def _table() -> Iterator[str]:
    yield "## Events"
    yield ""
    yield "| event | when | who is told | kind |"
    yield "| --- | --- | --- | --- |"
    for kind in event_kinds():
        yield f"| `{kind.key}` | {kind.when} | {kind.who} | {_nature(kind)} |"
    yield ""


def _nature(kind: EventKind) -> str:
    words = {
        "urgent": kind.urgent,
        "acknowledge": kind.requires_ack,
        "required by law": kind.required,
        "written by hand": kind.by_hand,
    }
    return ", ".join(word for word, holds in words.items() if holds)


def _texts() -> Iterator[str]:
    yield "## Texts"
    yield ""
    for kind in event_kinds():
        if not kind.by_hand:
            draft = shipped(kind.key)
            yield f"### `{kind.key}`"
            yield ""
            yield f"- {draft.title_zh}  "
            yield f"  {draft.body_zh}"
            yield f"- {draft.title_en}  "
            yield f"  {draft.body_en}"
            yield ""


def _variables() -> Iterator[str]:
    yield "## Variables"
    yield ""
    yield "| variable | meaning |"
    yield "| --- | --- |"
    for name, meaning in NAMES.items():
        yield f"| `{{{name}}}` | {meaning} |"
