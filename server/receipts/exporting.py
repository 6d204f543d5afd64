"""Archives: a part of the chain with all that it takes to check it offline, in one ZIP file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

from django.db.models import Q, QuerySet

from server.activities.models import Activity, Submission, SubmissionConflict, VisitAction
from server.core import clock
from server.findings.models import FindingAction
from server.grid.models import School
from server.receipts import offline, proof
from server.receipts.contents import moment
from server.receipts.keys import KeyUnusable, private_keys
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import ARCHIVE, Json, canonical, leaf, root, sha256
from server.receipts.queries import Proofs, envelope, key_receipts

Kind = Receipt.Kind
BATCH = 500
NO_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Scope:
    """Which receipts: of days (both included), of an activity, of a school; all of what is given."""

    first_day: date | None = None
    last_day: date | None = None
    activity: Activity | None = None
    school: School | None = None
    documents: bool = False

    @property
    def is_whole(self) -> bool:
        """Every receipt of its days, so that nothing between them can be left out unseen."""
        return self.activity is None and self.school is None

    def receipts(self) -> QuerySet[Receipt]:
        """By position, so that days come one after the other."""
        rows = Receipt.objects.order_by("position")
        if self.first_day:
            rows = rows.filter(day__gte=self.first_day)
        if self.last_day:
            rows = rows.filter(day__lte=self.last_day)
        if self.is_whole:
            return rows
        at = Q(kind=Kind.KEY, pk__in=[])
        for kind, subjects in self._subjects().items():
            at |= Q(kind=kind, subject__in=subjects.order_by().values("pk"))
        return rows.filter(at)

    def _subjects(self) -> Mapping[str, QuerySet[Any]]:
        """What belongs to the activity and the school, by kind."""
        return {
            Kind.SUBMISSION: Submission.objects.filter(self._at("visit__")),
            Kind.CONFLICT: SubmissionConflict.objects.filter(self._at("submission__visit__")),
            Kind.FINDING_ACTION: FindingAction.objects.filter(self._at("finding__")),
            Kind.VISIT_ACTION: VisitAction.objects.filter(self._at("visit__")),
        }

    def _at(self, prefix: str) -> Q:
        condition = Q()
        if self.activity:
            condition &= Q(**{f"{prefix}activity": self.activity})
        if self.school:
            condition &= Q(**{f"{prefix}school": self.school})
        return condition

    def shown(self) -> dict[str, Json]:
        """As it stands in the archive."""
        return {
            "from": self.first_day.isoformat() if self.first_day else None,
            "to": self.last_day.isoformat() if self.last_day else None,
            "activity": str(self.activity.pk) if self.activity else None,
            "school": str(self.school.pk) if self.school else None,
        }


def write_archive(path: Path, scope: Scope) -> dict[str, int]:
    """Write the archive. Returns how many of each it holds. The file is there whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            counts = _Writing(archive, scope).write()
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return counts


@dataclass
class _Writing:
    """One archive that is being written."""

    archive: zipfile.ZipFile
    scope: Scope
    leaves: list[bytes] = field(default_factory=list)
    documents: int = 0
    files: dict[str, dict[str, Json]] = field(default_factory=dict)

    def write(self) -> dict[str, int]:
        chain = Chain.objects.first() or Chain()
        keys = [row for row in key_receipts() if row.position <= chain.position]
        days = DayHead.objects.order_by("number").defer("nodes")
        if chain.open_day:
            days = days.filter(day__lt=chain.open_day)
        heads = list(days)
        self._lines("keys.jsonl", ({"statement": envelope(row)} for row in keys))
        self._lines("days.jsonl", ({"statement": envelope(row)} for row in heads))
        self._lines("receipts.jsonl", self._receipts(chain))
        self._lines("photos.jsonl", self.files.values())
        if self.scope.documents:
            self._write_documents(chain)
        index = {
            "type": ARCHIVE,
            "made_at": moment(clock.now()),
            "scope": self.scope.shown(),
            "whole": self.scope.is_whole,
            "receipts": len(self.leaves),
            "root": root(self.leaves).hex(),
            "days": len(heads),
            "last_day": heads[-1].hash if heads else None,
            "keys": len(keys),
            "documents": self.documents,
            "key": chain.key,
        }
        signed = {"signed": index, "signature": _signature(chain, canonical(index))}
        self.archive.writestr("archive.json", canonical(signed) + b"\n")
        self.archive.writestr("README.txt", README)
        self.archive.writestr("verify.pyz", verifier())
        return {
            "receipts": len(self.leaves),
            "days": len(heads),
            "documents": self.documents,
            "files": len(self.files),
        }

    def _receipts(self, chain: Chain) -> Iterator[dict[str, Json]]:
        proofs = Proofs()
        rows = self.scope.receipts().filter(position__lte=chain.position)
        for row in rows.iterator(BATCH):
            self.leaves.append(leaf(sha256(canonical(envelope(row)["signed"]))))
            self._list_files(row)
            line: dict[str, Json] = {"statement": envelope(row)}
            if not self.scope.is_whole and (way := proofs.of(row)):
                line["proof"] = way
            yield line

    def _list_files(self, row: Receipt) -> None:
        body = envelope(row)["signed"]
        if "content" in body:
            self.files |= {line["media"]: line for line in offline.manifest_lines(body)}

    def _write_documents(self, chain: Chain) -> None:
        rows = self.scope.receipts().filter(position__lte=chain.position)
        for kind, model in ((Kind.SUBMISSION, Submission), (Kind.CONFLICT, SubmissionConflict)):
            subjects = rows.filter(kind=kind).order_by().values("subject")
            found: QuerySet[Any] = model._default_manager.filter(pk__in=subjects).order_by("pk")
            for row in found.only("raw").iterator(20):
                self.archive.writestr(f"{offline.DOCUMENTS}{kind.value}/{row.pk}", bytes(row.raw))
                self.documents += 1

    def _lines(self, name: str, lines: Iterable[dict[str, Json]]) -> None:
        with self.archive.open(name, "w") as file:
            for line in lines:
                file.write(canonical(line) + b"\n")


def _signature(chain: Chain, raw: bytes) -> str | None:
    """By the chain's key where it is at hand: else nobody vouches for the archive's completeness."""
    try:
        key = private_keys().get(chain.key)
    except KeyUnusable:
        return None
    return key.sign(raw) if key else None


def verifier() -> bytes:
    """The offline verifier as one file for Python (PEP 441); of one release always the same bytes."""
    files = {
        "__main__.py": b"import sys\nfrom server.receipts.offline import main\nsys.exit(main())\n",
        "server/__init__.py": b"",
        "server/receipts/__init__.py": b"",
    }
    for module in (proof, offline):
        name = f"{module.__name__.replace('.', '/')}.py"
        files[name] = Path(str(module.__file__)).read_bytes()
    content = BytesIO()
    content.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(content, "a") as archive:
        for name, source in files.items():
            archive.writestr(zipfile.ZipInfo(name, NO_DATE), source)
    return content.getvalue()


README = """\
督学 Duxue：存证凭证存档 An archive of signed receipts.

核验 To check it (Python 3.11 and its library cryptography):

    python3 -m pip install cryptography
    unzip ARCHIVE.zip verify.pyz
    python3 verify.pyz ARCHIVE.zip --key PUBLIC-KEY --anchor 2026-11-25=HASH

PUBLIC-KEY 取自督导办公布的公钥，HASH 取自另行留存的每日摘要，不取自本存档。
验证程序也不应只取自本存档：项目源代码中的 server/receipts/offline.py 与之相同。
Take the key, the day's hash, and the verifier, from another place than this archive.

receipts.jsonl 凭证 · days.jsonl 每日摘要 · keys.jsonl 公钥 · photos.jsonl 文件清单 · documents/ 原始文档
"""
