"""One word, one colour and one shape for every state: the table that badges and charts share.

Grey planned, blue under way, amber near its deadline or sent back, red overdue or severe, green
done. The shape says the same without colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import TextChoices
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.care.models import Deletion, Export
from server.core.clock import today
from server.core.errors import Text
from server.evidence.models import Flag
from server.findings.models import AT_SCHOOL, Finding
from server.messaging.models import Delivery
from server.webhooks.models import WebhookDelivery, WebhookEndpoint

GREY, BLUE, AMBER, RED, GREEN = "grey", "blue", "amber", "red", "green"
SHAPES = {GREY: "○", BLUE: "◐", AMBER: "▲", RED: "◆", GREEN: "●"}
SOON_DAYS = 3
"""A deadline is near when so many days are left, or fewer."""

TONES: Mapping[type[TextChoices], Mapping[str, str]] = {
    Activity.State: {"draft": GREY, "published": BLUE, "closed": GREEN},
    Visit.State: {
        "assigned": GREY,
        "checked_in": BLUE,
        "completed": BLUE,
        "returned": AMBER,
        "reviewed": GREEN,
    },
    Finding.State: {
        "open": GREY,
        "answered": BLUE,
        "returned": AMBER,
        "closed": GREEN,
        "withdrawn": GREY,
    },
    Finding.Severity: {"minor": GREY, "major": AMBER, "severe": RED},
    Delivery.State: {
        "pending": GREY,
        "sent": BLUE,
        "delivered": GREEN,
        "dead": RED,
        "skipped": GREY,
    },
    MediaObject.State: {
        "declared": GREY,
        "arrived": BLUE,
        "stored": BLUE,
        "processing": BLUE,
        "ready": GREEN,
        "rejected": RED,
        "deleted": GREY,
    },
    Deletion.State: {"due": AMBER, "deleting": BLUE, "deleted": GREY, "kept": GREEN},
    WebhookEndpoint.State: {
        "on": GREEN,
        "off": GREY,
        "failed": RED,
        "ownerless": AMBER,
        "gone": GREY,
    },
    WebhookDelivery.State: {"pending": BLUE, "delivered": GREEN, "dead": RED},
    Export.State: {
        "waiting": GREY,
        "making": BLUE,
        "ready": GREEN,
        "failed": RED,
        "expired": GREY,
    },
}


class Shown(NamedTuple):
    """A word with its colour and its shape."""

    tone: str
    word: Text

    @property
    def shape(self) -> str:
        return SHAPES[self.tone]

    @property
    def badge(self) -> SafeString:
        return format_html(
            '<span class="dx-badge dx-{}"><i aria-hidden="true">{}</i>{}</span>',
            self.tone,
            self.shape,
            self.word,
        )


@dataclass(frozen=True)
class Standing:
    """Where unsettled work stands against its deadline: a key for addresses, and how it is shown."""

    key: str
    shown: Shown


ON_TIME = Standing("on_time", Shown(GREY, gettext_lazy("期限内")))
SOON = Standing("soon", Shown(AMBER, gettext_lazy("临近期限")))
OVERDUE = Standing("overdue", Shown(RED, gettext_lazy("已逾期")))
TO_VERIFY = Standing("to_verify", Shown(BLUE, gettext_lazy("待核查")))
FINDING_STANDINGS = (ON_TIME, SOON, OVERDUE, TO_VERIFY)


def shown(state: TextChoices) -> Shown:
    """The state as the table has it."""
    return Shown(TONES[type(state)][state.value], state.label)


def badge(state: TextChoices) -> SafeString:
    """The state's word in its colour."""
    return shown(state).badge


def visit_shown(visit: Visit) -> Shown:
    """A visit's state; one that is not done when its activity's period has ended is overdue."""
    state = Visit.State(visit.state)
    undone = state in (Visit.State.ASSIGNED, Visit.State.CHECKED_IN, Visit.State.RETURNED)
    if undone and visit.activity.ends < today():
        return Shown(RED, _("%(state)s，已逾期") % {"state": state.label})
    return shown(state)


def finding_shown(finding: Finding) -> Shown:
    """A finding's state, told with its deadline while it is the school's turn."""
    state = Finding.State(finding.state)
    if state not in AT_SCHOOL:
        return shown(state)
    left = (finding.due_on - today()).days
    words = {"state": state.label, "days": abs(left)}
    if left < 0:
        return Shown(RED, _("%(state)s，逾期 %(days)s 天") % words)
    if left <= SOON_DAYS:
        return Shown(AMBER, _("%(state)s，剩 %(days)s 天") % words)
    return shown(state)


def flag_shown(flag: Flag) -> Shown:
    """A flag's word. It is a question, never a verdict: so never red."""
    stands = flag.cleared_at is None and flag.severity == Flag.Severity.WARN
    return Shown(AMBER if stands else GREY, flag.get_code_display())


def delivery_shown(row: Delivery) -> Shown:
    """How far a delivery is; the inbox also knows whether it was read."""
    if row.acknowledged_at:
        return Shown(GREEN, _("已确认"))
    if row.read_at:
        return Shown(GREEN, _("已读"))
    if row.state == Delivery.State.PENDING and row.work_attempts:
        return Shown(AMBER, _("正在重试，已试 %(n)s 次") % {"n": row.work_attempts})
    return shown(Delivery.State(row.state))
