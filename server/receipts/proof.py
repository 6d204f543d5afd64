"""The format of receipts, and what holds in a chain of them: Python and the library `cryptography`.

No database, no settings, nothing else of this product: the offline verifier stands on it alone.

A statement is a JSON object (`signed`) with the signature of its canonical bytes. There are three:

    duxue-receipt/1   what was received: position in the chain, hash of the receipt before it, content
    duxue-day/1       a day of the chain: Merkle root of its receipts, hash of the day before it
    duxue-archive/1   what an exported archive holds

Canonical bytes: JSON with sorted keys, no white space, UTF-8, no numbers but whole ones. The hash of
a statement is the SHA-256 of its canonical bytes; signatures are Ed25519 (RFC 8032); the tree is that
of RFC 6962 over the receipts' hashes in the order of their positions.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from uuid import UUID

RECEIPT, DAY, ARCHIVE = "duxue-receipt/1", "duxue-day/1", "duxue-archive/1"
RECEIPT_FILE = "duxue-receipt-file/1"
KEY_KIND = "key"
GROWING = ("visit", "activity", "school")
"""What a later receipt of the same thing may add, where the earlier one has null; and missing files."""
LABELS = "labels"
"""Names for people to read, as they were at that time: signed, and never compared."""

Json = Any


class Unreadable(ValueError):
    """Not what it should be: no JSON, not canonical, a field that is missing or of the wrong type."""


# ---- canonical bytes, hashes, signatures -------------------------------------------------------


def canonical(value: Json) -> bytes:
    """The one way to write a value. Raises Unreadable for fractions: their texts are not unique."""
    _refuse_fractions(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def parse(raw: bytes) -> Json:
    """Read JSON. Raises Unreadable for fractions and for a key that stands twice."""
    try:
        return json.loads(
            raw, parse_float=_refused, parse_constant=_refused, object_pairs_hook=_once_each
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not readable: {error}") from None


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def key_id(public_key: str) -> str:
    """The short name of a public key: it stands in every statement that the key signs."""
    return sha256(bytes.fromhex(public_key))[:16]


def key_subject(public_key: str) -> str:
    """The same as the subject of the receipt that brings the key."""
    return str(UUID(sha256(bytes.fromhex(public_key))[:32]))


def is_signed_by(public_key: str, signature: str, raw: bytes) -> bool:
    """Whether the signature (128 hexadecimal digits) of these bytes is this key's."""
    from cryptography.exceptions import InvalidSignature

    try:
        _public(public_key).verify(bytes.fromhex(signature), raw)
    except (InvalidSignature, ValueError):
        return False
    return signature == signature.lower()


@lru_cache(maxsize=256)
def _public(public_key: str) -> Any:
    # Late: whoever only hashes needs no more than Python.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))


def _refuse_fractions(value: Json) -> None:
    if isinstance(value, dict):
        for each in value.values():
            _refuse_fractions(each)
    elif isinstance(value, list):
        for each in value:
            _refuse_fractions(each)
    elif isinstance(value, float):
        raise Unreadable(f"a fraction: {value}")


def _refused(text: str) -> Json:
    raise ValueError(f"a number that is not whole: {text}")


def _once_each(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


# ---- statements --------------------------------------------------------------------------------

_HASH, _MAYBE = "hash", "hash or null"
FIELDS: Mapping[str, Mapping[str, Any]] = {
    RECEIPT: {
        **{"position": int, "sequence": int, "after": _MAYBE, "previous": _MAYBE, "content": dict},
        **{"day": date, "made_at": str, "key": str, "kind": str, "subject": str},
    },
    DAY: {
        **{"number": int, "first": int, "count": int, "root": _HASH, "previous": _MAYBE},
        **{"day": date, "zone": str, "closed_at": str, "key": str},
    },
    ARCHIVE: {
        **{"receipts": int, "days": int, "keys": int, "documents": int, "root": _HASH},
        **{"whole": bool, "last_day": _MAYBE, "scope": dict, "made_at": str, "key": str},
    },
}


@dataclass(frozen=True)
class Statement:
    """A signed object: its canonical bytes and who vouches for them."""

    raw: bytes
    body: Mapping[str, Json]
    signature: str
    countersignature: str = ""

    @classmethod
    def of(cls, raw: bytes, signature: str, countersignature: str = "") -> Statement:
        """From stored canonical bytes. Raises Unreadable."""
        body = parse(raw)
        _check_fields(body)
        if canonical(body) != raw:
            raise Unreadable("not in its canonical form")
        return cls(raw, body, signature, countersignature)

    @classmethod
    def read(cls, envelope: Json) -> Statement:
        """From {"signed": …, "signature": …}. Raises Unreadable."""
        if not isinstance(envelope, dict) or not {"signed", "signature"} <= envelope.keys():
            raise Unreadable("no statement")
        if envelope.keys() - {"signed", "signature", "countersignature"}:
            raise Unreadable("more than a statement")
        body = envelope["signed"]
        _check_fields(body)
        signatures = [envelope["signature"] or "", envelope.get("countersignature", "")]
        if not all(isinstance(each, str) for each in signatures):
            raise Unreadable("a signature that is no text")
        return cls(canonical(body), body, *signatures)

    @property
    def hash(self) -> str:
        return sha256(self.raw)

    @property
    def where(self) -> str:
        """Its name in messages."""
        body = self.body
        if body["type"] == RECEIPT:
            return f"receipt {body['position']} ({body['kind']} {body['subject']})"
        return f"day {body['day']}" if body["type"] == DAY else "archive.json"

    def envelope(self) -> dict[str, Json]:
        """As it is exported."""
        whole = {"signed": self.body, "signature": self.signature}
        return whole | (
            {"countersignature": self.countersignature} if self.countersignature else {}
        )


def _check_fields(body: Json) -> None:
    fields = FIELDS.get(body.get("type", "")) if isinstance(body, dict) else None
    if fields is None:
        raise Unreadable("of no known type")
    if body.keys() != fields.keys() | {"type"}:
        raise Unreadable(f"other fields than a {body['type']} has")
    for name, kind in fields.items():
        if not _is(body[name], kind):
            raise Unreadable(f"{name}: {body[name]!r}")
    if body["type"] == RECEIPT:
        _check_content(body["content"])


def _check_content(content: Json) -> None:
    """What we read of a content; the rest may be as it likes."""
    document, files = content.get("document"), content.get("files", [])
    if document is not None and not (isinstance(document, dict) and _is_hashed(document)):
        raise Unreadable("document: no SHA-256")
    if not isinstance(files, list) or not all(map(_is_file, files)):
        raise Unreadable("files: not a list of names with what is known of each")
    if len({file["name"] for file in files}) != len(files):
        raise Unreadable("files: a name stands twice")


def _is_file(file: Json) -> bool:
    if not isinstance(file, dict) or file.keys() != {"name", "media"}:
        return False
    media = file["media"]
    known = isinstance(media, dict) and isinstance(media.get("id"), str) and _is_hashed(media)
    return isinstance(file["name"], str) and (media is None or known)


def _is_hashed(thing: Mapping[str, Json]) -> bool:
    return is_hash(thing.get("sha256"))


def is_hash(value: Json) -> bool:
    """64 hexadecimal digits: of a SHA-256, or a public key."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _is(value: Json, kind: Any) -> bool:
    if kind == _MAYBE and value is None:
        return True
    if kind in (_HASH, _MAYBE):
        return is_hash(value)
    if kind is date:
        return isinstance(value, str) and _day(value) is not None
    return type(value) is kind


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


# ---- the tree of a day -------------------------------------------------------------------------


def leaf(hash: str) -> bytes:
    """The tree's leaf for a receipt's hash."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(hash)).digest()


def root(nodes: Sequence[bytes]) -> bytes:
    """The root over nodes of one level; a last one without a partner moves up as it is."""
    if not nodes:
        return hashlib.sha256(b"").digest()
    while len(nodes) > 1:
        nodes = _level_above(nodes)
    return nodes[0]


def path_in(nodes: Sequence[bytes], index: int) -> list[bytes]:
    """The partners on the way from the node up to the root."""
    path = []
    while len(nodes) > 1:
        if index ^ 1 < len(nodes):
            path.append(nodes[index ^ 1])
        nodes, index = _level_above(nodes), index >> 1
    return path


def root_by_path(node: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root that the path leads to; None for a path of another length than count and index say."""
    rest = list(path)
    while count > 1:
        if index ^ 1 < count:
            if not rest:
                return None
            partner = rest.pop(0)
            node = _parent(partner, node) if index & 1 else _parent(node, partner)
        index, count = index >> 1, (count + 1) >> 1
    return None if rest else node


def _level_above(nodes: Sequence[bytes]) -> list[bytes]:
    pairs = len(nodes) // 2
    above = [_parent(nodes[2 * each], nodes[2 * each + 1]) for each in range(pairs)]
    return above + list(nodes[2 * pairs :])


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


# ---- what is wrong -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Flaw:
    """Something that is not as it was signed. Codes: see docs/receipts.md.

    `place`: which part of the content, such as answers or files/1.jpg.
    """

    code: str
    where: str
    what: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.where}: {self.what}"


@dataclass
class Report:
    """What was looked at, what is wrong, and what is worth knowing."""

    flaws: list[Flaw] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.flaws

    def say(self, out: IO[str], *, limit: int = 50) -> None:
        """Print it."""
        out.write(", ".join(f"{count} {name}" for name, count in self.counts.items()) + "\n")
        for note in self.notes:
            out.write(f"note: {note}\n")
        for flaw in self.flaws[:limit]:
            out.write(f"{flaw}\n")
        if len(self.flaws) > limit:
            out.write(f"… and {len(self.flaws) - limit} more\n")
        out.write("Sound.\n" if self.is_sound else f"NOT SOUND: {len(self.flaws)} flaws.\n")


def differences(earlier: Json, later: Json) -> list[tuple[str, Json, Json]]:
    """Where `later` is other than the content `earlier`, save for what may be added to it.

    (place, was, is). What may be added: a visit where there was none, a file that was still missing.
    """
    found: list[tuple[str, Json, Json]] = []
    for name in sorted((earlier.keys() | later.keys()) - {LABELS}):
        was, now = earlier.get(name), later.get(name)
        if name == "files" and isinstance(was, list) and isinstance(now, list):
            found += _file_differences(was, now)
        elif was != now and not (was is None and name in GROWING and name in earlier):
            found.append((name, was, now))
    return found


def _file_differences(earlier: list[Json], later: list[Json]) -> Iterator[tuple[str, Json, Json]]:
    was = {file["name"]: file["media"] for file in earlier}
    now = {file["name"]: file["media"] for file in later}
    for name in sorted(now.keys() - was.keys()):
        yield f"files/{name}", None, now[name]
    for name, before in was.items():
        if before is None:
            if name not in now:
                yield f"files/{name}", None, None
            continue
        after = now.get(name)
        if after is None:
            yield f"files/{name}", before, None
            continue
        for each in sorted(before.keys() | after.keys()):
            if before.get(each) != after.get(each):
                yield f"files/{name}/{each}", before.get(each), after.get(each)


# ---- keys --------------------------------------------------------------------------------------


@dataclass
class Keys:
    """The keys that signed a chain, each brought by a receipt that the key before it signed."""

    positions: list[int] = field(default_factory=list)
    public: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    lost: list[bool] = field(default_factory=list)

    def add(self, statement: Statement) -> Iterator[Flaw]:
        """The next key of the chain, checked."""
        body, where = statement.body, statement.where
        public = body["content"].get("public_key")
        if body["kind"] != KEY_KIND or not is_hash(public):
            yield Flaw("key", where, "brings no key")
            return
        first, lost = not self.public, body["content"].get("lost") is True
        signer = public if first or lost else self.public[-1]
        if body["subject"] != key_subject(public) or body["key"] != key_id(signer):
            yield Flaw("key", where, "names another key than it brings, or than it is signed by")
        if not is_signed_by(signer, statement.signature, statement.raw):
            yield Flaw("signature", where, f"not signed by key {key_id(signer)}")
        if signer == public and statement.countersignature:
            yield Flaw("signature", where, "a second signature where there is none")
        if signer != public and not is_signed_by(public, statement.countersignature, statement.raw):
            yield Flaw("signature", where, f"not signed by the new key {key_id(public)}")
        if (body["position"] == 1) != first or (
            self.positions and body["position"] <= self.positions[-1]
        ):
            yield Flaw("order", where, "not the place of a key")
        self.positions.append(body["position"])
        self.public.append(public)
        self.statements.append(statement)
        self.lost.append(lost)

    def signer_at(self, position: int) -> str | None:
        """The public key that signs a receipt at this position."""
        index = bisect_left(self.positions, position)
        return self.public[index - 1] if index else None

    def signer_after(self, position: int) -> str | None:
        """The public key that signs once this position is taken: a day, an archive."""
        return self.signer_at(position + 1)

    def check_trust(self, trusted: Collection[str]) -> Iterator[Flaw]:
        """Every key is one that the verifier trusts, or is linked to one by signatures.

        A key that replaced a lost one is vouched for by nobody: it has to be trusted by itself.
        """
        runs: list[list[str]] = []
        for public, lost in zip(self.public, self.lost, strict=True):
            if lost or not runs:
                runs.append([])
            runs[-1].append(public)
        for run in runs:
            if not set(run) & set(trusted):
                yield Flaw("key", f"key {key_id(run[0])}", "nothing links it to the key you trust")


def check_signature(statement: Statement, public: str | None) -> Iterator[Flaw]:
    """Signed by this key, which its field `key` names."""
    where = statement.where
    if public is None:
        yield Flaw("key", where, "no key is known for its place")
    elif statement.body["key"] != key_id(public):
        yield Flaw("key", where, f"signed by key {statement.body['key']}, not {key_id(public)}")
    elif not is_signed_by(public, statement.signature, statement.raw):
        yield Flaw("signature", where, "changed after it was signed, or signed by another key")


# ---- days --------------------------------------------------------------------------------------


def check_days(days: Sequence[Statement], keys: Keys) -> Iterator[Flaw]:
    """From the first day on: none missing, each bound to the one before, each signed."""
    before: Statement | None = None
    for day in days:
        body, where = day.body, day.where
        yield from check_signature(day, keys.signer_after(body["first"] + body["count"] - 1))
        if body["number"] != (before.body["number"] + 1 if before else 1):
            yield Flaw("order", where, f"is number {body['number']}: a day is missing before it")
        elif body["previous"] != (before.hash if before else None):
            yield Flaw("order", where, "is bound to another day than the one before it")
        elif body["count"] == 0 and body["root"] != root([]).hex():
            yield Flaw("changed", where, "holds no receipts, and a root of some")
        elif before is None:
            if body["first"] != 1:
                yield Flaw("order", where, "the first day does not begin with the first receipt")
        elif (body["day"], body["first"]) != _following(before):
            yield Flaw("order", where, "does not begin where the day before it ended")
        before = day


def _following(day: Statement) -> tuple[str, int]:
    tomorrow = date.fromisoformat(day.body["day"]) + timedelta(days=1)
    return tomorrow.isoformat(), day.body["first"] + day.body["count"]


# ---- receipts ----------------------------------------------------------------------------------

Proof = Mapping[str, Json]
Predecessor = Callable[[Statement], Statement | None]
"""The receipt before this one of the same subject; None where it is not at hand."""


@dataclass
class Walk:
    """Receipts in the order of their positions, checked one by one and day by day.

    `whole`: every position from the first given on must be there. Else what is there is checked, and
    each receipt needs its way up the day's tree.
    """

    keys: Keys
    days: Mapping[str, Statement]
    whole: bool
    before: Statement | None = None
    complete: set[str] = field(default_factory=set)
    _day: str = ""
    _leaves: list[bytes] = field(default_factory=list)
    _unproved: list[str] = field(default_factory=list)

    def step(
        self, receipt: Statement, proof: Proof | None, predecessor: Predecessor
    ) -> Iterator[Flaw]:
        """Check the next receipt."""
        body = receipt.body
        if body["day"] != self._day:
            yield from self.end_day()
            self._day = body["day"]
        yield from self._check_place(receipt)
        yield from self._check_signer(receipt)
        yield from check_sequence(receipt, predecessor)
        day = self.days.get(body["day"])
        if day is not None:
            yield from self._check_day(receipt, day, proof)
        elif proof is not None:
            yield Flaw("proof", receipt.where, "a way up the tree of a day that is not there")
        self.before = receipt

    def _check_place(self, receipt: Statement) -> Iterator[Flaw]:
        body, where, before = receipt.body, receipt.where, self.before
        if before is None:
            if (body["position"] == 1) != (body["after"] is None):
                yield Flaw("order", where, "only the first receipt follows none")
            return
        gap = body["position"] - before.body["position"]
        if gap <= 0:
            yield Flaw("order", where, "stands behind a later one")
        elif gap == 1 and body["after"] != before.hash:
            yield Flaw("order", where, "follows another receipt than the one before it")
        elif gap > 1 and self.whole:
            missing = f"{before.body['position'] + 1} to {body['position'] - 1}"
            yield Flaw("missing", f"receipts {missing}", f"{gap - 1} removed from the chain")
        if body["day"] < before.body["day"]:
            yield Flaw("order", where, "belongs to an earlier day than the one before it")

    def _check_signer(self, receipt: Statement) -> Iterator[Flaw]:
        position = receipt.body["position"]
        if receipt.body["kind"] != KEY_KIND:
            yield from check_signature(receipt, self.keys.signer_at(position))
        elif receipt not in self.keys.statements:
            yield Flaw("key", receipt.where, "is not among the keys")

    def _check_day(self, receipt: Statement, day: Statement, proof: Proof | None) -> Iterator[Flaw]:
        index = receipt.body["position"] - day.body["first"]
        if not 0 <= index < day.body["count"]:
            yield Flaw("order", receipt.where, "not among the positions of its day")
            return
        self._leaves.append(leaf(receipt.hash))
        if proof is None:
            self._unproved.append(receipt.where)
        elif not is_proved(receipt, proof, day):
            yield Flaw("proof", receipt.where, "the way up the tree does not lead to its day")

    def end_day(self) -> Iterator[Flaw]:
        """All receipts of a day have been seen: compare them with the day's statement."""
        day, leaves, unproved = self.days.get(self._day), self._leaves, self._unproved
        self._leaves, self._unproved = [], []
        if day is None:
            return
        if len(leaves) == day.body["count"]:
            self.complete.add(self._day)
            if root(leaves).hex() != day.body["root"]:
                yield Flaw("changed", day.where, "its receipts are not those that it was made of")
        elif self.whole:
            self.complete.add(self._day)
            missing = day.body["count"] - len(leaves)
            yield Flaw("missing", day.where, f"{missing} of its {day.body['count']} receipts")
        else:
            for where in unproved:
                yield Flaw("proof", where, "no way up the tree of its day")


def is_proved(receipt: Statement, proof: Proof, day: Statement) -> bool:
    """Whether the way up the tree leads from the receipt, in its place, to the day's root."""
    index, count = receipt.body["position"] - day.body["first"], day.body["count"]
    if not isinstance(proof, Mapping) or (proof.get("index"), proof.get("count")) != (index, count):
        return False
    path = proof.get("path")
    if not isinstance(path, list) or not all(is_hash(each) for each in path):
        return False
    way = [bytes.fromhex(each) for each in path]
    found = root_by_path(leaf(receipt.hash), index, count, way)
    return found is not None and found.hex() == day.body["root"]


def check_sequence(receipt: Statement, predecessor: Predecessor) -> Iterator[Flaw]:
    """Bound to the receipt before it of the same subject, to which it only adds."""
    body, where = receipt.body, receipt.where
    if body["sequence"] == 1:
        if body["previous"] is not None:
            yield Flaw("order", where, "the first of its subject follows another")
        return
    before = predecessor(receipt)
    if before is None:
        return
    if body["previous"] != before.hash or before.body["sequence"] != body["sequence"] - 1:
        yield Flaw("order", where, "follows another receipt of its subject than the one before it")
    for place, was, now in differences(before.body["content"], body["content"]):
        yield Flaw("changed", where, f"{place}: {brief(was)} before, {brief(now)} now", place)


def files_of(content: Mapping[str, Json]) -> dict[str, str]:
    """SHA-256 by media id of the files that a receipt's content lists as received."""
    files = content.get("files", [])
    return {file["media"]["id"]: file["media"]["sha256"] for file in files if file["media"]}


def digest(chunks: Iterable[bytes]) -> str:
    """SHA-256 of a stream."""
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def brief(value: Json) -> str:
    """A value in a message."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


# ---- anchors -----------------------------------------------------------------------------------


@dataclass
class Anchors:
    """Hashes that somebody kept elsewhere: of days by their date, of receipts by their position."""

    days: dict[str, str] = field(default_factory=dict)
    receipts: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Anchors:
        """Each "2026-11-25=HASH", "17=HASH", or a file with a day or a receipt. Raises Unreadable."""
        found = cls()
        for text in texts:
            name, _is, hash = text.partition("=")
            if _is and (name.isdigit() or _day(name)) and len(hash) == 64:
                if name.isdigit():
                    found.receipts[int(name)] = hash.lower()
                else:
                    found.days[name] = hash.lower()
            else:
                found._add(_read_envelope(Path(text)))
        return found

    def _add(self, statement: Statement) -> None:
        if statement.body["type"] == DAY:
            self.days[statement.body["day"]] = statement.hash
        else:
            self.receipts[statement.body["position"]] = statement.hash

    def check_days(self, days: Mapping[str, Statement]) -> Iterator[Flaw]:
        for name, hash in sorted(self.days.items()):
            day = days.get(name)
            if day is None:
                yield Flaw("anchor", f"day {name}", "known from elsewhere, and not in this chain")
            elif day.hash != hash:
                yield Flaw("anchor", f"day {name}", "is another one than is known from elsewhere")

    def check_receipt(self, receipt: Statement) -> Iterator[Flaw]:
        """And strike it off."""
        hash = self.receipts.pop(receipt.body["position"], receipt.hash)
        if hash != receipt.hash:
            yield Flaw("anchor", receipt.where, "is another one than is known from elsewhere")

    def check_absent(self) -> Iterator[Flaw]:
        """Those that no receipt was seen for."""
        for position in sorted(self.receipts):
            yield Flaw(
                "anchor", f"receipt {position}", "known from elsewhere, and not in this chain"
            )


def _read_envelope(path: Path) -> Statement:
    whole = parse(path.read_bytes())
    if isinstance(whole, dict) and whole.get("type") == RECEIPT_FILE:
        whole = whole.get("receipt")
    return Statement.read(whole)
