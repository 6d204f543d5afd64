"""Chat groups of schools and offices: who may set them up, adding a robot, trying it, taking it away.

The address of a robot goes in and never comes out: not to pages, the API, logs or the audit log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core import clock
from server.core.audit import AuditAction, audit_action, record_audit
from server.core.errors import Conflict, ContentConflict, Invalid, NotFound, Problem
from server.core.hosts import AddressRefused, NoAnswer, check_host
from server.core.secrets import register_sealed, seal
from server.core.work import WorkFailure
from server.grid.models import Area, School, User
from server.grid.queries import Role, area_paths, schools_in_office_of, schools_of_contact, under
from server.messaging.channels import robots
from server.messaging.channels.texts import Text
from server.messaging.models import ChatGroup

ADDED = audit_action("group.added", gettext_lazy("添加群聊机器人"))
CHANGED = audit_action("group.changed", gettext_lazy("修改群聊设置"))
TESTED = audit_action("group.tested", gettext_lazy("测试群聊机器人"))
DELETED = audit_action("group.deleted", gettext_lazy("删除群聊机器人"))

TEST_EVERY_SECONDS = 10
MOST_PER_PLACE = 10


class TooSoon(Conflict):
    code = "test_too_soon"
    title = gettext_lazy("刚刚测试过，请 10 秒后再试")


# ---- who may see and set up ------------------------------------------------------------------


def chat_groups_managed_by(user: User) -> QuerySet[ChatGroup]:
    """Groups of the schools whose contact the person is or over which they speak as an office, and
    those of the areas of which they are the office.
    """
    rows = ChatGroup.objects.filter(deleted_at=None).select_related("school", "area")
    if user.is_superuser:
        return rows
    return rows.filter(
        Q(school__in=schools_managed_by(user).values("pk"))
        | Q(area__in=areas_managed_by(user).values("pk"))
    )


def schools_managed_by(user: User) -> QuerySet[School]:
    """Schools whose channels the person sets up: as their contact, or as an office over them."""
    return School.objects.filter(
        Q(pk__in=schools_in_office_of(user).values("pk"))
        | Q(pk__in=schools_of_contact(user).values("pk"))
    )


def areas_managed_by(user: User) -> QuerySet[Area]:
    """Areas whose channels the person sets up: those of their office, and those below it."""
    if user.is_superuser:
        return Area.objects.all()
    return Area.objects.filter(under(area_paths(user, Role.OFFICE, Role.TOWN_GROUP), "path"))


def managed_group(group_id: UUID, *, by: User) -> ChatGroup:
    """Raises NotFound."""
    group = chat_groups_managed_by(by).filter(pk=group_id).first()
    if group is None:
        raise NotFound
    return group


# ---- setting up ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False)
class RobotGiven:
    """What somebody pasted. It has no repr: it is secret."""

    webhook: str
    sign_secret: str = ""
    keyword: str = ""


def add_chat_group(
    *,
    group_id: UUID,
    by: User,
    name: str,
    robot: RobotGiven,
    school_id: UUID | None = None,
    area_id: UUID | None = None,
    language: str = "zh-hans",
    takes_announcements: bool = False,
) -> ChatGroup:
    """Let a robot speak in the group of a school or an office.

    The same id with the same content is the same group. Raises NotFound, Invalid, ContentConflict.
    """
    place = _place(by, school_id, area_id)
    kind = _checked(robot)
    secret = {
        "url": robot.webhook.strip(),
        "sign_secret": robot.sign_secret.strip(),
        "keyword": robot.keyword.strip(),
    }
    with transaction.atomic():
        known = ChatGroup.objects.select_for_update().filter(pk=group_id).first()
        fingerprint = robots.fingerprint_of(robot.webhook)
        if known is not None:
            if (known.name, known.fingerprint) != (name.strip(), fingerprint):
                raise ContentConflict
            return managed_group(group_id, by=by)
        _check_room(place)
        try:
            with transaction.atomic():
                group = ChatGroup.objects.create(
                    id=group_id,
                    kind=kind,
                    name=name.strip(),
                    secret=seal(json.dumps(secret), purpose=robots.PURPOSE),
                    fingerprint=fingerprint,
                    language=language,
                    takes_announcements=takes_announcements,
                    created_by=by,
                    **place,
                )
        except IntegrityError:
            taken = Problem("/webhook", "taken", _("此机器人已经添加过"))
            raise Invalid(problems=[taken]) from None
        _record(ADDED, group, by)
    return group


def set_chat_group(
    *,
    group_id: UUID,
    by: User,
    enabled: bool | None = None,
    takes_announcements: bool | None = None,
) -> ChatGroup:
    """Let the robot speak or be silent, with announcements or without. Raises NotFound."""
    wanted = {"enabled": enabled, "takes_announcements": takes_announcements}
    with transaction.atomic():
        group = _locked(group_id, by)
        changes = {
            field: value
            for field, value in wanted.items()
            if value is not None and getattr(group, field) != value
        }
        if not changes:
            return group
        for field, value in changes.items():
            setattr(group, field, value)
        if group.enabled:
            group.disabled_reason = ""
        elif "enabled" in changes:
            group.disabled_reason = _("由 %(name)s 停用") % {"name": by}
        group.save(update_fields=[*changes, "disabled_reason"])
        _record(CHANGED, group, by, **changes)
    return group


def delete_chat_group(*, group_id: UUID, by: User) -> None:
    """Forget the robot; the row stays for what was delivered. Raises NotFound."""
    with transaction.atomic():
        group = _locked(group_id, by)
        group.secret = group.fingerprint = ""
        group.enabled, group.deleted_at = False, clock.now()
        group.disabled_reason = _("由 %(name)s 删除") % {"name": by}
        group.save(
            update_fields=["secret", "fingerprint", "enabled", "deleted_at", "disabled_reason"]
        )
        _record(DELETED, group, by)


def try_chat_group(*, group_id: UUID, by: User) -> ChatGroup:
    """Say a word in the group now, and keep what the platform answered, in words.

    Raises NotFound, TooSoon.
    """
    with transaction.atomic():
        group = _locked(group_id, by)
        moment = clock.now()
        if group.tested_at and (moment - group.tested_at).total_seconds() < TEST_EVERY_SECONDS:
            raise TooSoon
        group.tested_at = moment
        group.save(update_fields=["tested_at"])
    passed, answer = _try(group, by)  # outside of any transaction: the platform may be slow
    with transaction.atomic():
        rows = ChatGroup.objects.filter(pk=group.pk, deleted_at=None)
        rows.update(test_passed=passed, test_answer=answer[:500])
        _record(TESTED, group, by, passed=passed)
    group.refresh_from_db()
    return group


def _try(group: ChatGroup, by: User) -> tuple[bool, str]:
    with translation.override(group.language):
        text = Text(
            _("督学平台测试消息"),
            _("%(by)s 为“%(place)s”添加了本机器人。看到这条消息，说明通知可以送达本群。")
            % {"by": by, "place": group.school or group.area},
            "",
        )
    try:
        robots.speak(robots.robot_of(group), robots.Speech(text))
    except WorkFailure as failure:
        return False, str(failure)
    return True, _("平台已接收。请在群里确认看到了测试消息。")


# ---- checks ----------------------------------------------------------------------------------


def _place(by: User, school_id: UUID | None, area_id: UUID | None) -> dict[str, School | Area]:
    place: School | Area | None = None
    if school_id is not None:
        place = schools_managed_by(by).filter(pk=school_id).first()
    elif area_id is not None:
        place = areas_managed_by(by).filter(pk=area_id).first()
    if place is None:
        raise NotFound
    return {"school": place} if isinstance(place, School) else {"area": place}


def _checked(robot: RobotGiven) -> str:
    """The platform, once the address was looked at: its form, and where its name leads."""
    try:
        kind = robots.parse_webhook(robot.webhook)
        host, port = robots.host_of(robot.webhook)
        check_host(host, port)
    except robots.WebhookRefused as refusal:
        raise Invalid(problems=[Problem("/webhook", "invalid", str(refusal))]) from None
    except AddressRefused:
        words = _("地址指向内部网络，已拒绝")
        raise Invalid(problems=[Problem("/webhook", "private", words)]) from None
    except NoAnswer:
        pass  # no name service just now: the test tells, and every sending looks again
    if kind == ChatGroup.Kind.WECOM and robot.sign_secret.strip():
        words = _("企业微信群机器人没有加签密钥，请留空")
        raise Invalid(problems=[Problem("/sign_secret", "invalid", words)])
    return kind


def _check_room(place: dict[str, School | Area]) -> None:
    if ChatGroup.objects.filter(deleted_at=None, **place).count() >= MOST_PER_PLACE:
        words = _("最多添加 %(n)s 个群机器人，请先删除不用的") % {"n": MOST_PER_PLACE}
        raise Invalid(problems=[Problem("/webhook", "too_many", words)])


def _locked(group_id: UUID, by: User) -> ChatGroup:
    group = chat_groups_managed_by(by).select_for_update(of=("self",)).filter(pk=group_id).first()
    if group is None:
        raise NotFound
    return group


def _record(action: AuditAction, group: ChatGroup, by: User, **details: object) -> None:
    place = group.school or group.area
    record_audit(
        action,
        by=by,
        subject=("chat_group", group.pk),
        school_id=group.school_id,
        details={"name": group.name, "kind": group.kind, "place": str(place), **details},
    )


def register() -> None:
    """Let the rotation of keys know the column."""
    register_sealed("messaging.ChatGroup", "secret", purpose=robots.PURPOSE)
