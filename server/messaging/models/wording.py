"""How an event is worded: versions that are never changed, so that what was sent stays as it was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from server.core.ids import new_id
from server.grid.models import Area
from server.messaging.events import EventKind, event_kind

TITLE_LIMIT = 120
BODY_LIMIT = 2000


class WordingChanged(Exception):
    """Somebody tried to change a version: a mistake of ours."""


class EventWording(models.Model):
    """One version of an event's wording: an area's own, or (without an area) the product's.

    An area has at most one version in force for an event; `resets` marks a version that gave the word
    back to the areas above. Of the product's versions the one whose `digest` is the catalogue's counts.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.CharField(_("事件"), max_length=48)
    area = models.ForeignKey(
        Area,
        models.PROTECT,
        null=True,
        related_name="wordings",
        verbose_name=_("行政区"),
        db_index=False,  # wording_in_force and wording_number begin with what is asked for
    )
    number = models.PositiveIntegerField(_("版本"), default=0)
    title_zh = models.CharField(_("中文标题"), max_length=TITLE_LIMIT)
    body_zh = models.TextField(_("中文正文"))
    title_en = models.CharField(_("英文标题"), max_length=TITLE_LIMIT)
    body_en = models.TextField(_("英文正文"))
    urgent = models.BooleanField(_("紧急"))
    requires_ack = models.BooleanField(_("需要确认"))
    enabled = models.BooleanField(_("发送"), default=True)
    in_force = models.BooleanField(default=False)
    resets = models.BooleanField(default=False)
    digest = models.CharField(max_length=64)
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("修改人"),
    )
    saved_at = models.DateTimeField(_("修改时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("通知模板")
        verbose_name_plural = pgettext_lazy("list", "通知模板")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["event", "area"], condition=Q(in_force=True), name="wording_in_force"
            ),
            models.UniqueConstraint(
                fields=["area", "event", "number"],
                condition=Q(area__isnull=False),
                name="wording_number",
            ),
            models.UniqueConstraint(
                fields=["event", "digest"], condition=Q(area=None), name="wording_of_product"
            ),
            models.CheckConstraint(
                name="wording_in_force_is_an_areas",
                condition=Q(in_force=False) | Q(area__isnull=False, resets=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} · {self.area or _('系统默认')} · {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise WordingChanged
        super().save(*args, **kwargs)


@dataclass(frozen=True)
class Words:
    """The settled facts of a version, kept by this process: a version never changes."""

    event: str
    title: dict[str, str]
    body: dict[str, str]
    urgent: bool
    requires_ack: bool
    enabled: bool

    def kind(self) -> EventKind:
        """The event as it was in force."""
        kind = event_kind(self.event)
        return EventKind(**{**vars(kind), "urgent": self.urgent, "requires_ack": self.requires_ack})


def words_of(version: EventWording) -> Words:
    """What a version says."""
    return Words(
        version.event,
        {"zh": version.title_zh, "en": version.title_en},
        {"zh": version.body_zh, "en": version.body_en},
        version.urgent,
        version.requires_ack,
        version.enabled,
    )


@lru_cache(maxsize=2048)
def known_words(version_id: UUID) -> Words:
    """What the version of this id says; one query for as long as the process lives."""
    return words_of(EventWording.objects.get(pk=version_id))


def language() -> str:
    """Which of a version's two languages the reader gets."""
    return "en" if (get_language() or "").startswith("en") else "zh"
