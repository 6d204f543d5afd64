"""What is not to be sent, or not now: looked at when a delivery's turn has come, not when it is written.

Meanwhile the person may have read the notice, turned the channel off, or gone to bed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from server.core import clock
from server.messaging.models import Delivery, Notice
from server.messaging.outbox import many
from server.messaging.preferences import INTRUSIVE, default_preferences, preferences_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """skip: needless. drop: too late. wait: not before `until`."""

    kind: Literal["skip", "drop", "wait"]
    reason: str = ""
    until: datetime | None = None


def judge(rows: Sequence[Delivery]) -> dict[UUID, Verdict]:
    """By delivery, why it is not sent now; what is missing is to be sent. Two queries.

    What was sent before goes out again because the notice was corrected or recalled: whoever read the
    first text is told too.
    """
    moment, read = clock.now(), _read_by(rows)
    preferences = preferences_of({row.recipient_id for row in rows if row.recipient_id})
    of_groups = default_preferences()
    verdicts: dict[UUID, Verdict] = {}
    for row in rows:
        theirs = preferences[row.recipient_id] if row.recipient_id else of_groups
        if row.notice.state == Notice.State.RECALLED and row.sent_at is None:
            verdicts[row.pk] = Verdict("skip", _("通知已撤回"))
        elif row.sent_at is None and (row.notice_id, row.recipient_id) in read:
            verdicts[row.pk] = Verdict("skip", _("已在收件箱阅读"))
        elif row.channel in theirs.off:
            verdicts[row.pk] = Verdict("skip", _("接收人已关闭此渠道"))
        elif moment >= expiry_of(row):
            verdicts[row.pk] = Verdict("drop", _too_late(row))
        elif _may_ring(row) and theirs.quiet and (until := theirs.quiet.ends_at(moment)):
            verdicts[row.pk] = Verdict("wait", until=until)
    return verdicts


def expiry_of(row: Delivery) -> datetime:
    """Rows of before there was an expiry have one by their age."""
    return row.expires_at or row.created_at + timedelta(hours=settings.DELIVERY_HOURS)


def _may_ring(row: Delivery) -> bool:
    return row.channel in INTRUSIVE and not row.notice.is_urgent


def _too_late(row: Delivery) -> str:
    if row.work_error:
        return _("未能在有效期内发出：%(error)s") % {"error": row.work_error}
    return _("未能在有效期内发出")


def _read_by(rows: Sequence[Delivery]) -> set[tuple[UUID, UUID | None]]:
    """(notice, person) of those whose inbox says read."""
    read = Delivery.objects.filter(
        notice__in={row.notice_id for row in rows},
        recipient__in=many([row.recipient_id for row in rows if row.recipient_id]),
        channel=Delivery.Channel.INBOX,
        read_at__isnull=False,
    )
    return set(read.values_list("notice_id", "recipient_id"))
