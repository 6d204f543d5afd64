"""Any S3-compatible server as the object store, through boto3. The only module that knows boto3.

KEY                    what is complete
incoming/KEY           an upload that nobody has verified: one PUT, or a joined multipart upload
incoming/KEY/part-7    a piece that is too small for S3's own multipart upload

What a store does not do, `python -m server media_store check` finds out; docs/stores.md has the table.
`checksum=` in the address says what it enforces, and is believed:

    content-sha256     the header x-amz-content-sha256, part of the signature: AWS, MinIO, Ceph, Swift
    sha256             the header x-amz-checksum-sha256
    none               (default) nothing: the worker reads every upload
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import boto3
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
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
    disposition,
    exists,
    kept_for,
    missing_parts,
    part_size,
    reading_window,
    slices,
)
from media_storage.stores.signing import UNSIGNED, Signer
from server.core import clock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

logger = logging.getLogger(__name__)

MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
EMPTY = {"416", "InvalidRange"}
THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
NOT_SPOKEN = {"NotImplemented", "MethodNotAllowed", "InvalidRequest"}
AWS = ("", "s3.amazonaws.com")
CHECKSUMS = ("content-sha256", "sha256", "none")
INCOMING = "incoming/"
BEHIND_INCOMING = "incoming0"
"""The first possible key after all that begin with incoming/."""
PIECES = "pieces."
NATIVE = "native"
_PIECE = re.compile(r"/part-(\d+)\Z")
CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 30, 3
HEAD_TIME = timedelta(minutes=5)
_AT_ONCE = 1000  # keys that S3 deletes in one request


class Refused(Exception):
    """What the server answered to `ask`; `code` is S3's, and `region` where it named the right one."""

    def __init__(self, code: str, status: int, region: str = "") -> None:
        super().__init__(f"{status} {code}")
        self.code, self.status, self.region = code, status, region


class NoAnswer(Exception):
    """No server, or none that speaks S3."""


@dataclass(frozen=True, slots=True)
class S3Store:
    """See media_storage.stores.Store."""

    client: S3Client
    bucket: str
    signer: Signer
    checksum: str = "none"

    direct: ClassVar[bool] = True

    @classmethod
    def from_url(cls, url: str) -> S3Store:
        parts = urlsplit(url)
        bucket = unquote(parts.path.strip("/"))
        if not (parts.username and parts.password and bucket) or "/" in bucket:
            raise ImproperlyConfigured(
                "MEDIA_STORE_URL must look like s3://ACCESS:SECRET@host:port/bucket?region=NAME"
            )
        options = dict(parse_qsl(parts.query))
        checksum = options.get("checksum", "none")
        if checksum not in CHECKSUMS:
            raise ImproperlyConfigured(f"checksum= must be one of {', '.join(CHECKSUMS)}")
        client = _client(parts, options)
        return cls(client, bucket, _signer(client, parts, bucket), checksum)

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """One request about the bucket, for those who set it up and check it.

        `operation` as botocore calls it. Raises Refused, NoAnswer.
        """
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(
                Bucket=self.bucket, **parameters
            )
        except ClientError as error:
            told, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
            region = str(told.get("Region", ""))
            code, status = str(told.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
            raise Refused(code, status, region) from error
        except BotoCoreError as error:
            raise NoAnswer(str(error)) from error
        return answer

    def create(self) -> None:
        region = self.client.meta.region_name
        options: dict[str, Any] = {}
        if region != "us-east-1":  # the one region that S3 refuses to be told
            options["CreateBucketConfiguration"] = {"LocationConstraint": region}
        with _answers(self.bucket, fine=THERE):
            self.client.create_bucket(Bucket=self.bucket, **options)

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        return self._put(key, chunks, wanted=None)

    def read(self, key: str) -> Iterator[bytes]:
        with _answers(key):
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
            with closing(body):
                yield from body.iter_chunks(CHUNK)

    def head(self, key: str, size: int) -> bytes:
        first = b""
        with _answers(key, fine=EMPTY):
            asked = f"bytes=0-{size - 1}"
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=asked)
            with closing(answer["Body"]) as body:
                first = body.read(size)
        return first

    def size(self, key: str) -> int:
        """By a request of our own: completing a photo is little more, and botocore's takes 0.9 ms of
        processor time against 0.2."""
        address = self.signer.address("HEAD", key, at=clock.now(), expires_in=HEAD_TIME)
        try:
            answer = _pool().request("HEAD", address)
        except urllib3.exceptions.HTTPError as error:
            logger.exception("S3 does not answer: %s", key)
            raise StoreUnavailable from error
        if answer.status == 404:
            raise ObjectMissing(key)
        if answer.status != 200:
            logger.error("S3 refused: HEAD %s %s", answer.status, key)
            raise StoreUnavailable
        return int(answer.headers["Content-Length"])

    def delete(self, key: str) -> None:
        for each in (key, _incoming(key)):
            self._delete(each)

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        expires_at = clock.now() + UPLOAD_TIME
        if not fresh and self._has_arrived(expected):
            return _nothing_missing(expected, expires_at)
        plan = expected.upload_id or _plan(expected, resumed=not fresh)
        if not plan:
            return self._single(expected, expires_at)
        upload_id, received = self._begun(expected, plan)
        sign = self._piece if upload_id.startswith(PIECES) else self._part
        return Upload(
            strategy="multipart",
            expires_at=expires_at,
            parts=tuple(
                sign(expected.key, upload_id, each)
                for each in missing_parts(_cut(expected.size, upload_id), received)
            ),
            received=tuple(received),
            upload_id=upload_id,
        )

    def arrived(self, expected: Expected) -> Written | None:
        if exists(self, expected.key):
            return expected.declared
        if expected.upload_id.startswith(PIECES):
            _check_whole(expected, self._pieces(expected.key))
        elif expected.upload_id:
            self._check_parts(expected)
        elif self.checksum == "none":
            self.size(_incoming(expected.key))
        else:
            raise ObjectMissing(expected.key)
        return None

    def take_in(self, expected: Expected) -> Written:
        if exists(self, expected.key):
            return self._measured(expected.key)
        if expected.upload_id.startswith(PIECES):
            return self._put_together(expected)
        try:
            if expected.upload_id:
                self._join(expected)
            self._place(expected.key)
        except ObjectMissing:
            # Another process may have done it between our look and our step.
            if not exists(self, expected.key):
                raise
        return self._measured(expected.key)

    def abort_upload(self, key: str, upload_id: str) -> None:
        if upload_id.startswith(PIECES):
            self._delete_all([each.key for each in self._listed(f"{_incoming(key)}/part-")])
        else:
            self._abort(_incoming(key), upload_id)

    def clear_drafts(self, *, before: datetime) -> int:
        drafts = [
            (key, upload_id)
            for key, upload_id, begun in self._multipart_uploads()
            if begun < before and not key.startswith(INCOMING)
        ]
        for key, upload_id in drafts:
            self._abort(key, upload_id)
        return len(drafts)

    def listed(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        for each in self._listed(prefix, after):
            if each.key.startswith(INCOMING):
                yield from self._listed(prefix, BEHIND_INCOMING)
                return
            yield each

    def uploads(self) -> Iterator[HalfDone]:
        for each in self._listed(INCOMING):
            key = _PIECE.sub("", each.key.removeprefix(INCOMING))
            yield HalfDone(key, "", each.modified, partial(self._delete, each.key))
        for place, upload_id, begun in self._multipart_uploads():
            if place.startswith(INCOMING):
                forget = partial(self._abort, place, upload_id)
                yield HalfDone(place.removeprefix(INCOMING), upload_id, begun, forget)

    def move(self, key: str, to: str) -> None:
        self._copy(key, to)
        self._delete(key)

    def download_url(
        self, key: str, *, filename: str, content_type: str, expires_in: timedelta, base_url: str
    ) -> str:
        return self.signer.address(
            "GET",
            key,
            at=reading_window(expires_in),
            expires_in=2 * expires_in,
            query={
                "response-cache-control": kept_for(int(expires_in.total_seconds())),
                "response-content-disposition": disposition(filename, content_type),
                "response-content-type": content_type,
            },
        )

    def _listed(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        with _answers(self.bucket):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    yield StoredObject(each["Key"], each["Size"], each["LastModified"])

    def _multipart_uploads(self, prefix: str = "") -> Iterator[tuple[str, str, datetime]]:
        """(key, id, begun)"""
        with _answers(self.bucket):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            for page in pages:
                for each in page.get("Uploads", ()):
                    yield each["Key"], each["UploadId"], each["Initiated"]

    def _delete(self, key: str) -> None:
        with _answers(key, fine=MISSING):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def _delete_all(self, keys: list[str]) -> None:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            try:
                self.client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": [{"Key": each} for each in some], "Quiet": True},
                )
            except ClientError:  # not every server knows the request
                for each in some:
                    self._delete(each)

    def _copy(self, key: str, to: str) -> None:
        with _answers(key):
            self.client.copy_object(
                Bucket=self.bucket, Key=to, CopySource={"Bucket": self.bucket, "Key": key}
            )

    def _measured(self, key: str) -> Written:
        digest, size = hashlib.sha256(), 0
        for chunk in self.read(key):
            digest.update(chunk)
            size += len(chunk)
        return Written(size=size, sha256=digest.hexdigest())

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        # The two keys by name as well: the listings of some servers lag behind their objects.
        keys = {key, _incoming(key)}
        for prefix in _places(key):
            keys.update(each.key for each in self._listed(prefix))
            for each, begun_id, _begun in list(self._multipart_uploads(prefix)):
                self._abort(each, begun_id)  # its parts lie in the store under no key
        if upload_id:
            self.abort_upload(key, upload_id)
        for each in sorted(keys):
            self._delete(each)
        # After the plain deletion, which in a bucket with versions only adds a marker to them.
        versions = [self._erase_versions(prefix) for prefix in _places(key)]
        known = [count for count in versions if count is not None]
        return Erased(tuple(sorted(keys)), sum(known) if len(known) == len(versions) else None)

    def traces(self, key: str) -> list[str]:
        found: list[str] = []
        for prefix in _places(key):
            found += [each.key for each in self._listed(prefix) if exists(self, each.key)]
            found += [f"{each} {begun_id}" for each, begun_id, _ in self._multipart_uploads(prefix)]
            found += [f"{each} {version}" for each, version in self._versions_of(prefix) or ()]
        return found

    def _erase_versions(self, prefix: str) -> int | None:
        """Delete every version and marker; None where the server knows no versions at all."""
        found = self._versions_of(prefix)
        for key, version in found or ():
            with _answers(key, fine=MISSING):
                self.client.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
        return None if found is None else len(found)

    def _versions_of(self, prefix: str) -> list[tuple[str, str]] | None:
        try:
            with _answers(prefix, unspoken=True):
                pages = self.client.get_paginator("list_object_versions").paginate(
                    Bucket=self.bucket, Prefix=prefix
                )
                return [
                    (each["Key"], each["VersionId"])
                    for page in pages
                    for each in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                ]
        except _NotSpoken:
            return None

    def _abort(self, key: str, upload_id: str) -> None:
        with _answers(key, fine=MISSING):
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def _has_arrived(self, expected: Expected) -> bool:
        """Whether nothing is missing; pieces are looked at one by one."""
        if exists(self, expected.key):
            return True
        if expected.upload_id.startswith(PIECES) or (
            not expected.upload_id and self.checksum != "none"
        ):
            return False
        return exists(self, _incoming(expected.key))

    def _single(self, expected: Expected, expires_at: datetime) -> Upload:
        """Straight under its key where the server takes the declared bytes alone."""
        headers = {"Content-Type": expected.content_type}
        place, payload = expected.key, UNSIGNED
        if self.checksum == "content-sha256":
            headers["x-amz-content-sha256"] = payload = expected.sha256
        elif self.checksum == "sha256":
            digest = base64.b64encode(bytes.fromhex(expected.sha256)).decode()
            headers["x-amz-checksum-sha256"] = digest
        else:
            place = _incoming(expected.key)
        url = self._put_url(place, expected.size, headers=headers, payload=payload)
        part = Part(number=1, url=url, size=expected.size, headers=headers)
        return Upload(strategy="single", expires_at=expires_at, parts=(part,))

    def _piece(self, key: str, upload_id: str, each: Slice) -> Part:
        url = self._put_url(f"{_incoming(key)}/part-{each.number}", each.size)
        return Part(number=each.number, url=url, size=each.size, offset=each.offset)

    def _part(self, key: str, upload_id: str, each: Slice) -> Part:
        query = {"partNumber": str(each.number), "uploadId": upload_id}
        url = self._put_url(_incoming(key), each.size, query=query)
        return Part(number=each.number, url=url, size=each.size, offset=each.offset)

    def _put_url(
        self,
        place: str,
        size: int,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        payload: str = UNSIGNED,
    ) -> str:
        return self.signer.address(
            "PUT",
            place,
            at=clock.now(),
            expires_in=UPLOAD_TIME,
            # The length is signed: the server takes no other.
            headers={**(headers or {}), "Content-Length": str(size)},
            query=query,
            payload=payload,
        )

    def _pieces(self, key: str) -> list[Received]:
        """Those that have arrived, in the order of their numbers."""
        found = [
            Received(number=int(match[1]), size=each.size)
            for each in self._listed(f"{_incoming(key)}/part-")
            if (match := _PIECE.search(each.key))
        ]
        return sorted(found, key=lambda piece: piece.number)

    def _put_together(self, expected: Expected) -> Written:
        """The pieces as one object, if they are the declared bytes; S3 cannot join such small ones."""
        pieces = self._pieces(expected.key)
        _check_whole(expected, pieces)
        chunks = (
            chunk
            for piece in pieces
            for chunk in self.read(f"{_incoming(expected.key)}/part-{piece.number}")
        )
        written = self._put(expected.key, chunks, wanted=expected.declared)
        self.abort_upload(expected.key, expected.upload_id)
        return written

    def _begun(self, expected: Expected, plan: str) -> tuple[str, list[Received]]:
        """The upload in parts and what of it arrived; a new one where the server knows none."""
        if expected.upload_id and not plan.startswith(PIECES):
            with suppress(ObjectMissing):
                return plan, [
                    Received(number=number, size=size)
                    for number, size, _etag in self._parts(expected)
                ]
            plan = _plan(expected, resumed=True)
        if plan.startswith(PIECES):
            return plan, self._pieces(expected.key) if expected.upload_id else []
        return self._begin(_incoming(expected.key), expected.content_type), []

    def _begin(self, key: str, content_type: str) -> str:
        with _answers(key):
            answer = self.client.create_multipart_upload(
                Bucket=self.bucket, Key=key, ContentType=content_type
            )
        return answer["UploadId"]

    def _parts(self, expected: Expected) -> list[tuple[int, int, str]]:
        """(number, size, ETag) of what has arrived. Raises ObjectMissing for an unknown upload."""
        with _answers(expected.key):
            pages = self.client.get_paginator("list_parts").paginate(
                Bucket=self.bucket, Key=_incoming(expected.key), UploadId=expected.upload_id
            )
            return [
                (part["PartNumber"], part["Size"], part["ETag"])
                for page in pages
                for part in page.get("Parts", [])
            ]

    def _check_parts(self, expected: Expected) -> None:
        """Raises PartsMissing; ObjectMissing for an upload that is unknown and was not joined before."""
        try:
            parts = self._parts(expected)
        except ObjectMissing:
            self.size(_incoming(expected.key))
        else:
            _check_whole(expected, [Received(number, size) for number, size, _etag in parts])

    def _join(self, expected: Expected) -> None:
        try:
            parts = self._parts(expected)
        except ObjectMissing:
            return  # joined by an earlier try that came no further
        _check_whole(expected, [Received(number, size) for number, size, _etag in parts])
        etags = {number: etag for number, _size, etag in parts}
        self._finish(_incoming(expected.key), expected.upload_id, etags)

    def _finish(self, key: str, upload_id: str, etags: dict[int, str]) -> None:
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())
        ]
        with _answers(key):
            self.client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

    def _place(self, key: str) -> None:
        """Copy what was uploaded to its key, out of reach of the addresses that were signed.

        Multipart uploads too: on Swift a late PUT to a part of a completed upload breaks the object.
        """
        self._copy(_incoming(key), key)
        self._delete(_incoming(key))

    def _put(self, key: str, chunks: Iterable[bytes], *, wanted: Written | None) -> Written:
        """Store a stream, in parts where it is large; nothing where it is not what is wanted."""
        pieces = _pieces(chunks, MIN_PART_SIZE)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is not None:
            return self._put_parts(key, chain([first, second], pieces), wanted=wanted)
        written = Written(size=len(first), sha256=hashlib.sha256(first).hexdigest())
        if wanted in (None, written):
            with _answers(key):
                self.client.put_object(Bucket=self.bucket, Key=key, Body=first)
        return written

    def _put_parts(self, key: str, pieces: Iterable[bytes], *, wanted: Written | None) -> Written:
        digest, size, etags = hashlib.sha256(), 0, {}
        upload_id = self._begin(key, "application/octet-stream")
        try:
            for number, piece in enumerate(pieces, start=1):
                digest.update(piece)
                size += len(piece)
                etags[number] = self._send_part(key, upload_id, number, piece)
            written = Written(size=size, sha256=digest.hexdigest())
            if wanted in (None, written):
                self._finish(key, upload_id, etags)
            else:
                self._abort(key, upload_id)
        except BaseException:
            # The bytes so far would lie there, paid for and invisible.
            self._abort(key, upload_id)
            raise
        return written

    def _send_part(self, key: str, upload_id: str, number: int, piece: bytes) -> str:
        with _answers(key):
            answer = self.client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=piece
            )
        return answer["ETag"]


def _client(url: SplitResult, options: Mapping[str, str]) -> S3Client:
    host = url.netloc.rpartition("@")[2]
    scheme = options.get("scheme", "https")
    config = Config(
        signature_version="s3v4",
        s3={
            "addressing_style": "path" if options.get("path_style") == "1" else "auto",
            # What we write ourselves is checked on arrival, over TLS too.
            "payload_signing_enabled": True,
        },
        # Servers other than AWS refuse the checksums that newer SDKs add by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": TRIES},
        max_pool_connections=32,
    )
    with _making_client:  # which a session does not do for two threads at once
        return _session().client(
            "s3",
            endpoint_url=None if host in AWS else f"{scheme}://{host}",
            region_name=options.get("region", "us-east-1"),
            aws_access_key_id=unquote(url.username or ""),
            aws_secret_access_key=unquote(url.password or ""),
            config=config,
        )


_making_client = threading.Lock()


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(
        num_pools=8,
        maxsize=32,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=urllib3.Retry(
            total=TRIES - 1,
            backoff_factor=0.1,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,
        ),
    )


@cache
def _session() -> boto3.session.Session:
    """It keeps the description of S3's requests, which takes a quarter of a second to read."""
    return boto3.session.Session()


def _signer(client: S3Client, url: SplitResult, bucket: str) -> Signer:
    """It signs for where botocore would send a request: below the host, or at the bucket's own."""
    address = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "x"})
    return Signer(
        access_key=unquote(url.username or ""),
        secret_key=unquote(url.password or ""),
        region=client.meta.region_name,
        base=address.partition("?")[0].removesuffix("/x"),
    )


def _plan(expected: Expected, *, resumed: bool) -> str:
    """What stands for an upload id until there is one: empty for a single PUT."""
    each = part_size(expected.size, link=expected.link, resumed=resumed)
    if not each:
        return ""
    return NATIVE if each >= MIN_PART_SIZE else f"{PIECES}{each}"


def _cut(size: int, upload_id: str) -> list[Slice]:
    if upload_id.startswith(PIECES):
        return slices(size, int(upload_id.removeprefix(PIECES)))
    return slices(size, MIN_PART_SIZE)


def _check_whole(expected: Expected, received: Iterable[Received]) -> None:
    """Raises PartsMissing."""
    cut = _cut(expected.size, expected.upload_id)
    if missing := missing_parts(cut, received):
        raise PartsMissing([each.number for each in missing])


def _nothing_missing(expected: Expected, expires_at: datetime) -> Upload:
    upload_id = expected.upload_id
    cut = _cut(expected.size, upload_id) if upload_id else [Slice(1, 0, expected.size)]
    return Upload(
        strategy="multipart" if upload_id else "single",
        expires_at=expires_at,
        received=tuple(Received(number=each.number, size=each.size) for each in cut),
        upload_id=upload_id,
    )


def _places(key: str) -> tuple[str, ...]:
    """With what every key begins that an object, or what was made from it, may lie under."""
    return key, _incoming(key), f"{TRASH}{key}"


def _incoming(key: str) -> str:
    return f"{INCOMING}{key}"


def _pieces(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of exactly `size`, the last one the rest."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


class _NotSpoken(Exception):
    """The server does not know this part of S3."""


@contextmanager
def _answers(key: str, *, fine: Collection[str] = (), unspoken: bool = False) -> Iterator[None]:
    """The server's refusals in the port's words; codes in `fine` are no refusal.

    `unspoken`: raise _NotSpoken where the server has no such operation.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in fine:
            return
        if unspoken and code in NOT_SPOKEN:
            raise _NotSpoken from error
        if code in MISSING:
            raise ObjectMissing(key) from error
        logger.exception("S3 refused: %s %s", code, key)
        raise StoreUnavailable from error
    except BotoCoreError as error:
        logger.exception("S3 does not answer: %s", key)
        raise StoreUnavailable from error
