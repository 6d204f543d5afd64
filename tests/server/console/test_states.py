"""Every state has a colour; deadlines colour what is the school's turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.activities.models import Activity, Visit
from server.console.states import SHAPES, TONES, finding_shown, shown, visit_shown
from server.core.clock import today
from server.findings.models import Finding


@pytest.mark.parametrize("states", TONES)
def test_every_state_has_a_colour_and_a_shape(states):
    assert set(TONES[states]) == set(states.values)
    assert all(shown(state).tone in SHAPES for state in states)


@pytest.mark.parametrize(
    ("days", "state", "tone", "words"),
    [
        (9, "open", "grey", "待整改"),
        (3, "open", "amber", "待整改，剩 3 天"),
        (0, "returned", "amber", "退回整改，剩 0 天"),
        (-1, "open", "red", "待整改，逾期 1 天"),
        (-1, "answered", "blue", "待核查"),
        (-1, "closed", "green", "已销号"),
    ],
)
def test_a_finding_is_told_with_its_deadline(days, state, tone, words):
    told = finding_shown(Finding(state=state, due_on=today() + timedelta(days=days)))
    assert (told.tone, str(told.word)) == (tone, words)


def test_a_visit_left_undone_after_the_period_is_overdue():
    over = Activity(ends=today() - timedelta(days=1))
    assert visit_shown(Visit(activity=over, state="checked_in")).tone == "red"
    assert visit_shown(Visit(activity=over, state="completed")).tone == "blue"
