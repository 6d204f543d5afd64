"""The catalogue of events: texts, and the parameters they take."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.utils import translation

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
