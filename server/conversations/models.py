"""Conversations about a visit, a finding or a school: a numbered log of messages, and who read how far.

The log of one conversation is dense: numbers 1, 2, 3, …, given under the lock of its row (ADR 29). What
takes a message away is an entry of the log itself, so that whoever reads on from a number learns of it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.core import clock
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.findings.models import Finding
from server.grid.models import School, User
from server.messaging.models import Device

Person = settings.AUTH_USER_MODEL


class Conversation(Work):
    """The one conversation about its subject, made when it is first used.

    `school_from`: the school's contacts read what has a higher number; null: they may not know of the
    visit yet. `expired_through`: messages up to it were deleted by retention. The work is telling:
    `told_number` was hinted to open sockets, `noticed_number` to those who did not read.
    """

    class Subject(models.TextChoices):
        VISIT = "visit", _("入校任务")
        FINDING = "finding", _("问题")
        SCHOOL = "school", _("学校")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    subject = models.CharField(_("对象"), max_length=8, choices=Subject)
    school = models.ForeignKey(
        School, models.PROTECT, related_name="conversations", verbose_name=_("学校")
    )
    visit = models.OneToOneField(
        Visit, models.PROTECT, null=True, related_name="conversation", verbose_name=_("入校任务")
    )
    finding = models.OneToOneField(
        Finding, models.PROTECT, null=True, related_name="conversation", verbose_name=_("问题")
    )
    school_from = models.BigIntegerField(null=True, editable=False)
    last_number = models.BigIntegerField(default=0, editable=False)
    last_at = models.DateTimeField(_("最近消息"), default=clock.now, editable=False)
    latest = models.ForeignKey(
        "Message", models.SET_NULL, null=True, related_name="+", editable=False, db_index=False
    )
    expired_through = models.BigIntegerField(default=0, editable=False)
    told_number = models.BigIntegerField(default=0, editable=False)
    noticed_number = models.BigIntegerField(default=0, editable=False)
    created_by = models.ForeignKey(Person, models.PROTECT, related_name="+", editable=False)
    created_at = models.DateTimeField(_("开始时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("沟通")
        verbose_name_plural = pgettext_lazy("list", "沟通")
        ordering = ["-last_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["school"],
                condition=Q(subject="school"),
                name="one_conversation_per_school",
            ),
            models.CheckConstraint(
                name="conversation_has_its_subject",
                condition=Q(subject="visit", visit__isnull=False, finding=None)
                | Q(subject="finding", visit=None, finding__isnull=False)
                | Q(subject="school", visit=None, finding=None),
            ),
            models.CheckConstraint(
                name="conversation_numbers_in_order",
                condition=Q(
                    expired_through__lte=F("last_number"),
                    told_number__lte=F("last_number"),
                    noticed_number__lte=F("last_number"),
                ),
            ),
        ]
        indexes = [
            due_index("conversation_due"),
            models.Index(fields=["-last_at", "-id"], name="conversation_latest"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        """What it is about, in short; `visit__activity`, `finding` and `school` should be at hand."""
        if self.visit:
            return f"{self.visit.activity.title} · {self.school.name}"
        return self.finding.title if self.finding else self.school.name

    @property
    def about(self) -> Visit | Finding | School:
        """Its subject itself."""
        return self.visit or self.finding or self.school

    @property
    def activity(self) -> Activity | None:
        """The activity that it belongs to, whose retention holds for it."""
        if self.visit:
            return self.visit.activity
        return self.finding.activity if self.finding else None


class Message(models.Model):
    """An entry of the log. `id` is of the sender's making; the server's clock and number are its order.

    Kind `withdrawn` and `removed` take away the message with `about_number`, `expired` all up to it.
    `sha256` is of what was sent (see `services.digest_of`) and outlives the text: `gone` hides a
    message from every reader at once, `erased_at` says when its text left the database.
    """

    class Kind(models.TextChoices):
        MESSAGE = "message", _("消息")
        WITHDRAWN = "withdrawn", _("撤回")
        REMOVED = "removed", _("移除")
        EXPIRED = "expired", _("保存期满")

    class Gone(models.TextChoices):
        NOT = "", _("未删除")
        WITHDRAWN = "withdrawn", _("已由发送人撤回")
        REMOVED = "removed", _("已由教育督导办移除")
        EXPIRED = "expired", _("保存期满已删除")

    id = models.UUIDField(primary_key=True, default=new_id)
    conversation = models.ForeignKey(
        Conversation, models.PROTECT, related_name="messages", db_index=False
    )
    number = models.BigIntegerField()
    kind = models.CharField(max_length=9, choices=Kind, default=Kind.MESSAGE)
    about_number = models.BigIntegerField(null=True)
    sender = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+", db_index=False)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")
    text = models.TextField(blank=True, default="")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    device_time = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    mentions = models.ManyToManyField(User, related_name="+")
    gone = models.CharField(max_length=9, choices=Gone, blank=True, default=Gone.NOT)
    gone_at = models.DateTimeField(null=True)
    gone_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    gone_reason = models.CharField(max_length=500, blank=True, default="")
    erased_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["conversation", "number"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "number"], name="message_number_once"),
            models.CheckConstraint(
                name="message_has_sender_or_is_about",
                condition=Q(kind="message", sender__isnull=False, about_number=None) & ~Q(sha256="")
                | Q(
                    ~Q(kind="message"),
                    text="",
                    about_number__isnull=False,
                    about_number__lt=F("number"),
                ),
            ),
            models.CheckConstraint(
                name="message_gone_whole",
                condition=Q(gone="", gone_at=None, erased_at=None)
                | ~Q(gone="") & Q(kind="message", gone_at__isnull=False),
            ),
            models.CheckConstraint(
                name="message_erased_is_empty", condition=Q(erased_at=None) | Q(text="")
            ),
        ]
        indexes = [
            models.Index(fields=["sender", "created_at"], name="message_by_sender"),
            models.Index(
                fields=["gone_at"],
                name="message_to_erase",
                condition=~Q(gone="") & Q(erased_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.number}"


class MessageFile(models.Model):
    """A photo, a voice note or a document of a message; each file belongs to one message only."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="files")
    media = models.OneToOneField(MediaObject, models.PROTECT, related_name="message_file")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["message", "position"], name="file_at_one_position")
        ]

    def __str__(self) -> str:
        return f"{self.message_id} {self.position}"


class Member(models.Model):
    """How far a person has read a conversation, and whether they want notices of it. No right of its
    own: who may read follows from the grid each time (queries)."""

    conversation = models.ForeignKey(
        Conversation, models.CASCADE, related_name="members", db_index=False
    )
    user = models.ForeignKey(Person, models.CASCADE, related_name="+")
    read_number = models.BigIntegerField(default=0)
    read_at = models.DateTimeField(null=True)
    muted = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "user"], name="member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.user_id}"
