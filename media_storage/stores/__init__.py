"""The port to the object store: what every store can do, and the one that MEDIA_STORE_URL names.

    folder:///abs/path
    s3://ACCESS:SECRET@host:port/bucket?region=us-east-1&scheme=http&path_style=1

Bytes come in by two ways. Through this server: `write` streams them to their key. From the phone
directly: `upload_urls` signs addresses for what is still missing, and `complete_upload` puts what
arrived under its key. A signed address never reaches a completed object: single uploads land beside
it and are moved, unless they are verified already; multipart ones end with their upload id. So bytes
that were verified stay as they are.

    StoreError
    ├── ObjectMissing   no bytes under this key
    └── PartsMissing    the upload is not complete; `numbers` says what is missing

A store that does not answer raises media_storage.errors.StoreUnavailable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import ClassVar, Literal, Protocol
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from media_storage.formats import may_be_shown
from server.core import clock

CHUNK = 64 * 1024
UPLOAD_TIME = timedelta(hours=12)
"""How long an upload may take with one set of addresses; a phone asks for new ones after that."""

MULTIPART_ABOVE = 8 * 1024 * 1024
MIN_PART_SIZE = 5 * 1024 * 1024  # S3's smallest, save for the last
MAX_PARTS = 1000  # what S3 lists in one answer

Strategy = Literal["single", "multipart"]


class StoreError(Exception):
    """Root of what a store refuses."""


class ObjectMissing(StoreError):
    """There are no bytes under this key."""


class PartsMissing(StoreError):
    """An upload lacks these parts."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__(f"missing parts: {numbers}")
        self.numbers = tuple(numbers)


@dataclass(frozen=True, slots=True)
class Written:
    """What went through `write`."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One part of an object: its number from 1, where it begins, how long it is."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """One signed PUT: send exactly the `size` bytes of the file that begin at `offset`."""

    number: int
    url: str
    size: int
    offset: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """A part that has arrived whole."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Upload:
    """How to send what is missing. `upload_id` is the store's own and not for the phone."""

    strategy: Strategy
    expires_at: datetime
    parts: tuple[Part, ...] = ()
    received: tuple[Received, ...] = ()
    upload_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A declared object that is to be uploaded. `upload_id`: of a multipart upload begun earlier."""

    key: str
    size: int
    sha256: str
    content_type: str
    upload_id: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """What `erase` found and took away.

    `keys`: every key that was tried, there or not. `versions`: how many old versions went with them;
    None where the store does not say whether it keeps any.
    """

    keys: tuple[str, ...]
    versions: int | None = 0


class Store(Protocol):
    """The contract; tests/media_storage/test_stores.py holds every store to it."""

    direct: ClassVar[bool]
    """Uploads and downloads go to another server than this one."""

    def create(self) -> None:
        """Make the bucket or folder; nothing if it is there."""

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """Store a stream under `key`, durable when this returns; nothing is there if it raises."""

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces. Raises ObjectMissing at the first."""

    def size(self, key: str) -> int:
        """Raises ObjectMissing."""

    def delete(self, key: str) -> None:
        """Remove the object and whatever was uploaded for it; nothing if there is none."""

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        """Addresses for what is missing, beginning the upload if `upload_id` is empty or unknown.

        `fresh`: nothing can have arrived, so a look into the store is spared.
        """

    def complete_upload(self, expected: Expected) -> Written | None:
        """Put what arrived under its key; nothing if that was done. Raises ObjectMissing, PartsMissing.

        What the store itself measured, and then only the expected bytes are under the key; or None.
        """

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Forget a multipart upload and its parts; nothing if there is none."""

    def clear_drafts(self, *, before: datetime) -> int:
        """Remove what `write` had begun before then and a killed process never ended.

        Nobody was told of it. Uploads by phones stay: they may be resumed. Returns how many.
        """

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        """Remove every trace of an object; nothing if there is none.

        The object, what was made from it (all keys that begin with its key), what phones uploaded for
        it, whole or half, and the versions that the store keeps of all these. Raises StoreUnavailable,
        also where the store refuses to let go of something.
        """

    def traces(self, key: str) -> list[str]:
        """What the store still has of an object, by its own listing: keys, uploads, old versions."""

    def download_url(
        self, key: str, *, filename: str, content_type: str, expires_in: timedelta, base_url: str
    ) -> str:
        """A signed address that a browser shows or saves under `filename`, and keeps for a while.

        The same for everybody who asks within a reading window of `expires_in`; it lasts one to two.
        """


def exists(store: Store, key: str) -> bool:
    """Whether there are bytes under `key`."""
    try:
        store.size(key)
    except ObjectMissing:
        return False
    return True


def is_multipart(size: int) -> bool:
    """Whether an object of this size is uploaded in parts, so that a weak link can resume it."""
    return size > MULTIPART_ABOVE


def slices(size: int) -> list[Slice]:
    """How an object is cut: all parts alike, the last one the rest."""
    each = max(MIN_PART_SIZE, -(-size // MAX_PARTS))
    return [
        Slice(number, offset, min(each, size - offset))
        for number, offset in enumerate(range(0, size, each), start=1)
    ]


def missing_parts(size: int, received: Iterable[Received]) -> list[Slice]:
    """The parts that have not arrived with their right size."""
    arrived = {part.number: part.size for part in received}
    return [each for each in slices(size) if arrived.get(each.number) != each.size]


def disposition(filename: str, content_type: str) -> str:
    """The Content-Disposition of a download (RFC 6266): shown in place only where that does no harm.

    `filename*` (RFC 8187) carries the name; `filename` is for what cannot read it, in ASCII.
    """
    kind = "inline" if may_be_shown(content_type) else "attachment"
    plain = _NOT_PLAIN.sub("_", filename)
    extended = f"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHAR)}" if plain != filename else ""
    return f'{kind}; filename="{plain}"{extended}'


_NOT_PLAIN = re.compile(r"[^ !#-$&-\[\]-~]+")
_ATTR_CHAR = "!#$&+-.^_`|~"


def reading_window(length: timedelta) -> datetime:
    """When the present window of addresses began; windows of one length follow each other by the clock.

    An address signed as of that moment, for two lengths, is the same for everybody who asks within
    the window, so that a browser's cache is of use, and lasts at least one length more.
    """
    seconds = int(length.total_seconds())
    now = clock.now().timestamp()
    return datetime.fromtimestamp(now // seconds * seconds, UTC)


def kept_for(seconds: int) -> str:
    """The Cache-Control of bytes that never change under their key, for one person's browser alone."""
    return f"private, max-age={seconds}, immutable"


@cache
def open_store(url: str) -> Store:
    """The store that a URL names. Raises ImproperlyConfigured."""
    scheme = url.partition("://")[0]
    if scheme == "folder":
        from media_storage.stores.folder import FolderStore

        return FolderStore.from_url(url)
    if scheme == "s3":
        # Late: boto3 takes memory and start-up time that a folder has no use for.
        from media_storage.stores.s3 import S3Store

        return S3Store.from_url(url)
    raise ImproperlyConfigured(f"MEDIA_STORE_URL must begin with folder:// or s3://, not {scheme}")


def get_store() -> Store:
    """The store of this installation."""
    return open_store(settings.MEDIA_STORE_URL)
