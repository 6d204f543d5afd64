"""Making receipts: the chain follows the change feed, one worker at a time, and closes its days.

The change feed already says what was received, so the accepting request writes nothing for this. In
one transaction a step locks the chain's row, reads what the feed tells after the place kept there,
adds receipts for what is new, and moves that place on. A crash before the commit leaves nothing of
the step, so the chain can neither fork nor skip. A worker that finds the row locked leaves.

The feed is followed from its beginning, so that everything older gets its receipt as well, in the order
in which it arrived. A patrol goes round all rows by their ids, for what the feed does not tell.

A day is open until midnight (TIME_ZONE) and GRACE have passed and everything that the feed tells of the
time before midnight has its receipt; what came after midnight waits for that. So a day holds what came
on that day, or on an earlier one and found its receipt late.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import takewhile
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django_tasks import task

from server.core import clock, work
from server.core.changes import START, Cursor, newest_settled, settled_after
from server.receipts.contents import SOURCES, Content, Contents, Source, joined, moment
from server.receipts.keys import KeyUnusable, PrivateKey, private_keys
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import (
    DAY,
    KEY_KIND,
    LABELS,
    RECEIPT,
    Json,
    canonical,
    differences,
    key_subject,
    leaf,
    parse,
    root,
    sha256,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5
TURN_SECONDS = 5.0
"""So long a worker makes receipts before it looks after other work."""
CHANGES = 200
"""Rows of the feed in one step."""
GRACE = timedelta(minutes=10)
"""For transactions that were under way at midnight."""
LATE_FILES = timedelta(hours=1)
"""While files are missing, what has come of them is put into a further receipt at most so often."""
PATROL_EVERY = timedelta(minutes=1)
PATROL_ROWS = 1000
NODE_RECEIPTS = 256


# ---- when --------------------------------------------------------------------------------------


def look() -> None:
    """Start a turn where there is something to do. Periodic, in any worker."""
    if has_work():
        extend_task.enqueue()


@task(takes_context=False)
def extend_task() -> None:
    """Django's task behind the look."""
    extend()


def has_work() -> bool:
    """Whether a turn would find something, asked as cheaply as can be."""
    chain = Chain.objects.first()
    if chain is None or chain.open_day is None or chain.patrolled_at is None:
        return True
    now = clock.now()
    return (
        now - chain.patrolled_at >= PATROL_EVERY
        or now >= end_of(chain.open_day) + GRACE
        or bool(settled_after(_cursor(chain), limit=1))
        or Receipt.objects.filter(again_at__lte=now).exists()
    )


def extend(*, seconds: float = TURN_SECONDS) -> int:
    """Make receipts for at most so long. Returns how many steps were taken.

    What prevents it (no key, another key than the chain's) stands in the chain's row for the console.
    """
    stop, steps = time.monotonic() + seconds, 0
    Chain.objects.get_or_create(pk=1)
    try:
        while not work.stopping.is_set() and time.monotonic() < stop and step():
            steps += 1
    except KeyUnusable as error:
        logger.error("receipts: %s", error)
        Chain.objects.update(error=str(error), error_at=clock.now())
    return steps


def end_of(day: date) -> datetime:
    """The midnight at the end of the day, at the county."""
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time())
    return midnight.replace(tzinfo=ZoneInfo(settings.TIME_ZONE))


# ---- one step ----------------------------------------------------------------------------------


@transaction.atomic
def step() -> bool:
    """Take the next step, whole or not at all. False: nothing to do, or another worker is at it."""
    chain = _locked(wait=False)
    if chain is None:
        return False
    writer = Writer.on(chain)
    done = any(do(writer) for do in (_begin, _follow_feed, _close_day, _look_again, _patrol))
    if done or chain.error:
        writer.save()
    return done


def _locked(*, wait: bool) -> Chain | None:
    rows = Chain.objects.select_for_update()
    if not wait and connection.features.has_select_for_update_skip_locked:
        rows = Chain.objects.select_for_update(skip_locked=True)
    return rows.first()


@dataclass
class Writer:
    """The chain's row, locked, and what one step adds to it."""

    chain: Chain
    key: PrivateKey
    now: datetime
    receipts: list[Receipt] = field(default_factory=list)

    @classmethod
    def on(cls, chain: Chain) -> Writer:
        """Raises KeyUnusable."""
        keys = private_keys(make=chain.position == 0)
        if not keys:
            raise KeyUnusable("there is no key: set RECEIPT_KEY or RECEIPT_KEY_FILE")
        key = keys.get(chain.key) if chain.key else next(iter(keys.values()))
        if key is None:
            raise KeyUnusable(
                f"the chain is signed by key {chain.key}, and given are only {', '.join(keys)}"
            )
        return cls(chain, key, clock.now())

    @property
    def day(self) -> date:
        """The chain's open day."""
        assert self.chain.open_day is not None  # noqa: S101 - set with the first receipt
        return self.chain.open_day

    def add(
        self,
        kind: str,
        subject: UUID | str,
        content: Content,
        before: Receipt | None = None,
        *,
        countersigned_by: PrivateKey | None = None,
    ) -> None:
        """Append a receipt, after `before` of the same subject."""
        chain, sequence = self.chain, before.sequence + 1 if before else 1
        body: dict[str, Json] = {
            "type": RECEIPT,
            "position": chain.position + 1,
            "after": chain.last_hash or None,
            "day": self.day.isoformat(),
            "made_at": moment(self.now),
            "key": self.key.id,
            "kind": kind,
            "subject": str(subject),
            "sequence": sequence,
            "previous": before.hash if before else None,
            "content": content,
        }
        raw = canonical(body)
        receipt = Receipt(
            position=chain.position + 1,
            kind=kind,
            subject=UUID(str(subject)),
            sequence=sequence,
            day=self.day,
            made_at=self.now,
            key=self.key.id,
            hash=sha256(raw),
            body=raw.decode(),
            signature=self.key.sign(raw),
            countersignature=countersigned_by.sign(raw) if countersigned_by else "",
        )
        chain.position, chain.last_hash = receipt.position, receipt.hash
        self.receipts.append(receipt)

    def save(self) -> None:
        """Write what was added, and where the chain stands now."""
        Receipt.objects.bulk_create(self.receipts)
        self.receipts = []
        self.chain.error, self.chain.error_at = "", None
        self.chain.save()


def _begin(writer: Writer) -> bool:
    """The first receipt brings the first key, signed by itself."""
    if writer.chain.position:
        return False
    writer.chain.open_day, writer.chain.key = clock.today(), writer.key.id
    writer.add(KEY_KIND, key_subject(writer.key.public), _key_content(writer.key.public))
    return True


def _follow_feed(writer: Writer) -> bool:
    """Receipts for what the feed tells next, up to the end of the open day."""
    chain, end = writer.chain, end_of(writer.day)
    changes = settled_after(_cursor(chain), limit=CHANGES)
    if not changes:
        return _rewind(chain)
    of_the_day = list(takewhile(lambda change: change.at < end, changes))
    if not of_the_day:
        return False
    for source in SOURCES.values():
        told = dict.fromkeys(row.object_id for row in of_the_day if row.type == source.feed)
        if told:
            _append(writer, source, source.told(list(told)))
    chain.feed_txid, chain.feed_id = of_the_day[-1].txid, of_the_day[-1].id
    return True


def _rewind(chain: Chain) -> bool:
    """A place ahead of the feed is that of another cluster (docs/deploy.md): begin anew. What has its
    receipt gets no other."""
    newest: Cursor = newest_settled().values_list("txid", "id").first() or START
    if _cursor(chain) <= newest:
        return False
    chain.feed_txid, chain.feed_id = START
    return newest > START


def _close_day(writer: Writer) -> bool:
    """Sign the open day when it is over and the feed tells nothing more of it."""
    if writer.now < end_of(writer.day) + GRACE:
        return False
    _sign_day(writer)
    return True


def _look_again(writer: Writer) -> bool:
    """What was waiting for its files."""
    if writer.now >= end_of(writer.day):
        return False
    rows = Receipt.objects.filter(again_at__lte=writer.now).order_by("again_at")[:CHANGES]
    waiting: dict[str, list[UUID]] = {}
    for row in rows.only("kind", "subject"):
        waiting.setdefault(row.kind, []).append(row.subject)
    Receipt.objects.filter(pk__in=[row.pk for row in rows]).update(again_at=None)
    for kind, subjects in waiting.items():
        _append(writer, SOURCES[kind], subjects)
    return bool(waiting)


def _patrol(writer: Writer) -> bool:
    """Go on round all rows, for what the feed did not tell: a conflict, a feed that was cut off."""
    chain, now = writer.chain, writer.now
    if now >= end_of(writer.day):
        return False
    if chain.patrolled_at and now - chain.patrolled_at < PATROL_EVERY:
        return False
    chain.patrolled_at = now
    for source in SOURCES.values():
        rows = source.rows().order_by("pk")
        if after := chain.patrol.get(source.kind):
            rows = rows.filter(pk__gt=UUID(after))
        ids = list(rows.values_list("pk", flat=True)[:PATROL_ROWS])
        chain.patrol[source.kind] = str(ids[-1]) if len(ids) == PATROL_ROWS else None
        for part in range(0, len(ids), CHANGES):
            _append(writer, source, ids[part : part + CHANGES])
    return True


def _cursor(chain: Chain) -> Cursor:
    return chain.feed_txid, chain.feed_id


# ---- receipts ----------------------------------------------------------------------------------


def _append(writer: Writer, source: Source, ids: Collection[UUID]) -> None:
    """A receipt for each subject that has none, or to which something was added since its last one."""
    growing, last = source.growing(ids), latest(source.kind, ids)
    wanted: Contents = {}
    for subject, now in growing.items():
        before = last.get(subject)
        if before is None:
            wanted[subject] = now
            continue
        known = parse(before.body.encode())["content"]
        added = _carried_on(known, now)
        if all(known.get(name) == added[name] for name in added.keys() - {LABELS}):
            continue
        if _may_wait(writer, before, known, added):
            again = before.made_at + LATE_FILES
            Receipt.objects.filter(pk=before.pk, again_at=None).update(again_at=again)
        else:
            wanted[subject] = added
    if wanted:
        _append_contents(writer, source, wanted, last)


def _append_contents(
    writer: Writer, source: Source, growing: Contents, last: Mapping[UUID, Receipt]
) -> None:
    fixed = source.fixed(growing.keys())
    for subject in sorted(fixed, key=lambda each: (fixed[each]["received_at"], each)):
        content, before = joined(fixed[subject], growing[subject]), last.get(subject)
        known = parse(before.body.encode())["content"] if before else None
        if known and (wrong := differences(known, content)):
            # A receipt must not make good what was changed behind our back: `verify` shows it.
            places = ", ".join(place for place, _was, _is in wrong)
            logger.error("receipts: %s %s is no longer as signed: %s", source.kind, subject, places)
            continue
        try:
            writer.add(source.kind, subject, content, before)
        except ValueError:  # no valid text: one such name must not stop the chain for all others
            logger.exception("receipts: %s %s", source.kind, subject)


def _carried_on(known: Content, now: Content) -> Content:
    """What there is now; a file that is gone stays in the list of what was received."""
    if "files" not in now:
        return now
    names = {file["name"] for file in now["files"]}
    was = {file["name"]: file["media"] for file in known.get("files", ())}
    files = [
        {"name": file["name"], "media": file["media"] or was.get(file["name"])}
        for file in now["files"]
    ]
    files += [{"name": name, "media": media} for name, media in was.items() if name not in names]
    return {**now, "files": sorted(files, key=lambda file: str(file["name"]))}


def _may_wait(writer: Writer, before: Receipt, known: Content, added: Content) -> bool:
    """Photos come one by one: while some are missing and nothing else is new, there is no hurry."""
    more_to_come = any(file["media"] is None for file in added.get("files", ()))
    only_files = all(known.get(name) == added[name] for name in added.keys() - {LABELS, "files"})
    return more_to_come and only_files and writer.now < before.made_at + LATE_FILES


def latest(kind: str, subjects: Collection[UUID]) -> dict[UUID, Receipt]:
    """The last receipt of each subject that has one."""
    rows = Receipt.objects.filter(kind=kind, subject__in=list(subjects))
    return {row.subject: row for row in rows.order_by("subject", "sequence")}


# ---- days --------------------------------------------------------------------------------------


def _sign_day(writer: Writer) -> None:
    chain, day = writer.chain, writer.day
    before = DayHead.objects.order_by("-number").first()
    nodes = list(_nodes(chain.day_first, chain.position))
    count = chain.position - chain.day_first + 1
    number = before.number + 1 if before else 1
    body: dict[str, Json] = {
        "type": DAY,
        "number": number,
        "day": day.isoformat(),
        "zone": settings.TIME_ZONE,
        "first": chain.day_first,
        "count": count,
        "root": root(nodes).hex(),
        "previous": before.hash if before else None,
        "closed_at": moment(writer.now),
        "key": writer.key.id,
    }
    raw = canonical(body)
    head = DayHead.objects.create(
        number=number,
        day=day,
        first=chain.day_first,
        count=count,
        hash=sha256(raw),
        closed_at=writer.now,
        body=raw.decode(),
        signature=writer.key.sign(raw),
        nodes=b"".join(nodes),
    )
    chain.open_day, chain.day_first = day + timedelta(days=1), chain.position + 1
    # The log lies elsewhere than the database: one more place that remembers the day.
    logger.info("receipts: day %s closed: %s receipts, hash %s", day, count, head.hash)


def _nodes(first: int, last: int) -> Iterator[bytes]:
    """The roots of each 256 receipts from one position to the other."""
    for start in range(first, last + 1, 16 * NODE_RECEIPTS):
        end = min(start + 16 * NODE_RECEIPTS - 1, last)
        rows = Receipt.objects.filter(position__range=(start, end)).order_by("position")
        leaves = [leaf(hash) for hash in rows.values_list("hash", flat=True)]
        for at in range(0, len(leaves), NODE_RECEIPTS):
            yield root(leaves[at : at + NODE_RECEIPTS])


# ---- keys --------------------------------------------------------------------------------------


def _key_content(public: str, **more: Json) -> Content:
    return {"public_key": public, "algorithm": "Ed25519", LABELS: {}, **more}


@transaction.atomic
def rotate(*, to: PrivateKey) -> Receipt:
    """Let the chain go on with another key: the one that it stands on signs this, and so does the new.

    Raises KeyUnusable, also for a key that the chain had before.
    """
    return _change_key(to, lost=False)


@transaction.atomic
def replace_lost_key(*, to: PrivateKey) -> Receipt:
    """Let the chain go on with a key that only signs for itself, because the one before is lost.

    Whoever verifies must be told of the new key by another way. Raises KeyUnusable.
    """
    return _change_key(to, lost=True)


def _change_key(to: PrivateKey, *, lost: bool) -> Receipt:
    chain = _locked(wait=True)
    if chain is None or not chain.position:
        raise KeyUnusable("there is no chain yet: its first key is the one that is given")
    if chain.key == to.id:
        raise KeyUnusable(f"the chain stands on key {to.id} already")
    if Receipt.objects.filter(kind=KEY_KIND, subject=key_subject(to.public)).exists():
        raise KeyUnusable(f"key {to.id} was the chain's before: make a new one")
    writer = Writer(chain, to, clock.now()) if lost else Writer.on(chain)
    content = _key_content(to.public, **({"lost": True} if lost else {}))
    writer.add(KEY_KIND, key_subject(to.public), content, countersigned_by=None if lost else to)
    chain.key = to.id
    writer.save()
    return Receipt.objects.get(pk=chain.position)
