"""A folder as an object store: uploads and downloads are signed addresses on this server.

objects/KEY            what is complete: what `write` wrote, and uploads of the declared bytes alone
incoming/KEY           a single upload of other bytes
parts/UPLOAD_ID/7      part 7 of a multipart upload; the id ends with the size of its parts
tmp/                   what is being written: renamed when it is whole and on the disk
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import signing
from django.core.exceptions import ImproperlyConfigured

from media_storage.errors import StoreUnavailable
from media_storage.stores import (
    CHUNK,
    MIN_PART_SIZE,
    TRASH,
    UPLOAD_TIME,
    Erased,
    Expected,
    HalfDone,
    ObjectMissing,
    Part,
    PartsMissing,
    Received,
    Slice,
    StoredObject,
    Upload,
    Written,
    missing_parts,
    part_size,
    reading_window,
    slices,
)
from server.core import clock

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{32}(\.\d{1,12})?")
_SALT = "media_storage.folder"
INCOMING = "incoming/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one signed address allows: this method, this place, this many bytes, until then.

    `sha256`: of the bytes that are declared for a single upload; these go straight to their key.
    `store`: which folder, where there are two; empty in the addresses of an earlier version.
    """

    method: Literal["GET", "PUT"]
    place: str
    expires: int
    size: int = 0
    sha256: str = ""
    filename: str = ""
    content_type: str = ""
    store: str = ""

    def sign(self) -> str:
        told = {name: value for name in _NAMES if (value := getattr(self, name))}
        return _signer(settings.SECRET_KEY).sign_object(told)

    @classmethod
    def read(cls, token: str, *, method: str) -> Grant | None:
        """The grant, if we signed it for this method and its time has not passed."""
        try:
            grant = cls(**_signer(settings.SECRET_KEY).unsign_object(token))
        except signing.BadSignature:
            return None
        live = grant.expires > clock.now().timestamp()
        return grant if live and grant.method == method else None


_NAMES = [each.name for each in fields(Grant)]


@lru_cache(maxsize=4)
def _signer(key: str) -> signing.Signer:
    return signing.Signer(key=key, salt=_SALT)


@dataclass(frozen=True, slots=True)
class FolderStore:
    """See media_storage.stores.Store."""

    root: Path

    direct: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Tells this folder from another, and does not tell where it is."""
        return _name_of(self.root)

    @classmethod
    def from_url(cls, url: str) -> FolderStore:
        parts = urlsplit(url)
        path = Path(unquote(parts.path))
        if parts.netloc or not path.is_absolute() or path == Path("/"):
            raise ImproperlyConfigured("MEDIA_STORE_URL must look like folder:///abs/path")
        return cls(path)

    def create(self) -> None:
        _make_folder(self.root)

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        return self.write_at(f"objects/{key}", chunks)

    def receive(self, grant: Grant, chunks: Iterable[bytes]) -> Written:
        """Write an upload where its grant says, the declared bytes under their key.

        So that what is verified is verified once, while it arrives. Others wait for `arrived` beside
        it. The address may be used again: it puts only the same bytes in their place.
        """
        key = grant.place.removeprefix(INCOMING)
        if not grant.sha256:
            return self.write_at(grant.place, chunks)
        return self._write(
            chunks, lambda written: _place_of(key, written, grant.size, grant.sha256)
        )

    def write_at(self, place: str, chunks: Iterable[bytes]) -> Written:
        """Write below the root: whole and on the disk when this returns, or not there at all."""
        return self._write(chunks, lambda _written: place)

    def _write(self, chunks: Iterable[bytes], place: Callable[[Written], str]) -> Written:
        draft = self._path(f"tmp/{secrets.token_hex(16)}")
        with _disk():
            _make_folder(draft.parent)
        try:
            written = _write_synced(draft, chunks)
            target = self._path(place(written))
            with _disk():
                _make_folder(target.parent)
                draft.replace(target)
                _sync_folder(target.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return written

    def read(self, key: str) -> Iterator[bytes]:
        with self.open(f"objects/{key}") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def head(self, key: str, size: int) -> bytes:
        with self.open(f"objects/{key}") as file:
            return file.read(size)

    def open(self, place: str) -> BinaryIO:
        """A file below the root. Raises ObjectMissing."""
        try:
            return self._path(place).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(place) from None

    def size(self, key: str) -> int:
        return self._size(f"objects/{key}")

    def delete(self, key: str) -> None:
        with _disk():
            self._path(f"objects/{key}").unlink(missing_ok=True)
            self._path(f"incoming/{key}").unlink(missing_ok=True)

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        expires_at = clock.now() + UPLOAD_TIME
        if not fresh and (one := self._arrived_whole(expected, expires_at)):
            return one
        upload_id = _ours(expected) or _new_upload_id(expected, resumed=not fresh)
        if not upload_id:
            return self._single(expected, expires_at, base_url)
        received = tuple(self._received(upload_id))
        missing = missing_parts(_cut(expected.size, upload_id), received)
        return Upload(
            strategy="multipart",
            expires_at=expires_at,
            parts=tuple(
                Part(
                    number=each.number,
                    url=self._put_url(
                        f"parts/{upload_id}/{each.number}", each.size, expires_at, base_url
                    ),
                    size=each.size,
                    offset=each.offset,
                )
                for each in missing
            ),
            received=received,
            upload_id=upload_id,
        )

    def arrived(self, expected: Expected) -> Written | None:
        if self._exists(f"objects/{expected.key}"):
            return expected.declared
        if expected.upload_id:
            self._whole(expected)
            return None
        found = self._measured(f"{INCOMING}{expected.key}")
        if found == expected.declared:
            self._place(expected.key)
        return found

    def take_in(self, expected: Expected) -> Written:
        if self._exists(f"objects/{expected.key}"):
            return self._measured(f"objects/{expected.key}")
        if not expected.upload_id:
            return self._measured(f"{INCOMING}{expected.key}")
        places = [f"parts/{expected.upload_id}/{part.number}" for part in self._whole(expected)]
        written = self._write(
            self._chunks(places),
            lambda written: _place_of(expected.key, written, expected.size, expected.sha256),
        )
        self.abort_upload(expected.key, expected.upload_id)
        return written

    def abort_upload(self, key: str, upload_id: str) -> None:
        if not _UPLOAD_ID.fullmatch(upload_id):
            return
        shutil.rmtree(self._path(f"parts/{upload_id}"), ignore_errors=True)

    def clear_drafts(self, *, before: datetime) -> int:
        count = 0
        for draft in self.root.glob("tmp/*"):
            with _disk(), suppress(FileNotFoundError):  # its writer may have just ended
                if draft.stat().st_mtime < before.timestamp():
                    draft.unlink()
                    count += 1
        return count

    def listed(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        for path, key in _walk(self.root / "objects", "", prefix, after):
            with suppress(FileNotFoundError):  # somebody may delete it meanwhile
                found = path.stat()
                yield StoredObject(key, found.st_size, _moment(found.st_mtime))

    def uploads(self) -> Iterator[HalfDone]:
        for path, key in _walk(self.root / "incoming", "", "", ""):
            with suppress(FileNotFoundError):
                forget = partial(path.unlink, missing_ok=True)
                yield HalfDone(key, "", _moment(path.stat().st_mtime), forget)
        for path in sorted(self.root.glob("parts/*")):
            with suppress(FileNotFoundError):  # the folder's time is that of its latest part
                forget = partial(shutil.rmtree, path, ignore_errors=True)
                yield HalfDone("", path.name, _moment(path.stat().st_mtime), forget)

    def move(self, key: str, to: str) -> None:
        source, target = self._path(f"objects/{key}"), self._path(f"objects/{to}")
        if not source.is_file():
            raise ObjectMissing(key)
        with _disk():
            _make_folder(target.parent)
            # Its time says since when it has this key.
            os.utime(source)
            source.replace(target)
            _sync_folder(target.parent)

    def download_url(
        self, key: str, *, filename: str, content_type: str, expires_in: timedelta, base_url: str
    ) -> str:
        ends = reading_window(expires_in) + 2 * expires_in
        grant = Grant(
            method="GET",
            place=f"objects/{key}",
            expires=int(ends.timestamp()),
            filename=filename,
            content_type=content_type,
            store=self.name,
        )
        return _url(grant, base_url)

    def _arrived_whole(self, expected: Expected, expires_at: datetime) -> Upload | None:
        """The answer for an upload of which nothing is missing."""
        there = self._exists(f"objects/{expected.key}")
        if not there and (expected.upload_id or not self._exists(f"{INCOMING}{expected.key}")):
            return None
        received = (Received(number=1, size=expected.size),)
        return Upload("single", expires_at, received=received, upload_id=expected.upload_id)

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        places = self.traces(key)
        with _disk():
            for place in places:
                self._path(place).unlink(missing_ok=True)
            for folder in {self._path(place).parent for place in places}:
                _sync_folder(folder)
            if _UPLOAD_ID.fullmatch(upload_id):
                with suppress(FileNotFoundError):
                    shutil.rmtree(self._path(f"parts/{upload_id}"))
        keys = {place.removeprefix("objects/") for place in places}
        return Erased(keys=tuple(sorted({key, f"{INCOMING}{key}"} | keys)))

    def traces(self, key: str) -> list[str]:
        with _disk():
            return [
                str(found.relative_to(self.root))
                for top in ("objects/", INCOMING, f"objects/{TRASH}")
                for path in [self._path(f"{top}{key}")]
                for found in sorted(path.parent.glob(f"{path.name}*"))
            ]

    def _single(self, expected: Expected, expires_at: datetime, base_url: str) -> Upload:
        place = f"{INCOMING}{expected.key}"
        url = self._put_url(place, expected.size, expires_at, base_url, expected.sha256)
        headers = {"Content-Type": expected.content_type}
        part = Part(number=1, url=url, size=expected.size, headers=headers)
        return Upload(strategy="single", expires_at=expires_at, parts=(part,))

    def _put_url(
        self, place: str, size: int, expires_at: datetime, base_url: str, sha256: str = ""
    ) -> str:
        expires = int(expires_at.timestamp())
        grant = Grant(
            method="PUT",
            place=place,
            size=size,
            sha256=sha256,
            expires=expires,
            store=self.name,
        )
        return _url(grant, base_url)

    def _received(self, upload_id: str) -> Iterator[Received]:
        with suppress(FileNotFoundError):
            for path in sorted(self._path(f"parts/{upload_id}").iterdir(), key=_number):
                yield Received(number=_number(path), size=path.stat().st_size)

    def _place(self, key: str) -> None:
        """Move a single upload under its key, unless another request did."""
        source, target = self._path(f"incoming/{key}"), self._path(f"objects/{key}")
        with _disk():
            _make_folder(target.parent)
            try:
                # A link, unlike a rename, never replaces what was verified.
                os.link(source, target)
            except FileExistsError:
                pass
            except FileNotFoundError:
                if not target.exists():
                    raise ObjectMissing(key) from None
            source.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def _measured(self, place: str) -> Written:
        digest, size = hashlib.sha256(), 0
        for chunk in self._chunks([place]):
            digest.update(chunk)
            size += len(chunk)
        return Written(size=size, sha256=digest.hexdigest())

    def _whole(self, expected: Expected) -> list[Received]:
        """The parts in order. Raises PartsMissing; ObjectMissing for another store's upload."""
        if not _ours(expected):
            raise ObjectMissing(expected.key)
        received = list(self._received(expected.upload_id))
        if missing := missing_parts(_cut(expected.size, expected.upload_id), received):
            raise PartsMissing([each.number for each in missing])
        return received

    def _chunks(self, places: list[str]) -> Iterator[bytes]:
        for place in places:
            with self.open(place) as file:
                while chunk := file.read(CHUNK):
                    yield chunk

    def _exists(self, place: str) -> bool:
        return self._path(place).exists()

    def _size(self, place: str) -> int:
        try:
            return self._path(place).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(place) from None

    def _path(self, place: str) -> Path:
        names = place.split("/")
        if not all(_NAME.fullmatch(name) for name in names):
            raise ValueError(f"not a place in the store: {place!r}")
        return self.root.joinpath(*names)


@lru_cache(maxsize=16)
def _name_of(root: Path) -> str:
    return hashlib.sha256(bytes(root)).hexdigest()[:8]


def _place_of(key: str, written: Written, size: int, sha256: str) -> str:
    """Only the declared bytes ever get under the key by an upload."""
    declared = written == Written(size=size, sha256=sha256)
    return f"objects/{key}" if declared else f"{INCOMING}{key}"


def _new_upload_id(expected: Expected, *, resumed: bool) -> str:
    """Empty for a single upload."""
    each = part_size(expected.size, link=expected.link, resumed=resumed)
    return f"{secrets.token_urlsafe(24)}.{each}" if each else ""


def _ours(expected: Expected) -> str:
    """The upload's id; empty where another store gave it, from which we moved."""
    return expected.upload_id if _UPLOAD_ID.fullmatch(expected.upload_id) else ""


def _cut(size: int, upload_id: str) -> list[Slice]:
    """Its parts. An id of an earlier version says nothing of their size."""
    each = upload_id.partition(".")[2]
    return slices(size, int(each) if each else MIN_PART_SIZE)


def _walk(folder: Path, above: str, prefix: str, after: str) -> Iterator[tuple[Path, str]]:
    """Files and their keys below a folder, in the order of the keys' bytes."""
    try:
        entries = [
            (each.name + "/" * each.is_dir(), Path(each.path)) for each in os.scandir(folder)
        ]
    except FileNotFoundError:
        return
    for name, path in sorted(entries):
        key = above + name
        if key.endswith("/"):
            wanted = key.startswith(prefix) or prefix.startswith(key)
            if wanted and (key > after or after.startswith(key)):
                yield from _walk(path, key, prefix, after)
        elif key.startswith(prefix) and key > after:
            yield path, key


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _url(grant: Grant, base_url: str) -> str:
    return f"{base_url.rstrip('/')}/store/{grant.sign()}"


def _number(path: Path) -> int:
    return int(path.name)


def _write_synced(path: Path, chunks: Iterable[bytes]) -> Written:
    digest, size = hashlib.sha256(), 0
    with _disk():
        file = path.open("xb", buffering=0)
    with file:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            with _disk():
                _write_all(file, chunk)
        with _disk():
            os.fsync(file.fileno())
    return Written(size=size, sha256=digest.hexdigest())


def _write_all(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _disk() -> Iterator[None]:
    """What the disk refuses, apart from what the sender of the bytes does."""
    try:
        yield
    except OSError as error:
        logger.exception("folder store: cannot write")
        raise StoreUnavailable from error


def _make_folder(path: Path) -> None:
    """Make a folder whose entry survives a crash, with its parents."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """A new name is only on the disk once its folder is."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
