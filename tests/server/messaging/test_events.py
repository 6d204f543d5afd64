"""The catalogue of events: texts, and the parameters they take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation

from server.activities.machine import VISIT
from server.findings.machine import FINDING
from server.messaging.catalogue import catalogue_page
from server.messaging.events import EventKind, event_kind, event_kinds

PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@pytest.mark.parametrize("kind", event_kinds(), ids=lambda kind: kind.key)
@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_every_text_uses_only_the_events_parameters(kind: EventKind, language: str):
    with translation.override(language):
        texts = str(kind.title), str(kind.body)
    used = {name for text in texts for name in PLACEHOLDER.findall(text)}
    assert used == kind.params
    assert "%" not in PLACEHOLDER.sub("", "".join(texts))


def test_a_missing_an_unknown_and_a_wrong_parameter_raise_at_once():
    kind = event_kind("visit.reviewed")
    kind.check({"school": "a", "activity": "b"})
    with pytest.raises(TypeError, match="activity"):
        kind.check({"school": "a"})
    with pytest.raises(TypeError, match="extra"):
        kind.check({"school": "a", "activity": "b", "extra": "c"})
    with pytest.raises(TypeError, match="must be str"):
        kind.check({"school": "a", "activity": 3})  # type: ignore[dict-item]


def test_an_event_that_is_not_in_the_catalogue_raises():
    with pytest.raises(KeyError):
        event_kind("visit.celebrated")


def test_the_documentation_lists_the_same_events():
    """If not: `python -m server notices_catalogue`, and commit it."""
    page = Path(__file__).parents[3] / "docs" / "notices-catalogue.md"
    assert page.read_text(encoding="utf-8") == catalogue_page()


def test_every_step_of_a_machine_tells_somebody():
    """Each action of visits and findings, and the event that tells of it."""
    told = {
        "check_in": "visit.checked_in",
        "complete": "visit.completed",
        "return": "visit.returned",
        "review": "visit.reviewed",
        "answer": "finding.answered",
        "verify": "finding.closed",
        "postpone": "finding.postponed",
        "withdraw": "finding.withdrawn",
        "reopen": "finding.returned",
    }
    assert told.keys() == VISIT.actions.keys() | FINDING.actions.keys()
    assert set(told.values()) <= {kind.key for kind in event_kinds()}
