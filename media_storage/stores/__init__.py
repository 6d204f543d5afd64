"""The port to the object store: what every store can do, and the one that MEDIA_STORE_URL names.

    folder:///abs/path
    s3://ACCESS:SECRET@host:port/bucket?region=us-east-1&scheme=http&path_style=1&checksum=content-sha256

Bytes come in by two ways. Through this server: `write` streams them to their key. From the phone
directly, in two steps: `upload_urls` signs addresses for what is still missing; `arrived` looks
whether all is there, and `take_in`, which reads the bytes, puts them under their key.

No address reaches an object that was verified: where the store checks the SHA-256 that is signed into
the address, a single upload goes straight under its key, and the address can only ever put the same
bytes there; everything else lands beside it. So bytes that were verified stay as they are.

    StoreError
    ├── ObjectMissing   no bytes under this key
    └── PartsMissing    the upload is not complete; `numbers` says what is missing

A store that does not answer raises media_storage.errors.StoreUnavailable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, Protocol
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
PIECE_SIZE = 256 * 1024
"""A part for a weak link, see docs/adr/0015: a break costs half of it on average."""
MAX_PARTS = 1000  # what S3 lists in one answer

TRASH = "trash/"
"""Where the sweeper lays what nobody names, before it is deleted."""

Strategy = Literal["single", "multipart"]
Link = Literal["", "weak", "good"]
"""What the phone says of its line; empty where it does not say."""


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
    link: Link = ""

    @property
    def declared(self) -> Written:
        return Written(size=self.size, sha256=self.sha256)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says. `modified`: when it came under this key."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class HalfDone:
    """Bytes of an upload that lie beside their key. `forget` removes them."""

    key: str
    upload_id: str
    modified: datetime
    forget: Callable[[], None]


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

    @property
    def direct(self) -> bool:
        """Uploads go to another server than this one, which has seen nothing of their bytes."""

    def create(self) -> None:
        """Make the bucket or folder; nothing if it is there."""

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """Store a stream under `key`, durable when this returns; nothing is there if it raises."""

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces. Raises ObjectMissing at the first."""

    def head(self, key: str, size: int) -> bytes:
        """At most the first `size` bytes. Raises ObjectMissing."""

    def size(self, key: str) -> int:
        """Raises ObjectMissing."""

    def delete(self, key: str) -> None:
        """Remove the object and whatever was uploaded for it; nothing if there is none."""

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        """Addresses for what is missing, beginning the upload if `upload_id` is empty or unknown.

        `fresh`: nothing can have arrived, so a look into the store is spared.
        """

    def arrived(self, expected: Expected) -> Written | None:
        """Whether all is there, without reading it. Raises ObjectMissing, PartsMissing.

        What the store itself measured: the declared bytes are under the key, or others were sent. None:
        nobody has measured yet, see `take_in`.
        """

    def take_in(self, expected: Expected) -> Written:
        """Join what arrived, put it under its key, and measure it. Raises ObjectMissing, PartsMissing.

        Reads every byte. The same again gives the same. Other bytes than the declared may be left
        under the key: whoever asked gives the object a new one.
        """

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Forget a multipart upload and its parts; nothing if there is none."""

    def clear_drafts(self, *, before: datetime) -> int:
        """Remove what `write` had begun before then and a killed process never ended.

        Nobody was told of it. Uploads by phones stay: they may be resumed. Returns how many.
        """

    def listed(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """What is stored, in the order of the keys' bytes, from behind `after`; phones' uploads apart."""

    def uploads(self) -> Iterator[HalfDone]:
        """What phones have begun to upload and nobody has taken in."""

    def move(self, key: str, to: str) -> None:
        """Give an object another key, replacing what is there. Raises ObjectMissing."""

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        """Remove every trace of an object; nothing if there is none.

        The object, what was made from it (all keys that begin with its key), what phones uploaded for
        it, whole or half, what the sweeper laid into the trash, and the versions that the store keeps of all these. Raises StoreUnavailable,
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


def part_size(size: int, *, link: Link = "", resumed: bool = False) -> int:
    """Of how many bytes the parts of an upload are; 0 for one PUT of all.

    A line that is called good, or a photo that nobody has tried to send yet, takes the fewest
    requests. Everything else goes in pieces that are small enough to be sent again.
    """
    if size <= 2 * PIECE_SIZE:
        return 0
    if link == "good":
        return MIN_PART_SIZE if size > MULTIPART_ABOVE else 0
    if link == "weak" or resumed or size > MULTIPART_ABOVE:
        return PIECE_SIZE
    return 0


def slices(size: int, each: int) -> list[Slice]:
    """How an object is cut: parts of `each` bytes, the last one the rest; more where these were too many."""
    each = max(each, -(-size // MAX_PARTS))
    return [
        Slice(number, offset, min(each, size - offset))
        for number, offset in enumerate(range(0, size, each), start=1)
    ]


def missing_parts(cut: Iterable[Slice], received: Iterable[Received]) -> list[Slice]:
    """The parts that have not arrived with their right size."""
    arrived = {part.number: part.size for part in received}
    return [each for each in cut if arrived.get(each.number) != each.size]


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
    """The store of this installation, before an older one where objects are still to be moved."""
    old: str = settings.MEDIA_STORE_OLD_URL
    return open_both(settings.MEDIA_STORE_URL, old) if old else open_store(settings.MEDIA_STORE_URL)


@cache
def open_both(new_url: str, old_url: str) -> Store:
    """Two stores as one while objects move. Raises ImproperlyConfigured."""
    from media_storage.stores.both import BothStores

    return BothStores(open_store(new_url), open_store(old_url))
