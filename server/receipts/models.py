"""Receipts, the days that they are bound in, and the chain's one row."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id
from server.receipts.proof import KEY_KIND, Statement, root


class Chain(models.Model):
    """Where the chain stands: one row, locked by the worker that adds to it and by nobody else.

    `feed_txid` and `feed_id` are the place in the change feed up to which everything has its receipt;
    `patrol` is, for each kind, how far the look for what the feed did not tell has come.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True, default="")
    key = models.CharField(max_length=16, blank=True, default="")
    open_day = models.DateField(null=True)
    day_first = models.BigIntegerField(default=1)
    feed_txid = models.BigIntegerField(default=0)
    feed_id = models.BigIntegerField(default=0)
    patrol = models.JSONField(default=dict)
    patrolled_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    error_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(name="chain_is_one", condition=Q(id=1))]

    def __str__(self) -> str:
        return str(self.position)


class Receipt(models.Model):
    """One signed statement of the chain. `body` is its canonical JSON, byte for byte.

    The other columns repeat what the body says, for queries; `again_at` is when to look whether the
    missing files have come.
    """

    class Kind(models.TextChoices):
        KEY = KEY_KIND, _("签名密钥")
        SUBMISSION = "submission", _("填报")
        CONFLICT = "conflict", _("填报冲突")
        FINDING_ACTION = "finding_action", _("整改记录")
        VISIT_ACTION = "visit_action", _("任务操作记录")

    position = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=16, choices=Kind)
    subject = models.UUIDField()
    sequence = models.PositiveIntegerField()
    day = models.DateField()
    made_at = models.DateTimeField()
    key = models.CharField(max_length=16)
    hash = models.CharField(max_length=64)
    body = models.TextField()
    signature = models.CharField(max_length=128)
    countersignature = models.CharField(max_length=128, blank=True, default="")
    again_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = verbose_name_plural = _("存证凭证")
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject", "sequence"], name="receipt_once_per_sequence"
            ),
            models.CheckConstraint(name="receipt_position_from_one", condition=Q(position__gte=1)),
        ]
        indexes = [
            models.Index(
                fields=["again_at"], name="receipt_again", condition=Q(again_at__isnull=False)
            ),
            models.Index(fields=["position"], name="receipt_keys", condition=Q(kind="key")),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.kind} {self.subject}"

    @property
    def statement(self) -> Statement:
        """As it was signed. Raises Unreadable where the body was changed into something else."""
        return Statement.of(self.body.encode(), self.signature, self.countersignature)


class DayHead(models.Model):
    """A closed day of the chain, signed: the root of its receipts' tree and the hash of the day before.

    `nodes` are the roots of each 256 receipts, 32 bytes each, so that a receipt's way up the tree
    needs no other receipts than its neighbours.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    number = models.PositiveIntegerField(_("序号"), unique=True)
    day = models.DateField(_("日期"), unique=True)
    first = models.BigIntegerField()
    count = models.BigIntegerField(_("凭证数"))
    hash = models.CharField(_("摘要"), max_length=64)
    closed_at = models.DateTimeField(_("封存时间"))
    body = models.TextField()
    signature = models.CharField(max_length=128)
    nodes = models.BinaryField()

    class Meta:
        verbose_name = _("每日存证")
        verbose_name_plural = pgettext_lazy("list", "每日存证")
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"

    @property
    def node_list(self) -> list[bytes]:
        """The nodes one by one."""
        raw = bytes(self.nodes)
        return [raw[start : start + 32] for start in range(0, len(raw), 32)]

    @property
    def root(self) -> str:
        """Over the nodes: what the body's root must be."""
        return root(self.node_list).hex()

    @property
    def statement(self) -> Statement:
        """As it was signed. Raises Unreadable."""
        return Statement.of(self.body.encode(), self.signature)
