"""Checking the database and the store against the receipts: changed, missing, more than there was.

Nothing is locked: what is added while it runs is left to the next run.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from media_storage.absence import explain_absence
from media_storage.models import MediaObject
from media_storage.stores import ObjectMissing, get_store
from server.activities.models import Submission
from server.core import clock
from server.core.changes import settled_after
from server.receipts.chain import latest
from server.receipts.contents import SOURCES, Source, contents_of
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import (
    Anchors,
    Flaw,
    Keys,
    Report,
    Statement,
    Unreadable,
    Walk,
    brief,
    check_days,
    check_sequence,
    check_signature,
    differences,
    is_proved,
    key_id,
)
from server.receipts.queries import Proofs, key_receipts, receipts_of

BATCH = 200
READERS = 4
NAMED = 20
SETTLED = timedelta(days=1)
"""What has no receipt after so long never got one."""


@dataclass(frozen=True)
class Objects:
    """Which of the received files are read again from the store: all, so many at random, or none."""

    every: bool = False
    sample: int = 0


@dataclass(frozen=True)
class _File:
    """A file as a receipt lists it."""

    id: UUID
    sha256: str
    size: int
    where: str
    name: str


def check_everything(
    *, objects: Objects = Objects(), keys: Collection[str] = (), anchors: Anchors | None = None
) -> Report:
    """The whole chain, and everything that it speaks of.

    Raises StoreUnavailable where objects are to be read and the store does not answer.
    """
    return _Check(objects, keys, anchors or Anchors()).report()


# ---- the chain ---------------------------------------------------------------------------------


@dataclass
class _Check:
    """One run over the whole chain."""

    objects: Objects
    trusted: Collection[str]
    anchors: Anchors
    result: Report = field(default_factory=Report)
    sampled: list[_File] = field(default_factory=list)
    files: int = 0
    late: int = 0
    certified: dict[UUID, str] = field(default_factory=dict)

    def report(self) -> Report:
        chain = Chain.objects.first() or Chain()
        keys = self._keys()
        days = self._days(chain, keys)
        walk = Walk(keys, days, whole=True)
        last = 0
        while batch := self._batch(last, chain.position):
            self._check_batch(batch, walk)
            last = batch[-1].position
        self._note(walk.end_day())
        self._note(self._check_ends(chain, walk))
        self._note(self.anchors.check_absent())
        self._note(self._check_unreceipted(chain))
        if self.sampled:
            self._check_objects(self.sampled)
        self._count(walk, days, keys)
        return self.result

    def _note(self, flaws: Iterator[Flaw]) -> None:
        self.result.flaws += flaws

    def _keys(self) -> Keys:
        keys = Keys()
        for row in key_receipts():
            statement = self._statement(row)
            if statement:
                self._note(keys.add(statement))
        if self.trusted:
            self._note(keys.check_trust(self.trusted))
        return keys

    def _days(self, chain: Chain, keys: Keys) -> dict[str, Statement]:
        """Those closed before the chain's open day."""
        rows = DayHead.objects.order_by("number")
        if chain.open_day:
            rows = rows.filter(day__lt=chain.open_day)
        days = []
        for row in rows.iterator():
            statement = self._statement(row)
            if statement:
                days.append(statement)
        self._note(check_days(days, keys))
        by_day = {day.body["day"]: day for day in days}
        self._note(self.anchors.check_days(by_day))
        return by_day

    def _batch(self, after: int, last: int) -> list[Receipt]:
        rows = Receipt.objects.filter(position__gt=after, position__lte=last)
        return list(rows.order_by("position")[:BATCH])

    def _check_batch(self, batch: Sequence[Receipt], walk: Walk) -> None:
        before = _predecessors(batch)
        statements: dict[int, Statement] = {}
        for row in batch:
            statement = self._statement(row)
            if statement is None:
                continue
            statements[row.position] = statement
            self._note(walk.step(statement, None, before))
            self._note(self.anchors.check_receipt(statement))
            self.late += _is_late(statement)
        for kind, source in SOURCES.items():
            rows = [row for row in batch if row.kind == kind and row.position in statements]
            last = latest(kind, {row.subject for row in rows})
            newest = {
                row.subject: statements[row.position]
                for row in rows
                if last[row.subject].position == row.position
            }
            if newest:
                self._check_contents(source, newest)

    def _check_contents(self, source: Source, newest: Mapping[UUID, Statement]) -> None:
        flaws, explained = check_contents(source, newest)
        self.result.flaws += flaws
        self.certified |= explained
        files = [each for statement in newest.values() for each in _files(statement)]
        files = [each for each in files if each.id not in explained]
        self.files += len(files)
        if self.objects.every and files:
            self._check_objects(files)
        elif self.objects.sample:
            self._draw(files)

    def _draw(self, files: Sequence[_File]) -> None:
        """Each file of all has the same chance to be among the sample."""
        for number, file in enumerate(files, start=self.files - len(files) + 1):
            if len(self.sampled) < self.objects.sample:
                self.sampled.append(file)
            elif (place := secrets.randbelow(number)) < self.objects.sample:
                self.sampled[place] = file

    def _check_objects(self, files: Sequence[_File]) -> None:
        flaws, certified, size = check_objects(files)
        self.result.flaws += flaws
        self.certified |= certified
        counts = self.result.counts
        counts["objects read"] = counts.get("objects read", 0) + len(files)
        counts["bytes read"] = counts.get("bytes read", 0) + size

    def _check_ends(self, chain: Chain, walk: Walk) -> Iterator[Flaw]:
        """The chain's row knows where the chain ends, until somebody changes it as well."""
        last = walk.before
        position, hash = (last.body["position"], last.hash) if last else (0, "")
        if (position, hash) != (chain.position, chain.last_hash):
            yield Flaw("missing", "the chain", f"ends at receipt {position}, not {chain.position}")
        keys = walk.keys.public
        if chain.key != (key_id(keys[-1]) if keys else ""):
            yield Flaw("key", "the chain", f"stands on key {chain.key}, which is not its last")
        head = max(walk.days.values(), key=lambda day: int(day.body["number"]), default=None)
        first = head.body["first"] + head.body["count"] if head else 1
        day = datetime.fromisoformat(head.body["day"]).date() if head else None
        if first != chain.day_first or (day and day + timedelta(days=1) != chain.open_day):
            yield Flaw("missing", "the chain", f"the last day is {day}, open is {chain.open_day}")
        if Chain.objects.filter(position=chain.position, open_day=chain.open_day).exists():
            if Receipt.objects.filter(position__gt=chain.position).exists():
                yield Flaw("extra", "the chain", "receipts behind its end")
            if chain.open_day and DayHead.objects.filter(day__gte=chain.open_day).exists():
                yield Flaw("extra", "the chain", "days that are not over")

    def _check_unreceipted(self, chain: Chain) -> Iterator[Flaw]:
        """What no receipt speaks of: on its way, or put in by hand."""
        behind = bool(settled_after((chain.feed_txid, chain.feed_id), limit=1))
        waiting = 0
        for kind, source in SOURCES.items():
            rows = _without_receipt(source)
            old = rows.filter(received_at__lt=clock.now() - SETTLED)
            waiting += rows.count()
            if behind:
                continue
            for pk in old.order_by("pk").values_list("pk", flat=True)[:BATCH]:
                waiting -= 1
                yield Flaw("extra", f"{kind} {pk}", "no receipt speaks of it")
        self.result.counts["waiting for a receipt"] = waiting

    def _count(self, walk: Walk, days: Mapping[str, Statement], keys: Keys) -> None:
        self.result.counts = {
            "receipts": Receipt.objects.count(),
            "days": len(days),
            "keys": len(keys.public),
            "files": self.files,
            **self.result.counts,
        }
        if self.certified:
            self.result.counts["files deleted with a certificate"] = len(self.certified)
            for media_id, why in list(self.certified.items())[:NAMED]:
                self.result.notes.append(f"media {media_id} was deleted: {why}")
        if self.late:
            self.result.notes.append(
                f"{self.late} receipts were made more than a day after what they are for arrived: "
                "they prove its state since then"
            )

    # ---- rows ------------------------------------------------------------------------------

    def _statement(self, row: Receipt | DayHead) -> Statement | None:
        """What was signed, with flaws for columns that say something else."""
        try:
            statement = row.statement
        except Unreadable as error:
            self.result.flaws.append(
                Flaw("format", f"{row._meta.model_name} {row.pk}", f"not readable: {error}")
            )
            return None
        if wrong := column_differences(row, statement):
            what = f"columns that say something else: {', '.join(wrong)}"
            self.result.flaws.append(Flaw("changed", statement.where, what))
        return statement


def column_differences(row: Receipt | DayHead, statement: Statement) -> list[str]:
    """The columns that do not say what the signed body says."""
    body = statement.body
    expected: dict[str, object] = {"hash": statement.hash, "day": body["day"]}
    if isinstance(row, Receipt):
        names: tuple[str, ...] = ("position", "kind", "subject", "sequence", "key")
        moment, made = row.made_at, body["made_at"]
    else:
        names = ("number", "first", "count")
        moment, made = row.closed_at, body["closed_at"]
        expected["root"] = body["root"]
    expected |= {name: str(body[name]) for name in names}
    found = {name: str(getattr(row, name)) for name in expected}
    wrong = [name for name in expected if found[name] != expected[name]]
    return wrong + ([] if _moment(made) == moment else ["moment"])


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _predecessors(batch: Sequence[Receipt]) -> Callable[[Statement], Statement | None]:
    """The receipts before those of the batch, of the same subjects, read at once."""
    wanted = Q(pk__in=[])
    for row in batch:
        if row.sequence > 1:
            wanted |= Q(kind=row.kind, subject=row.subject, sequence=row.sequence - 1)
    found: dict[tuple[str, str, int], Statement] = {}
    for row in Receipt.objects.filter(wanted):
        try:
            found[row.kind, str(row.subject), row.sequence] = row.statement
        except Unreadable:
            continue

    def before(receipt: Statement) -> Statement | None:
        body = receipt.body
        return found.get((body["kind"], body["subject"], body["sequence"] - 1))

    return before


def _is_late(statement: Statement) -> bool:
    body = statement.body
    received = _moment(str(body["content"].get("received_at") or ""))
    made = _moment(body["made_at"])
    return bool(body["sequence"] == 1 and received and made and made - received > SETTLED)


def _without_receipt(source: Source) -> QuerySet[Submission]:
    own = Receipt.objects.filter(kind=source.kind, subject=OuterRef("pk"))
    rows: QuerySet[Submission] = source.rows()
    return rows.filter(~Exists(own))


# ---- contents ----------------------------------------------------------------------------------


def check_contents(
    source: Source, newest: Mapping[UUID, Statement]
) -> tuple[list[Flaw], dict[UUID, str]]:
    """Compare rows with their last receipts. The flaws, and the files deleted with a certificate."""
    flaws: list[Flaw] = []
    gone: dict[UUID, Flaw] = {}
    contents = contents_of(source, newest.keys())
    for subject, statement in newest.items():
        if subject not in contents:
            flaws.append(Flaw("missing", statement.where, "what it is for is not there"))
            continue
        for place, was, now in differences(statement.body["content"], contents[subject]):
            what = f"{place}: {brief(was)} when it was signed, {brief(now)} now"
            if place.startswith("files/") and isinstance(was, dict) and now is None:
                gone[UUID(was["id"])] = Flaw("missing", statement.where, what, place)
            else:
                code = "extra" if place.startswith("files/") and was is None and now else "changed"
                flaws.append(Flaw(code, statement.where, what, place))
    explained = explain_absence(gone.keys()) if gone else {}
    flaws += [flaw for media_id, flaw in gone.items() if media_id not in explained]
    return flaws, {id: why for id, why in explained.items() if id in gone}


def _files(statement: Statement) -> list[_File]:
    return [
        _File(
            UUID(file["media"]["id"]),
            file["media"]["sha256"],
            file["media"]["size"],
            statement.where,
            file["name"],
        )
        for file in statement.body["content"].get("files", ())
        if file["media"]
    ]


def check_objects(files: Sequence[_File]) -> tuple[list[Flaw], dict[UUID, str], int]:
    """Read the files again from the store and compare their SHA-256.

    The flaws, the files that were deleted with a certificate, how many bytes were read.
    """
    keys = {
        row.pk: row.key
        for row in MediaObject.objects.filter(pk__in=[file.id for file in files]).only("key")
    }
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(_measure, [keys.get(file.id) for file in files]))
    absent = [file.id for file, measured in zip(files, found, strict=True) if measured is None]
    explained = explain_absence(absent) if absent else {}
    flaws = []
    for file, measured in zip(files, found, strict=True):
        place = f"files/{file.name}"
        if measured is None and file.id not in explained:
            flaws.append(Flaw("missing", file.where, f"{place}: not in the store", place))
        elif measured and measured != (file.sha256, file.size):
            flaws.append(
                Flaw("changed", file.where, f"{place}: the store holds {measured[0]}", place)
            )
    certified = {id: why for id, why in explained.items() if id in absent}
    return flaws, certified, sum(measured[1] for measured in found if measured)


def _measure(key: str | None) -> tuple[str, int] | None:
    """(SHA-256, size) of what lies under the key; None where there is nothing."""
    if key is None:
        return None
    hash, size = hashlib.sha256(), 0
    try:
        for chunk in get_store().read(key):
            hash.update(chunk)
            size += len(chunk)
    except (ObjectMissing, ValueError):  # nothing there, or no place where anything could be
        return None
    return hash.hexdigest(), size


# ---- one submission ----------------------------------------------------------------------------


def check_submission(submission: Submission, *, most_bytes: int) -> Report:
    """Its receipts, their days, its rows and as many of its files as `most_bytes` allow.

    Raises StoreUnavailable.
    """
    check, rows = _Check(Objects(), (), Anchors()), list(receipts_of(submission).order_by("pk"))
    keys, proofs, result = check._keys(), Proofs(), check.result
    statements = {row.pk: check._statement(row) for row in rows}
    before = _predecessors(rows)
    for row in rows:
        statement = statements[row.pk]
        if statement is not None:
            result.flaws += check_signature(statement, keys.signer_at(row.position))
            result.flaws += check_sequence(statement, before)
            result.flaws += _check_neighbours(row, statement)
            result.flaws += _check_proof(row, statement, proofs, check, keys)
    last = {(row.kind, row.subject): statements[row.pk] for row in rows}
    read = left = 0
    for kind, source in SOURCES.items():
        newest = {
            subject: statement
            for (each, subject), statement in last.items()
            if each == kind and statement
        }
        flaws, explained = check_contents(source, newest)
        result.flaws += flaws
        check.certified |= explained
        for statement in newest.values():
            files = [file for file in _files(statement) if file.id not in explained]
            chosen = _within(files, most_bytes - read)
            left += len(files) - len(chosen)
            flaws, certified, size = check_objects(chosen)
            result.flaws += flaws
            check.certified |= certified
            read += size
            check.files += len(chosen)
    result.counts = {
        "receipts": len(rows),
        "files": check.files,
        "bytes": read,
        "not read": left,
        "certified": len(check.certified),
    }
    return result


def _within(files: Sequence[_File], most_bytes: int) -> list[_File]:
    chosen = []
    for file in files:
        most_bytes -= file.size
        if most_bytes < 0:
            break
        chosen.append(file)
    return chosen


def _check_neighbours(row: Receipt, statement: Statement) -> Iterator[Flaw]:
    """The receipts before and behind it in the chain are bound to it."""
    rows = Receipt.objects.filter(position__in=[row.position - 1, row.position + 1])
    near = {each.position: each for each in rows}
    before, behind = near.get(row.position - 1), near.get(row.position + 1)
    if (before.hash if before else None) != statement.body["after"]:
        yield Flaw("order", statement.where, "not bound to the receipt before it")
    if behind is None:
        if Chain.objects.filter(position__gt=row.position).exists():
            yield Flaw("missing", f"receipt {row.position + 1}", "removed from the chain")
    elif f'"after":"{statement.hash}"' not in behind.body:
        yield Flaw("order", statement.where, "the receipt behind it is not bound to it")


def _check_proof(
    row: Receipt, statement: Statement, proofs: Proofs, check: _Check, keys: Keys
) -> Iterator[Flaw]:
    """It is among the receipts of its day, and the day is signed and bound to those around it."""
    day = proofs.day_of(row)
    if day is None:
        if Chain.objects.filter(open_day__gt=row.day).exists():
            yield Flaw("missing", f"day {row.day}", "removed from the chain")
        return
    head = check._statement(day)
    if head is None:
        return
    yield from check_signature(head, keys.signer_after(day.first + day.count - 1))
    if not is_proved(statement, proofs.of(row) or {}, head):
        yield Flaw("proof", statement.where, "the way up the tree does not lead to its day")
    behind = DayHead.objects.filter(number=day.number + 1).first()
    if behind and f'"previous":"{head.hash}"' not in behind.body:
        yield Flaw("order", head.where, "the day behind it is not bound to it")
