"""The audit log: who did what to which object, when and from where. It only grows.

A service writes its entry with `record_audit`, in its own transaction: what is rolled back was not
done. Actions are a closed registry, as errors are: each has one code and one sentence.

    OPENED = audit_action("media.original_opened", _("查看原图"))
    record_audit(OPENED, by=person, subject=("media", media.pk), school_id=…, details={"reason": …})

The ORM refuses to change or delete an entry, and so does the database, by a trigger
(migration 0002_audit). Who owns the database can still drop the trigger: keep backups elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.errors import Text

BATCH = 1000


@dataclass(frozen=True)
class AuditAction:
    """Something that is recorded: its code, and what people read."""

    code: str
    words: Text


_actions: dict[str, AuditAction] = {}


def audit_action(code: str, words: Text) -> AuditAction:
    """Add an action to the registry. Raises TypeError for a code that is taken."""
    action = AuditAction(code, words)
    if _actions.setdefault(code, action) is not action:
        raise TypeError(f"audit action {code!r} is taken")
    return action


def audit_actions() -> Mapping[str, AuditAction]:
    """Every action by its code."""
    return _actions


# ---- where a request comes from --------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """The request behind a deed. `session` is a digest of a browser's session, never its key."""

    request_id: str = ""
    device_id: UUID | None = None
    session: str = ""
    ip: str | None = None


_origin: ContextVar[Callable[[], Origin] | None] = ContextVar("audit_origin", default=None)


@contextmanager
def coming_from(origin: Callable[[], Origin]) -> Iterator[None]:
    """For the length of the block, entries say that they come from there; asked only when written."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def session_digest(session_key: str | None) -> str:
    """Tells sessions apart in the log and opens none."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:16] if session_key else ""


# ---- the log ---------------------------------------------------------------------------------


class AppendOnly(Exception):
    """Somebody tried to change or delete an entry: a mistake of ours."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **_values: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly


class AuditEntry(models.Model):
    """One deed. Plain ids and the name of that time: what is deleted later must not take it along."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("时间"), default=clock.now, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("操作人"),
    )
    by_name = models.CharField(_("操作人"), max_length=64, blank=True, default="")
    device_id = models.UUIDField(_("设备"), null=True)
    session = models.CharField(_("会话"), max_length=16, blank=True, default="")
    action = models.CharField(_("操作"), max_length=40)
    object_type = models.CharField(_("对象类型"), max_length=24)
    object_id = models.UUIDField(_("对象"), null=True)
    school_id = models.UUIDField(null=True)
    activity_id = models.UUIDField(null=True)
    details = models.JSONField(_("详情"), default=dict)
    request_id = models.CharField(_("请求编号"), max_length=64, blank=True, default="")
    ip = models.GenericIPAddressField(_("IP 地址"), null=True)

    objects: ClassVar[Any] = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = _("操作日志")
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["at", "id"], name="audit_by_time"),
            models.Index(fields=["object_type", "object_id", "at"], name="audit_by_object"),
            models.Index(fields=["by", "at"], name="audit_by_person"),
            models.Index(fields=["school_id", "at"], name="audit_by_school"),
            models.Index(fields=["activity_id", "at"], name="audit_by_activity"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    @property
    def words(self) -> Text:
        """What was done, as people read it."""
        action = _actions.get(self.action)
        return action.words if action else self.action


@dataclass(frozen=True)
class Subject:
    """What a deed was done to, and where it belongs in the grid."""

    type: str
    id: UUID | None
    school_id: UUID | None = None
    activity_id: UUID | None = None
    details: Mapping[str, Any] | None = None


def record_audit(
    action: AuditAction,
    *,
    by: Any,
    subject: tuple[str, UUID | None],
    school_id: UUID | None = None,
    activity_id: UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append one entry, in the caller's transaction. `by`: the person, None for the server itself.

    `details` is JSON: what a reader needs to understand the deed once the object is gone.
    """
    entry = _entry(action, by, Subject(*subject, school_id, activity_id, details), _asked())
    entry.save(force_insert=True)
    return entry


def record_audits(action: AuditAction, *, by: Any, subjects: Iterable[Subject]) -> int:
    """The same deed on many objects: one entry each. Returns how many."""
    origin = _asked()
    entries = [_entry(action, by, subject, origin) for subject in subjects]
    AuditEntry.objects.bulk_create(entries, batch_size=BATCH)
    return len(entries)


def _asked() -> Origin:
    ask = _origin.get()
    return ask() if ask else Origin()


def _entry(action: AuditAction, by: Any, subject: Subject, origin: Origin) -> AuditEntry:
    if _actions.get(action.code) is not action:
        raise TypeError(f"not in the registry: {action.code}")
    return AuditEntry(
        at=clock.now(),
        by=by,
        by_name=by.get_full_name()[:64] if by else "",
        device_id=origin.device_id,
        session=origin.session,
        action=action.code,
        object_type=subject.type,
        object_id=subject.id,
        school_id=subject.school_id,
        activity_id=subject.activity_id,
        details=dict(subject.details or {}),
        request_id=origin.request_id,
        ip=origin.ip,
    )
