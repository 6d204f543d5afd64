"""The closed catalogue of what people are told about: keys, texts, and the parameters they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One kind of event. `title` and `body` are %-templates over exactly `params`.

    `urgent`: a push may wake the phone. `requires_ack`: the reader must confirm, unless the caller
    says otherwise.
    """

    key: str
    title: Text
    body: Text
    params: frozenset[str]
    urgent: bool = False
    requires_ack: bool = False

    def check(self, params: Mapping[str, str]) -> None:
        """Raises TypeError for a missing or unknown parameter, or one that is not text."""
        if params.keys() != self.params:
            wrong = ", ".join(sorted(self.params ^ params.keys()))
            raise TypeError(f"{self.key} takes {sorted(self.params)}; wrong: {wrong}")
        for name, value in params.items():
            if not isinstance(value, str):
                raise TypeError(f"{self.key}: {name} must be str, not {type(value).__name__}")


_catalogue: dict[str, EventKind] = {}


def _event(
    key: str,
    params: str,
    title: Text,
    body: Text,
    *,
    urgent: bool = False,
    requires_ack: bool = False,
) -> None:
    _catalogue[key] = EventKind(
        key=key,
        title=title,
        body=body,
        params=frozenset(params.split()),
        urgent=urgent,
        requires_ack=requires_ack,
    )


def event_kind(key: str) -> EventKind:
    """Raises KeyError for what is not in the catalogue."""
    return _catalogue[key]


def event_kinds() -> list[EventKind]:
    """Every kind, in the order of this file."""
    return list(_catalogue.values())


# Parameters are names and sentences as people read them; days are ISO dates.
# school: filled in by notify from its `school`. activity: its title.
# inspector: the person's name. finding: what is wrong, in short.

# ---- visits ---------------------------------------------------------------------------------

_event(  # to the inspectors of the visit
    "visit.assigned",
    "school activity starts ends",
    _("新的入校督导任务：%(school)s"),
    _("“%(activity)s”安排您于 %(starts)s 至 %(ends)s 到 %(school)s 督导。"),
)
_event(  # to the school; the written notice of order 624, art. 17
    "visit.announced",
    "school activity starts ends",
    _("督导通知：%(activity)s"),
    _("“%(activity)s”将于 %(starts)s 至 %(ends)s 到 %(school)s 督导，请做好准备并确认收到。"),
    requires_ack=True,
)
_event(  # to the school, when an announced visit begins
    "visit.checked_in",
    "school activity inspector",
    _("督学已到校：%(school)s"),
    _("%(inspector)s 已到 %(school)s，开始“%(activity)s”督导。"),
)
_event(  # to the school, at check-in of an unannounced visit: the first it hears of it
    "visit.checked_in_unannounced",
    "school activity inspector",
    _("督学已到校（未预先通知）：%(school)s"),
    _("%(inspector)s 已到 %(school)s，开始“%(activity)s”督导。本次督导未预先通知，请予配合。"),
    urgent=True,
)
_event(  # to the inspectors: the office sends the visit back
    "visit.returned",
    "school activity reason",
    _("任务被退回：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导被退回：%(reason)s"),
    urgent=True,
)
_event(  # to the inspectors
    "visit.reviewed",
    "school activity",
    _("任务已审核：%(school)s"),
    _("“%(activity)s”在 %(school)s 的督导已通过审核。"),
)

# ---- findings -------------------------------------------------------------------------------

_event(  # to the school
    "finding.opened",
    "school finding due",
    _("发现问题，请整改：%(finding)s"),
    _("%(school)s：%(finding)s。请于 %(due)s 前完成整改并提交材料。"),
    urgent=True,
    requires_ack=True,
)
_event(  # to the inspector
    "finding.answered",
    "school finding",
    _("学校已提交整改：%(school)s"),
    _("%(school)s 已就“%(finding)s”提交整改，请核查。"),
)
_event(  # to the school
    "finding.returned",
    "school finding reason due",
    _("整改被退回：%(finding)s"),
    _("%(school)s 关于“%(finding)s”的整改被退回：%(reason)s。请于 %(due)s 前重新提交。"),
    urgent=True,
)
_event(  # to the school and the inspector
    "finding.closed",
    "school finding",
    _("问题已销号：%(finding)s"),
    _("%(school)s 的“%(finding)s”已核查通过并销号。"),
)
_event(  # to the school and the inspector
    "finding.postponed",
    "school finding due",
    _("整改期限已调整：%(finding)s"),
    _("%(school)s 的“%(finding)s”整改期限调整为 %(due)s。"),
)
_event(  # to the school and the inspector
    "finding.withdrawn",
    "school finding reason",
    _("问题已撤销：%(finding)s"),
    _("%(school)s 的“%(finding)s”已撤销：%(reason)s"),
)
_event(  # to the school and the inspector
    "finding.overdue",
    "school finding due",
    _("整改已逾期：%(finding)s"),
    _("%(school)s 的“%(finding)s”应于 %(due)s 前整改，现已逾期。"),
    urgent=True,
)

# ---- care for what photos show ----------------------------------------------------------------

_event(  # to the office that planned the activity; count: files, day: the first of the deletion
    "media.deletion_due",
    "activity count day",
    _("佐证材料保存期满：%(activity)s"),
    _(
        "“%(activity)s”有 %(count)s 份佐证材料保存期满，将于 %(day)s 起删除。如需保留，请在此之前处理。"
    ),
)
_event(  # to the person who asked for it
    "export.ready",
    "activity count day",
    _("导出已完成：%(activity)s"),
    _("“%(activity)s”的 %(count)s 份佐证材料已打包，请于 %(day)s 前下载。"),
)
_event(  # to the person who asked for it
    "export.failed",
    "activity",
    _("导出未完成：%(activity)s"),
    _("“%(activity)s”的佐证材料多次尝试未能打包，请稍后重新导出。"),
)

# ---- outgoing webhooks ----------------------------------------------------------------------

_event(  # to the offices over the endpoint's area; webhook: its description or address
    "webhook.stopped",
    "webhook area reason",
    _("外发推送已停止：%(webhook)s"),
    _("%(area)s 的外发推送“%(webhook)s”已停止：%(reason)s"),
    urgent=True,
)

# ---- written by hand ------------------------------------------------------------------------

_event("announcement", "title body", "%(title)s", "%(body)s")
