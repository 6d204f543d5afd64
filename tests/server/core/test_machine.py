"""Machines: the tables decide, and the documentation shows the same tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.activities.machine import VISIT
from server.core.errors import NotAllowed, WrongState
from server.core.machine import Machine
from server.findings.machine import FINDING

DOCS = Path(__file__).parents[3] / "docs" / "states.md"


def test_a_step_leads_to_its_state():
    assert VISIT.step("assigned", "check_in", {"team"}) == "checked_in"


def test_a_step_that_the_table_does_not_know_is_a_wrong_state():
    with pytest.raises(WrongState, match="待入校"):
        VISIT.step("assigned", "complete", {"team"})


def test_a_step_of_somebody_else_is_not_allowed():
    with pytest.raises(NotAllowed, match="学校联系人"):
        FINDING.step("open", "answer", {"inspector"})


def test_open_actions_are_those_of_the_state_and_the_person():
    assert FINDING.open_actions("answered", {"inspector"}) == ["verify", "return"]
    assert FINDING.open_actions("answered", {"school"}) == []


@pytest.mark.parametrize("machine", [VISIT, FINDING], ids=lambda machine: machine.name)
def test_the_documentation_draws_the_same_table(machine: Machine):
    assert f"```mermaid\n{machine.mermaid()}\n```" in DOCS.read_text()


@pytest.mark.parametrize("machine", [VISIT, FINDING], ids=lambda machine: machine.name)
def test_every_word_of_a_machine_is_named(machine: Machine):
    for (state, action), step in machine.steps.items():
        assert {state, step.to} <= machine.states.keys()
        assert action in machine.actions
        assert step.who <= machine.parts.keys()
