"""State machines as tables: (state, action) → (new state, who may).

The table is the only place that knows the order of states: services apply it, pages ask it which
buttons to show, and the documentation draws its diagrams from it (docs/states.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from server.core.errors import NotAllowed, Text, WrongState


@dataclass(frozen=True)
class Step:
    """Where an action leads, and which parts (see the machine's own list) may take it."""

    to: str
    who: frozenset[str]


@dataclass(frozen=True)
class Machine:
    """A table of steps. `parts`, `states` and `actions` give the words that people read."""

    name: str
    steps: Mapping[tuple[str, str], Step]
    states: Mapping[str, Text]
    actions: Mapping[str, Text]
    parts: Mapping[str, Text]

    def step(self, state: str, action: str, parts: Collection[str]) -> str:
        """The state that `action` leads to. Raises WrongState, NotAllowed."""
        step = self.steps.get((state, action))
        if step is None:
            raise WrongState(
                _("当前状态是“%(state)s”，不能“%(action)s”。请刷新后再看。")
                % {"state": self.states[state], "action": self.actions.get(action, action)}
            )
        if not step.who & set(parts):
            raise NotAllowed(
                _("“%(action)s”只能由%(who)s进行。")
                % {
                    "action": self.actions[action],
                    "who": "、".join(str(self.parts[part]) for part in sorted(step.who)),
                }
            )
        return step.to

    def open_actions(self, state: str, parts: Collection[str]) -> list[str]:
        """The actions that somebody with these parts may take now, in table order."""
        return [
            action
            for (from_state, action), step in self.steps.items()
            if from_state == state and step.who & set(parts)
        ]

    def mermaid(self) -> str:
        """The diagram of the table, in Mermaid's state syntax."""
        lines = ["stateDiagram-v2"]
        lines += [f"    {state}: {state} {label}" for state, label in self.states.items()]
        lines += [
            f"    {state} --> {step.to}: {action} ({', '.join(sorted(step.who))})"
            for (state, action), step in self.steps.items()
        ]
        return "\n".join(lines)
