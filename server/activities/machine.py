"""The visit's states and who moves it (order 624, art. 14-23)."""

from django.utils.translation import gettext_lazy as _

from server.activities.models import Visit
from server.core.machine import Machine, Step

State = Visit.State

CHECK_IN, COMPLETE, RETURN, REVIEW = "check_in", "complete", "return", "review"
TEAM, OFFICE = "team", "office"

VISIT = Machine(
    name="visit",
    steps={
        (State.ASSIGNED, CHECK_IN): Step(State.CHECKED_IN, frozenset({TEAM})),
        (State.CHECKED_IN, COMPLETE): Step(State.COMPLETED, frozenset({TEAM})),
        (State.RETURNED, CHECK_IN): Step(State.CHECKED_IN, frozenset({TEAM})),
        (State.RETURNED, COMPLETE): Step(State.COMPLETED, frozenset({TEAM})),
        (State.COMPLETED, RETURN): Step(State.RETURNED, frozenset({OFFICE})),
        (State.COMPLETED, REVIEW): Step(State.REVIEWED, frozenset({OFFICE})),
    },
    states=dict(State.choices),
    actions={
        CHECK_IN: _("签到"),
        COMPLETE: _("完成"),
        RETURN: _("退回"),
        REVIEW: _("审核通过"),
    },
    parts={TEAM: _("本任务的督学"), OFFICE: _("教育督导办或镇街督导组")},
)

OPEN_STATES = (State.ASSIGNED, State.CHECKED_IN, State.RETURNED)
"""Work that is still to do: what phones list and what forms are offered for."""

FILLABLE_STATES = (*OPEN_STATES, State.COMPLETED)
"""A document may still arrive after completion, over a slow link, until the review."""
