"""The finding's states and who moves it (order 624, art. 21-22)."""

from django.utils.translation import gettext_lazy as _

from server.core.machine import Machine, Step
from server.findings.models import Finding

State = Finding.State

ANSWER, VERIFY, RETURN = "answer", "verify", "return"
POSTPONE, WITHDRAW, REOPEN = "postpone", "withdraw", "reopen"
SCHOOL, INSPECTOR, OFFICE = "school", "inspector", "office"

_checkers = frozenset({INSPECTOR, OFFICE})

FINDING = Machine(
    name="finding",
    steps={
        (State.OPEN, ANSWER): Step(State.ANSWERED, frozenset({SCHOOL})),
        (State.OPEN, POSTPONE): Step(State.OPEN, _checkers),
        (State.OPEN, WITHDRAW): Step(State.WITHDRAWN, _checkers),
        (State.ANSWERED, VERIFY): Step(State.CLOSED, _checkers),
        (State.ANSWERED, RETURN): Step(State.RETURNED, _checkers),
        (State.RETURNED, ANSWER): Step(State.ANSWERED, frozenset({SCHOOL})),
        (State.RETURNED, POSTPONE): Step(State.RETURNED, _checkers),
        (State.RETURNED, WITHDRAW): Step(State.WITHDRAWN, _checkers),
        (State.CLOSED, REOPEN): Step(State.RETURNED, frozenset({OFFICE})),
    },
    states=dict(State.choices),
    actions={
        ANSWER: _("提交整改"),
        VERIFY: _("核查通过并销号"),
        RETURN: _("退回"),
        POSTPONE: _("调整期限"),
        WITHDRAW: _("撤销"),
        REOPEN: _("重新打开"),
    },
    parts={
        SCHOOL: _("学校联系人"),
        INSPECTOR: _("责任督学"),
        OFFICE: _("教育督导办或镇街督导组"),
    },
)
