"""Escalation rules: what an office may write, and what a new county begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core import clock
from server.core.audit import audit_action, record_audit
from server.core.errors import Invalid, NotAllowed, NotFound, Problem
from server.grid.models import Area, Membership, User
from server.grid.queries import has_role, office_paths, under
from server.messaging.escalation_rules import DEFAULT_RULES
from server.messaging.events import event_kinds
from server.messaging.models.escalation import (
    EVERY_EVENT,
    LONGEST_WAIT,
    MOST_STEPS,
    EscalationRule,
)
from server.messaging.watching import DEADLINES, watch_what_is_open
from server.messaging.wording import areas_worded_by, paths_above

RULE_SAVED = audit_action("escalation.saved", gettext_lazy("修改催办规则"))

Condition = EscalationRule.Condition
Target = EscalationRule.Target


@dataclass(frozen=True, kw_only=True)
class RuleDraft:
    """What an office wants a rule to be; the fields are the rule's."""

    name: str
    event: str
    condition: str
    after: int
    counting: str
    targets: Sequence[str]
    repeat_after: int
    at_most: int
    everyone: bool = False
    enabled: bool = True


def events_to_escalate() -> list[str]:
    """What a rule may be about: every event, groups, and single ones that are about a school."""
    keys = [
        kind.key
        for kind in event_kinds()
        if "school" in kind.params and not kind.key.startswith("escalation.")
    ]
    groups = dict.fromkeys(f"{key.partition('.')[0]}.*" for key in keys)
    return [EVERY_EVENT, *groups, *keys]


def rules_visible_to(user: User) -> QuerySet[EscalationRule]:
    """The rules of the person's offices and groups, and those above that hold there."""
    rows = EscalationRule.objects.select_related("area", "changed_by")
    if user.is_superuser:
        return rows
    paths = office_paths(user)
    above = [each for path in paths for each in paths_above(path)]
    return rows.filter(Q(area__path__in=above) | under(paths, "area__path"))


def may_change(rule: EscalationRule, user: User) -> bool:
    """Whether the rule belongs to one of the person's offices."""
    return areas_worded_by(user).filter(pk=rule.area_id).exists()


@transaction.atomic
def save_rule(
    *, by: User, draft: RuleDraft, area_id: UUID, rule_id: UUID | None = None
) -> EscalationRule:
    """A new rule, or another content of one; it holds for what is open from now on.

    Raises NotAllowed for who is no office, NotFound for a rule or area of others, Invalid.
    """
    if not by.is_superuser and not has_role(by, Membership.Role.OFFICE):
        raise NotAllowed(_("只有教育督导办可以修改催办规则。"))
    area = areas_worded_by(by).filter(pk=area_id).first()
    if area is None:
        raise NotFound
    problems = list(problems_of(draft))
    if problems:
        raise Invalid(problems=problems)
    rule = EscalationRule(area=area)
    if rule_id:
        mine = EscalationRule.objects.filter(area__in=areas_worded_by(by).values("pk"))
        found = mine.select_for_update(of=("self",)).filter(pk=rule_id).first()
        if found is None:
            raise NotFound
        rule = found
    values = {**vars(draft), "name": draft.name.strip(), "targets": list(draft.targets)}
    for name, value in values.items():
        setattr(rule, name, value)
    rule.area, rule.changed_by = area, by
    rule.save()
    # What it watches is looked at anew, by its new numbers; what it watches no more, goes.
    rule.watched.filter(work_dead_at=None).update(work_due_at=clock.now())
    if rule.enabled:
        watch_what_is_open(rule)
    details = {**values, "target": rule.name, "place": str(area)}
    record_audit(RULE_SAVED, by=by, subject=("rule", rule.pk), details=details)
    return rule


def problems_of(draft: RuleDraft) -> Iterator[Problem]:
    """What is wrong with a rule, by field."""
    if not draft.name.strip() or len(draft.name) > 80:
        yield Problem("/name", "blank", _("请填写名称，最多 80 个字。"))
    if draft.event not in events_to_escalate():
        yield Problem("/event", "unknown", _("没有这个事件。"))
    if draft.condition not in Condition:
        yield Problem("/condition", "unknown", _("没有这个条件。"))
    if draft.condition == Condition.OVERDUE and draft.event not in DEADLINES:
        known = "、".join(DEADLINES)
        yield Problem("/event", "no_deadline", _("“逾期未办”只能用于：%s") % known)
    if draft.counting not in EscalationRule.Counting:
        yield Problem("/counting", "unknown", _("没有这种计时方式。"))
    if (
        draft.condition == Condition.OVERDUE
        and draft.counting == EscalationRule.Counting.OFFICE_HOURS
    ):
        yield Problem("/counting", "no_hours", _("逾期按天计算，请选择日历时间或工作日。"))
    unknown = [each for each in draft.targets if each not in Target]
    if unknown or not draft.targets or len(set(draft.targets)) != len(draft.targets):
        yield Problem("/targets", "unknown", _("请选择依次通知谁，每个只选一次。"))
    for name, most in (
        ("after", LONGEST_WAIT),
        ("repeat_after", LONGEST_WAIT),
        ("at_most", MOST_STEPS),
    ):
        if not 1 <= getattr(draft, name) <= most:
            yield Problem(f"/{name}", "out_of_range", _("应为 1 到 %d。") % most)


def give_default_rules(area: Area) -> None:
    """A new county begins with rules that make sense; its office changes them or switches them off."""
    if area.level == Area.Level.COUNTY and not area.escalation_rules.exists():
        EscalationRule.objects.bulk_create(
            EscalationRule(area=area, **values) for values in DEFAULT_RULES
        )
