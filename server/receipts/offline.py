"""Checking an archive, or the file of one receipt, offline: no database, no settings.

    python -m server.receipts.offline ARCHIVE.zip --key PUBLIC-KEY --anchor 2026-11-25=HASH
    python -m server.receipts.offline receipt.json --key PUBLIC-KEY --document FILE --photos FOLDER

An archive holds the same as verify.pyz, which needs Python and the library `cryptography`.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.receipts.proof import (
    ARCHIVE,
    DAY,
    KEY_KIND,
    RECEIPT,
    RECEIPT_FILE,
    Anchors,
    Flaw,
    Json,
    Keys,
    Proof,
    Report,
    Statement,
    Unreadable,
    Walk,
    brief,
    canonical,
    check_days,
    check_signature,
    digest,
    files_of,
    is_hash,
    is_proved,
    key_id,
    leaf,
    parse,
    root,
)

CHUNK = 1024 * 1024

# ---- archives ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trust:
    """What the verifier brings along: public keys, hashes from elsewhere, a folder of photos."""

    keys: Collection[str] = ()
    anchors: Anchors = field(default_factory=Anchors)
    photos: Path | None = None


def verify_archive(path: Path, trust: Trust) -> Report:
    """Check everything in an exported archive. Raises Unreadable where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, trust).report()
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from None


MEMBERS = ("archive.json", "keys.jsonl", "days.jsonl", "receipts.jsonl", "photos.jsonl")
DOCUMENTS = "documents/"
SILENT = ("README.txt", "verify.pyz")


class _Archive:
    """One archive that is being checked."""

    def __init__(self, archive: zipfile.ZipFile, trust: Trust) -> None:
        self.archive = archive
        self.trust = trust
        self.result = Report()
        self.subjects: dict[tuple[str, str], bytes] = {}
        self.files: dict[str, str] = {}
        self.manifest: dict[str, dict[str, Json]] = {}
        self.documents: dict[str, str] = {}

    def report(self) -> Report:
        index = self._one("archive.json")
        keys, days = Keys(), [each for each, _proof in self._lines("days.jsonl")]
        for statement, _proof in self._lines("keys.jsonl"):
            self._note(keys.add(statement))
        self._note(check_days(days, keys))
        by_day = {day.body["day"]: day for day in days}
        self._note(self.trust.anchors.check_days(by_day))
        walk = Walk(keys, by_day, whole=index.body["whole"])
        hashes = self._walk(walk, index.body["scope"])
        self._note(self._check_index(index, keys, days, hashes))
        self._note(self._check_documents(index.body["documents"] > 0))
        self._note(self._check_manifest())
        self._note(check_photos(self.files, self.trust.photos))
        self._note(self._check_members())
        self._check_keys(keys)
        self.result.counts = {
            "receipts": len(hashes),
            "days": len(days),
            "keys": len(keys.public),
            "documents": len(self.documents) if index.body["documents"] else 0,
            "files": len(self.files),
        }
        return self.result

    def _check_absent_days(self, walk: Walk, scope: Mapping[str, Json]) -> Iterator[Flaw]:
        """In a whole part of the chain no day may lack all its receipts."""
        first, last = str(scope.get("from") or ""), str(scope.get("to") or "9999-12-31")
        for name, day in walk.days.items():
            wanted = walk.whole and first <= name <= last and day.body["count"] > 0
            if wanted and name not in walk.complete:
                yield Flaw("missing", day.where, f"all of its {day.body['count']} receipts")

    def _walk(self, walk: Walk, scope: Mapping[str, Json]) -> list[bytes]:
        leaves = []
        for receipt, proof in self._lines("receipts.jsonl"):
            self._note(walk.step(receipt, proof, self._predecessor))
            self._note(self.trust.anchors.check_receipt(receipt))
            self._remember(receipt)
            leaves.append(leaf(receipt.hash))
        self._note(walk.end_day())
        self._note(self._check_absent_days(walk, scope))
        self._note(self._check_anchors(walk, scope))
        return leaves

    def _check_anchors(self, walk: Walk, scope: Mapping[str, Json]) -> Iterator[Flaw]:
        """Receipts known from elsewhere that were not seen; whether they ought to be is not always
        known."""
        anchors = self.trust.anchors
        if walk.whole and not (scope.get("from") or scope.get("to")):
            yield from anchors.check_absent()
        elif anchors.receipts:
            positions = ", ".join(map(str, sorted(anchors.receipts)))
            self.result.notes.append(f"not in this part of the chain: receipts {positions}")

    def _predecessor(self, receipt: Statement) -> Statement | None:
        raw = self.subjects.get((receipt.body["kind"], receipt.body["subject"]))
        return Statement.of(raw, "") if raw else None

    def _remember(self, receipt: Statement) -> None:
        body = receipt.body
        self.subjects[body["kind"], body["subject"]] = receipt.raw
        self.files |= files_of(body["content"])
        self.manifest |= {line["media"]: line for line in manifest_lines(body)}
        document = body["content"].get("document")
        if document:
            self.documents[f"{body['kind']}/{body['subject']}"] = document["sha256"]

    def _check_index(
        self, index: Statement, keys: Keys, days: list[Statement], leaves: list[bytes]
    ) -> Iterator[Flaw]:
        body = index.body
        found = {
            "receipts": len(leaves),
            "root": root(leaves).hex(),
            "days": len(days),
            "last_day": days[-1].hash if days else None,
            "keys": len(keys.public),
            "documents": len(self._names(DOCUMENTS)),
        }
        for name, value in found.items():
            if body[name] != value:
                yield Flaw("missing", "archive.json", f"{name}: {brief(body[name])}, not {value}")
        if index.signature:
            yield from check_signature(index, keys.public[-1] if keys.public else None)
        else:
            self.result.notes.append("the list of what the archive holds is not signed")

    def _check_documents(self, included: bool) -> Iterator[Flaw]:
        if not included:
            return
        names = self._names(DOCUMENTS)
        for name, hash in self.documents.items():
            if name not in names:
                yield Flaw("missing", name, "the document is not in the archive")
            elif digest(self._chunks(DOCUMENTS + name)) != hash:
                yield Flaw("changed", name, "the document is another one than was received")
        for name in sorted(names - self.documents.keys()):
            yield Flaw("extra", name, "a document without a receipt")

    def _check_manifest(self) -> Iterator[Flaw]:
        listed = {str(line.get("media")): line for line in self._raw_lines("photos.jsonl")}
        for media, line in self.manifest.items():
            if listed.get(media) != line:
                yield Flaw("changed", f"photos.jsonl: {media}", "not as in the receipts")
        for media in sorted(listed.keys() - self.manifest.keys()):
            yield Flaw("extra", f"photos.jsonl: {media}", "in no receipt")

    def _check_members(self) -> Iterator[Flaw]:
        names = self.archive.namelist()
        known = {*MEMBERS, *SILENT, *(DOCUMENTS + name for name in self.documents)}
        for name in sorted(set(names) - known):
            if not name.startswith(DOCUMENTS):
                yield Flaw("extra", name, "does not belong to an archive")
        if len(set(names)) != len(names):
            yield Flaw("extra", "archive", "holds two files of one name")

    def _check_keys(self, keys: Keys) -> None:
        if self.trust.keys:
            self._note(keys.check_trust(self.trust.keys))
        else:
            self.result.notes.append(_compare(keys))

    # ---- reading ---------------------------------------------------------------------------

    def _note(self, flaws: Iterable[Flaw]) -> None:
        self.result.flaws += flaws

    def _one(self, name: str) -> Statement:
        statement = Statement.read(self._strict(name, b"".join(self._chunks(name)).strip(b"\n")))
        if statement.body["type"] != ARCHIVE:
            raise Unreadable(f"{name}: not an archive's list")
        return statement

    def _lines(self, name: str) -> Iterator[tuple[Statement, Proof | None]]:
        kind = DAY if name == "days.jsonl" else RECEIPT
        for number, line in enumerate(self._raw_lines(name), start=1):
            try:
                if line.keys() - {"statement", "proof"} or "statement" not in line:
                    raise Unreadable("other fields than a line has")
                statement = Statement.read(line["statement"])
                if statement.body["type"] != kind:
                    raise Unreadable("of another type")
            except Unreadable as error:
                self._note([Flaw("format", f"{name}, line {number}", str(error))])
                continue
            yield statement, line.get("proof")

    def _raw_lines(self, name: str) -> Iterator[dict[str, Json]]:
        try:
            file = self.archive.open(name)
        except KeyError:
            self._note([Flaw("missing", name, "not in the archive")])
            return
        with file:
            for number, raw in enumerate(file, start=1):
                try:
                    yield self._strict(name, raw.removesuffix(b"\n"))
                except Unreadable as error:
                    self._note([Flaw("format", f"{name}, line {number}", str(error))])

    def _strict(self, name: str, raw: bytes) -> dict[str, Json]:
        """Exactly as we write it: a changed bit that JSON would overlook is found as well."""
        value = parse(raw)
        if not isinstance(value, dict) or canonical(value) != raw:
            raise Unreadable(f"{name}: not in its canonical form")
        return value

    def _names(self, folder: str) -> set[str]:
        return {
            name.removeprefix(folder)
            for name in self.archive.namelist()
            if name.startswith(folder) and not name.endswith("/")
        }

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            with self.archive.open(name) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except KeyError:
            raise Unreadable(f"{name} is not in the archive") from None


def manifest_lines(body: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """The lines of photos.jsonl for the files that a receipt lists as received."""
    for file in body["content"].get("files", ()):
        if media := file["media"]:
            yield {
                "media": media["id"],
                "name": file["name"],
                "sha256": media["sha256"],
                "size": media.get("size"),
                "subject": f"{body['kind']}/{body['subject']}",
            }


def check_photos(files: Mapping[str, str], folder: Path | None) -> Iterator[Flaw]:
    """Every received file lies in the folder, whatever its name there, and no other does."""
    if folder is None:
        return
    found = {
        digest(_file_chunks(path)): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    for media, hash in files.items():
        if hash not in found:
            yield Flaw("missing", f"media {media}", f"no file in {folder} has SHA-256 {hash}")
    for hash in sorted(found.keys() - set(files.values())):
        yield Flaw("extra", str(found[hash]), "a file that no receipt lists")


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


# ---- one receipt -------------------------------------------------------------------------------


def verify_receipt(path: Path, trust: Trust, document: Path | None = None) -> Report:
    """Check the file of one receipt, or of one day. Raises Unreadable."""
    try:
        whole = parse(path.read_bytes())
    except OSError as error:
        raise Unreadable(f"{path}: {error}") from None
    if not isinstance(whole, dict) or "type" not in whole:
        whole = {"receipt": whole}
    elif whole["type"] != RECEIPT_FILE or whole.keys() != {"type", *PARTS}:
        raise Unreadable(f"{path}: not the file of a receipt")
    return _Single(whole, trust).report(document)


PARTS = ("receipt", "proof", "day", "keys")


class _Single:
    """One receipt, or one day, with what its file brings along."""

    def __init__(self, whole: Mapping[str, Json], trust: Trust) -> None:
        self.receipt = Statement.read(whole.get("receipt"))
        self.day = Statement.read(whole["day"]) if whole.get("day") else None
        self.proof = whole.get("proof") or {}
        self.trust = trust
        self.keys = Keys()
        self.result = Report(counts={self.receipt.body["type"]: 1})
        for each in whole.get("keys") or ():
            self.result.flaws += self.keys.add(Statement.read(each))

    def report(self, document: Path | None) -> Report:
        result, body = self.result, self.receipt.body
        if not (self.keys.public or self.trust.keys):
            result.flaws.append(Flaw("key", self.receipt.where, "no key: give one with --key"))
        elif not self.trust.keys:
            result.notes.append(_compare(self.keys))
        elif self.keys.public:
            result.flaws += self.keys.check_trust(self.trust.keys)
        for each in filter(None, (self.receipt, self.day)):
            result.flaws += self._check(each)
        if self.day is not None:
            result.flaws += self._check_in_day(self.day)
        elif body["type"] == RECEIPT:
            result.notes.append("its day was not closed yet when this file was written")
        content = body.get("content", {})
        if document is not None:
            result.flaws += _check_document(content, document)
        result.flaws += check_photos(files_of(content), self.trust.photos)
        return result

    def _check(self, statement: Statement) -> Iterator[Flaw]:
        """Signed by the key of its place where the file brings the keys, else by a trusted one."""
        body, anchors = statement.body, self.trust.anchors
        if body["type"] == RECEIPT:
            place = body["position"]
            yield from anchors.check_receipt(statement)
        else:
            place = body["first"] + body["count"]
            if body["type"] == DAY and body["day"] in anchors.days:
                yield from Anchors({body["day"]: anchors.days[body["day"]]}).check_days(
                    {body["day"]: statement}
                )
        if body.get("kind") == KEY_KIND and self.keys.public:
            if statement not in self.keys.statements:
                yield Flaw("key", statement.where, "is not among the keys")
        elif self.keys.public:
            yield from check_signature(statement, self.keys.signer_at(place))
        elif self.trust.keys:
            by_id = {key_id(each): each for each in self.trust.keys}
            yield from check_signature(statement, by_id.get(body["key"]))

    def _check_in_day(self, day: Statement) -> Iterator[Flaw]:
        if day.body["type"] != DAY or day.body["day"] != self.receipt.body.get("day"):
            yield Flaw("proof", self.receipt.where, "comes with another day than its own")
        elif not is_proved(self.receipt, self.proof, day):
            yield Flaw("proof", self.receipt.where, "the way up the tree does not lead to its day")
        elif day.body["day"] not in self.trust.anchors.days:
            self.result.notes.append(
                f"day {day.body['day']} has hash {day.hash}: compare it with the published one"
            )


def _check_document(content: Mapping[str, Json], path: Path) -> Iterator[Flaw]:
    if digest(_file_chunks(path)) != (content.get("document") or {}).get("sha256"):
        yield Flaw("changed", str(path), "not the document of this receipt")


def _compare(keys: Keys) -> str:
    named = ", ".join(f"{key_id(each)} ({each})" for each in keys.public)
    return f"no key was given with --key: compare {named} with what the office published"


# ---- the command line --------------------------------------------------------------------------


def read_key(text: str) -> str:
    """A public key: 64 hexadecimal digits, or a file that holds them. Raises Unreadable."""
    for each in (text, _text_of(text)):
        if is_hash(each.strip().lower()):
            return each.strip().lower()
    raise Unreadable(f"no public key: {text}")


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def add_arguments(parser: argparse.ArgumentParser, *, file_nargs: str | None = None) -> None:
    """What `verify` wants to know; the server's command has the same, and may do without a file."""
    parser.add_argument(
        "file",
        type=Path,
        nargs=file_nargs,
        help="an archive (.zip), or the file of one receipt or day",
    )
    parser.add_argument(
        "--key", action="append", default=[], help="a public key that you trust, or a file with it"
    )
    parser.add_argument(
        "--anchor",
        action="append",
        default=[],
        help="what you know from elsewhere: 2026-11-25=HASH of a day, 17=HASH of a receipt, or a file",
    )
    parser.add_argument("--document", type=Path, help="the document of a single receipt")
    parser.add_argument(
        "--photos", type=Path, help="a folder with the photos, whatever their names"
    )


def verify(
    *,
    file: Path,
    key: Sequence[str],
    anchor: Sequence[str],
    document: Path | None,
    photos: Path | None,
) -> Report:
    """Check a file with what the verifier brings along. Raises Unreadable."""
    trust = Trust([read_key(each) for each in key], Anchors.of(anchor), photos)
    if zipfile.is_zipfile(file):
        return verify_archive(file, trust)
    return verify_receipt(file, trust, document)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: sound. 1: not as it was signed. 2: cannot be read."""
    parser = argparse.ArgumentParser(description="Check signed receipts, offline.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        report = verify(**vars(options))
    except (Unreadable, OSError) as error:
        sys.stderr.write(f"cannot read: {error}\n")
        return 2
    report.say(sys.stdout)
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
