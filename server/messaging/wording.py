"""Wording events: what an office may write, which version is in force where, previews.

An office words an event for its area in Chinese and English, with variables in braces: {school}. The
nearest area's wording counts, from the school's town upwards; where none has its own, the catalogue's
(server.messaging.events). Each save is a new version, and a notice keeps the version that was in force
when it was made (ADR 26).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from server.core.audit import AuditAction, audit_action, record_audit
from server.core.errors import Invalid, NotAllowed, NotFound, Problem, Text
from server.grid.models import Area, Membership, User
from server.grid.queries import area_paths, has_role, office_paths, under
from server.messaging.events import EventKind, event_kind, event_kinds
from server.messaging.models.wording import BODY_LIMIT, TITLE_LIMIT, EventWording
from server.messaging.templates import TEXTS, fill, in_braces

WORDING_SAVED = audit_action("wording.saved", gettext_lazy("修改通知模板"))
WORDING_RESET = audit_action("wording.reset", gettext_lazy("恢复默认通知模板"))

Role = Membership.Role


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What an office wants an event to say and to be."""

    title_zh: str
    body_zh: str
    title_en: str
    body_en: str
    urgent: bool
    requires_ack: bool
    enabled: bool = True

    def texts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in TEXTS}

    def digest(self) -> str:
        """Tells drafts apart by all that they say."""
        parts = [*self.texts().values(), self.urgent, self.requires_ack, self.enabled]
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


# ---- which version is in force ------------------------------------------------------------------


def paths_above(path: str) -> list[str]:
    """The area of the path and those above it, the farthest first."""
    return [path[: i + 1] for i, letter in enumerate(path) if letter == "/"]


def version_for(kind: EventKind, path: str = "") -> EventWording | None:
    """The version in force for an area (by its path; "" for none). None: the text is by hand.

    One query, once the product's own version is known to the database.
    """
    if kind.by_hand:
        return None
    rows = EventWording.objects.filter(event=kind.key).filter(
        Q(area=None, digest=shipped(kind.key).digest())
        | Q(area__path__in=paths_above(path), in_force=True)
    )
    found = rows.order_by(F("area__path").desc(nulls_last=True)).first()
    return found or _recorded(kind)


def versions_in_force(path: str) -> dict[str, EventWording]:
    """By event: what is in force in the area, its own or from above; one query for all events.

    Events that nobody there worded are absent.
    """
    rows = EventWording.objects.filter(area__path__in=paths_above(path), in_force=True)
    ordered = rows.select_related("area", "saved_by").order_by("area__path")
    return {row.event: row for row in ordered}  # the nearest comes last


@cache
def shipped(event: str) -> Draft:
    """The catalogue's own wording."""
    kind = event_kind(event)
    texts = {}
    for language, code in (("zh", "zh-hans"), ("en", "en")):
        with override(code):
            texts[language] = in_braces(str(kind.title)), in_braces(str(kind.body))
    return Draft(
        title_zh=texts["zh"][0],
        body_zh=texts["zh"][1],
        title_en=texts["en"][0],
        body_en=texts["en"][1],
        urgent=kind.urgent,
        requires_ack=kind.requires_ack,
    )


def record_catalogue() -> None:
    """Keep the catalogue's wording as versions, so that a later release changes no old notice.

    After each migration; what a newer process words differently meanwhile, it records itself.
    """
    if EventWording._meta.db_table in connection.introspection.table_names():
        EventWording.objects.bulk_create(
            [_version(kind) for kind in event_kinds() if not kind.by_hand], ignore_conflicts=True
        )


def _recorded(kind: EventKind) -> EventWording:
    version = _version(kind)
    values = {name: getattr(version, name) for name in (*TEXTS, "urgent", "requires_ack")}
    return EventWording.objects.get_or_create(
        event=kind.key, area=None, digest=version.digest, defaults=values
    )[0]


def _version(kind: EventKind) -> EventWording:
    draft = shipped(kind.key)
    return EventWording(event=kind.key, area=None, digest=draft.digest(), **vars(draft))


# ---- what an office may do ------------------------------------------------------------------------


def areas_worded_by(user: User) -> QuerySet[Area]:
    """The areas for which the person words events: those of their offices. Town groups read only."""
    if user.is_superuser:
        return Area.objects.all()
    return Area.objects.filter(under(area_paths(user, Role.OFFICE), "path"))


def versions_visible_to(user: User) -> QuerySet[EventWording]:
    """The product's versions, those of the person's offices, and those above that hold there."""
    rows = EventWording.objects.select_related("area", "saved_by")
    if user.is_superuser:
        return rows
    paths = office_paths(user)
    above = [each for path in paths for each in paths_above(path)]
    return rows.filter(Q(area=None) | Q(area__path__in=above) | under(paths, "area__path"))


@transaction.atomic
def save_wording(*, by: User, area_id: UUID, event: str, draft: Draft) -> EventWording:
    """A new version, in force from now on. The same as what is in force changes nothing.

    Raises NotFound (no such event, an area that is not the person's), NotAllowed, Invalid with every
    fault of the texts.
    """
    kind, area = _editable(event), _locked_area(by, area_id)
    problems = list(problems_of(kind, draft))
    if problems:
        raise Invalid(problems=problems)
    current = EventWording.objects.filter(event=event, area=area, in_force=True).first()
    if current and current.digest == draft.digest():
        return current
    version = _next_version(by, area, event, draft, in_force=True)
    _record(WORDING_SAVED, by, version, before=current)
    return version


@transaction.atomic
def reset_wording(*, by: User, area_id: UUID, event: str) -> None:
    """Give the word back to the areas above, and the product's own. Repeating it changes nothing."""
    kind, area = _editable(event), _locked_area(by, area_id)
    current = EventWording.objects.filter(event=kind.key, area=area, in_force=True).first()
    if current is None:
        return
    draft = Draft(**{name: getattr(current, name) for name in (*TEXTS, *_SWITCHES)})
    version = _next_version(by, area, event, draft, in_force=False)
    _record(WORDING_RESET, by, version, before=current)


_SWITCHES = ("urgent", "requires_ack", "enabled")


def _editable(event: str) -> EventKind:
    try:
        kind = event_kind(event)
    except KeyError:
        raise NotFound from None
    if kind.by_hand:
        raise NotAllowed(_("手写的通知没有模板。"))
    return kind


def _locked_area(by: User, area_id: UUID) -> Area:
    """The area, locked, so that its versions are numbered one after the other."""
    if not by.is_superuser and not has_role(by, Role.OFFICE):
        raise NotAllowed(_("只有教育督导办可以修改通知模板。"))
    rows = areas_worded_by(by).select_for_update(of=("self",), no_key=True)
    area = rows.filter(pk=area_id).first()
    if area is None:
        raise NotFound
    return area


def _next_version(
    by: User, area: Area, event: str, draft: Draft, *, in_force: bool
) -> EventWording:
    earlier = EventWording.objects.filter(event=event, area=area)
    last = earlier.aggregate(last=Max("number"))["last"] or 0
    earlier.filter(in_force=True).update(in_force=False)
    return EventWording.objects.create(
        event=event,
        area=area,
        number=last + 1,
        in_force=in_force,
        resets=not in_force,
        digest=draft.digest(),
        saved_by=by,
        **vars(draft),
    )


def _record(
    action: AuditAction, by: User, version: EventWording, before: EventWording | None
) -> None:
    record_audit(
        action,
        by=by,
        subject=("wording", version.pk),
        details={
            "event": version.event,
            "place": str(version.area),
            "version": version.number,
            "before": before.number if before else None,
            **{name: getattr(version, name) for name in (*TEXTS, *_SWITCHES)},
        },
    )


# ---- what is wrong with a text ------------------------------------------------------------------

_BRACES = re.compile(r"\{[^{}]*\}|[{}]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NAMED_AT_MOST = 10
"""Faults of one text that are named: a hostile one has thousands."""


def problems_of(kind: EventKind, draft: Draft) -> Iterator[Problem]:
    """Every fault of what an office wrote, named by its field and its place in the text."""
    for name, text in draft.texts().items():
        limit = TITLE_LIMIT if name.startswith("title") else BODY_LIMIT
        for code, detail in _faults(kind, text, limit, one_line=name.startswith("title")):
            yield Problem(f"/{name}", code, detail)
    if kind.required and not draft.enabled:
        yield Problem("/enabled", "required", _("法规要求发出此通知，不能停用。"))


def _faults(kind: EventKind, text: str, limit: int, *, one_line: bool) -> Iterable[tuple[str, str]]:
    if not text.strip():
        return [("blank", _("请填写。"))]
    if len(text) > limit:
        words = _("最多 %(limit)d 个字，现有 %(length)d 个。")
        return [("too_long", words % {"limit": limit, "length": len(text)})]
    faults = []
    if one_line and ("\n" in text or "\r" in text):
        faults.append(("line_break", _("标题不能换行。")))
    elif _CONTROL.search(text.replace("\r\n", "\n")):
        faults.append(("control_character", _("含有不可见的控制字符，请重新输入。")))
    found = (_fault_of(kind, match[0], text, match.start()) for match in _BRACES.finditer(text))
    named = dict.fromkeys(fault for fault in found if fault)
    return [*faults, *list(named)[:_NAMED_AT_MOST]]


def _fault_of(kind: EventKind, token: str, text: str, place: int) -> tuple[str, str] | None:
    name = token[1:-1]
    if len(token) == 1:
        near = text[max(0, place - 12) : place + 12]
        words = _("大括号不成对，在“%(near)s”处。变量写作 {school}，大括号不能作他用。")
        return "unpaired_brace", words % {"near": near}
    if name in kind.params:
        return None
    known = "、".join(f"{{{each}}}" for each in sorted(kind.params))
    if not name.isidentifier():
        words = _("“%(token)s”不是变量：大括号内只能是变量名。可用：%(known)s")
        return "not_a_variable", words % {"token": token[:40], "known": known}
    words = _("没有变量“%(token)s”。可用：%(known)s")
    return "unknown_variable", words % {"token": token[:40], "known": known}


# ---- previews -----------------------------------------------------------------------------------

SAMPLES: Mapping[str, tuple[str, str]] = {
    "school": ("东河镇中心小学", "Donghe Central Primary School"),
    "activity": ("秋季食品安全督导", "Autumn food safety supervision"),
    "starts": ("2026-11-23", "2026-11-23"),
    "ends": ("2026-11-27", "2026-11-27"),
    "inspector": ("安督学", "Inspector An"),
    "finding": ("食品留样不足 48 小时", "Food samples kept for less than 48 hours"),
    "due": ("2026-12-10", "2026-12-10"),
    "days": ("3", "3"),
    "day": ("2026-12-31", "2026-12-31"),
    "count": ("12", "12"),
    "reason": ("材料不完整", "The records are incomplete"),
    "what": ("食品留样不足 48 小时", "Food samples kept for less than 48 hours"),
    "since": ("2026-11-23 09:00", "2026-11-23 09:00"),
    "waiting": ("白校长", "Principal Bai"),
    "title": ("秋季食品安全督导", "Autumn food safety supervision"),
    "sender": ("安督学", "Inspector An"),
    "webhook": ("县教育门户", "The county’s portal"),
    "office": ("云岭县", "Yunling County"),
}
"""What a preview puts in place of each variable, in both languages."""

NAMES: Mapping[str, Text] = {
    "school": gettext_lazy("学校名称"),
    "activity": gettext_lazy("活动名称"),
    "starts": gettext_lazy("开始日期"),
    "ends": gettext_lazy("结束日期"),
    "inspector": gettext_lazy("督学姓名"),
    "finding": gettext_lazy("问题"),
    "due": gettext_lazy("整改期限"),
    "days": gettext_lazy("剩余工作日"),
    "day": gettext_lazy("日期"),
    "count": gettext_lazy("数量"),
    "reason": gettext_lazy("原因"),
    "what": gettext_lazy("所催办的通知或问题"),
    "since": gettext_lazy("发出时间或期限"),
    "waiting": gettext_lazy("尚未办理的人"),
    "title": gettext_lazy("标题"),
    "sender": gettext_lazy("发言人"),
    "webhook": gettext_lazy("外发推送的名称"),
    "office": gettext_lazy("督导办所在行政区"),
}
"""What each variable stands for."""


def preview(kind: EventKind, draft: Draft) -> dict[str, str]:
    """The four texts of a draft with sample values."""
    samples = {
        language: {name: SAMPLES[name][index] for name in kind.params}
        for index, language in enumerate(("zh", "en"))
    }
    return {name: fill(text, samples[name[-2:]]) for name, text in draft.texts().items()}


def draft_of(version: EventWording | None, event: str) -> Draft:
    """A version's content as a draft to go on from; the catalogue's where there is none."""
    if version is None:
        return shipped(event)
    return Draft(**{name: getattr(version, name) for name in (*TEXTS, *_SWITCHES)})


def areas_shown_to(user: User) -> QuerySet[Area]:
    """The areas whose catalogue the person may look at: those of their offices and groups."""
    if user.is_superuser:
        return Area.objects.all()
    return Area.objects.filter(under(office_paths(user), "path"))


def versions_of(event: str, area: Area) -> Sequence[EventWording]:
    """The area's versions of an event, the newest first."""
    rows = EventWording.objects.filter(event=event, area=area).select_related("saved_by")
    return list(rows.order_by("-number")[:50])
