"""Any S3-compatible server as the object store, through boto3. The only module that knows boto3."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import boto3
from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import ImproperlyConfigured

from media_storage.errors import StoreUnavailable
from media_storage.stores import (
    CHUNK,
    MIN_PART_SIZE,
    UPLOAD_TIME,
    Erased,
    Expected,
    ObjectMissing,
    Part,
    PartsMissing,
    Received,
    Slice,
    Upload,
    Written,
    disposition,
    exists,
    is_multipart,
    kept_for,
    missing_parts,
    reading_window,
    slices,
)
from server.core import clock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

logger = logging.getLogger(__name__)

MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
NOT_SPOKEN = {"NotImplemented", "MethodNotAllowed", "InvalidRequest"}
AWS = ("", "s3.amazonaws.com")


@dataclass(frozen=True, slots=True)
class S3Store:
    """See media_storage.stores.Store."""

    client: S3Client
    bucket: str

    direct: ClassVar[bool] = True

    @classmethod
    def from_url(cls, url: str) -> S3Store:
        parts = urlsplit(url)
        bucket = unquote(parts.path.strip("/"))
        if not (parts.username and parts.password and bucket) or "/" in bucket:
            raise ImproperlyConfigured(
                "MEDIA_STORE_URL must look like s3://ACCESS:SECRET@host:port/bucket?region=NAME"
            )
        return cls(_client(parts), bucket)

    def create(self) -> None:
        region = self.client.meta.region_name
        options: dict[str, Any] = {}
        if region != "us-east-1":  # the one region that S3 refuses to be told
            options["CreateBucketConfiguration"] = {"LocationConstraint": region}
        with _answers(self.bucket, fine=THERE):
            self.client.create_bucket(Bucket=self.bucket, **options)

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        pieces = _pieces(chunks, MIN_PART_SIZE)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is not None:
            return self._write_parts(key, chain([first, second], pieces))
        with _answers(key):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=first)
        return Written(size=len(first), sha256=hashlib.sha256(first).hexdigest())

    def read(self, key: str) -> Iterator[bytes]:
        with _answers(key):
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
            with closing(body):
                yield from body.iter_chunks(CHUNK)

    def size(self, key: str) -> int:
        with _answers(key):
            return self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]

    def delete(self, key: str) -> None:
        for each in (key, _incoming(key)):
            with _answers(each, fine=MISSING):
                self.client.delete_object(Bucket=self.bucket, Key=each)

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        expires_at = clock.now() + UPLOAD_TIME
        if not fresh and self._has_arrived(expected.key):
            return _nothing_missing(expected, expires_at)
        if not is_multipart(expected.size):
            return self._single(expected, expires_at)
        upload_id, received = self._begun(expected)
        return Upload(
            strategy="multipart",
            expires_at=expires_at,
            parts=tuple(
                self._part(expected.key, upload_id, each)
                for each in missing_parts(expected.size, received)
            ),
            received=tuple(received),
            upload_id=upload_id,
        )

    def complete_upload(self, expected: Expected) -> None:
        if exists(self, expected.key):
            return
        try:
            if expected.upload_id:
                self._join(expected)
            self._take_in(expected.key)
        except ObjectMissing:
            # Another request may have done it between our look and our step.
            if not exists(self, expected.key):
                raise

    def abort_upload(self, key: str, upload_id: str) -> None:
        self._abort(_incoming(key), upload_id)

    def clear_drafts(self, *, before: datetime) -> int:
        with _answers(self.bucket):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket)
            begun = [each for page in pages for each in page.get("Uploads", ())]
        drafts = [
            each
            for each in begun
            if each["Initiated"] < before and not each["Key"].startswith(_incoming(""))
        ]
        for each in drafts:
            self._abort(each["Key"], each["UploadId"])
        return len(drafts)

    def download_url(
        self, key: str, *, filename: str, content_type: str, expires_in: timedelta, base_url: str
    ) -> str:
        seconds = int(expires_in.total_seconds())
        return self.client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentType": content_type,
                "ResponseContentDisposition": disposition(filename, content_type),
                "ResponseCacheControl": kept_for(seconds),
            },
            ExpiresIn=2 * seconds,  # from the beginning of the window: see SteadyQueryAuth
        )

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        # The two keys by name as well: the listings of some servers lag behind their objects.
        keys = {key, _incoming(key)}
        for prefix in (key, _incoming(key)):
            keys.update(self._keys_from(prefix))
            self._abort_all(prefix)
        if upload_id:
            self.abort_upload(key, upload_id)
        for each in sorted(keys):
            with _answers(each, fine=MISSING):
                self.client.delete_object(Bucket=self.bucket, Key=each)
        # After the plain deletion, which in a bucket with versions only adds a marker to them.
        versions = [self._erase_versions(prefix) for prefix in (key, _incoming(key))]
        known = [count for count in versions if count is not None]
        return Erased(tuple(sorted(keys)), sum(known) if len(known) == len(versions) else None)

    def traces(self, key: str) -> list[str]:
        found: list[str] = []
        for prefix in (key, _incoming(key)):
            found += [each for each in self._keys_from(prefix) if exists(self, each)]
            found += [f"{each} {upload_id}" for each, upload_id in self._uploads_of(prefix)]
            found += [f"{each} {version}" for each, version in self._versions_of(prefix) or ()]
        return found

    def _keys_from(self, prefix: str) -> list[str]:
        with _answers(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def _abort_all(self, prefix: str) -> None:
        """Half-done uploads of these keys: their parts lie in the store under no key."""
        for key, upload_id in self._uploads_of(prefix):
            self._abort(key, upload_id)

    def _uploads_of(self, prefix: str) -> list[tuple[str, str]]:
        with _answers(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            return [
                (each["Key"], each["UploadId"])
                for page in pages
                for each in page.get("Uploads", ())
            ]

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

    def _has_arrived(self, key: str) -> bool:
        return exists(self, _incoming(key)) or exists(self, key)

    def _single(self, expected: Expected, expires_at: datetime) -> Upload:
        url = self.client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self.bucket,
                "Key": _incoming(expected.key),
                "ContentType": expected.content_type,
                "ContentLength": expected.size,  # signed: the server takes no other length
            },
            ExpiresIn=int(UPLOAD_TIME.total_seconds()),
        )
        headers = {"Content-Type": expected.content_type}
        part = Part(number=1, url=url, size=expected.size, headers=headers)
        return Upload(strategy="single", expires_at=expires_at, parts=(part,))

    def _part(self, key: str, upload_id: str, each: Slice) -> Part:
        url = self.client.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self.bucket,
                "Key": _incoming(key),
                "UploadId": upload_id,
                "PartNumber": each.number,
                "ContentLength": each.size,
            },
            ExpiresIn=int(UPLOAD_TIME.total_seconds()),
        )
        return Part(number=each.number, url=url, size=each.size, offset=each.offset)

    def _begun(self, expected: Expected) -> tuple[str, list[Received]]:
        """The multipart upload and its parts; a new one where the server knows none."""
        if expected.upload_id:
            with suppress(ObjectMissing):
                return expected.upload_id, [
                    Received(number=number, size=size)
                    for number, size, _etag in self._parts(expected)
                ]
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

    def _join(self, expected: Expected) -> None:
        try:
            parts = self._parts(expected)
        except ObjectMissing:
            return  # joined by an earlier try that came no further
        received = [Received(number=number, size=size) for number, size, _etag in parts]
        if missing := missing_parts(expected.size, received):
            raise PartsMissing([each.number for each in missing])
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

    def _take_in(self, key: str) -> None:
        """Copy what was uploaded to its place, out of reach of the addresses that were signed.

        Multipart uploads too: on Swift a late PUT to a part of a completed upload breaks the object.
        """
        incoming = _incoming(key)
        with _answers(incoming):
            self.client.copy_object(
                Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": incoming}
            )
            self.client.delete_object(Bucket=self.bucket, Key=incoming)

    def _write_parts(self, key: str, pieces: Iterable[bytes]) -> Written:
        digest, size, etags = hashlib.sha256(), 0, {}
        upload_id = self._begin(key, "application/octet-stream")
        try:
            for number, piece in enumerate(pieces, start=1):
                digest.update(piece)
                size += len(piece)
                etags[number] = self._send_part(key, upload_id, number, piece)
            self._finish(key, upload_id, etags)
        except BaseException:
            # The bytes so far would lie there, paid for and invisible.
            self._abort(key, upload_id)
            raise
        return Written(size=size, sha256=digest.hexdigest())

    def _send_part(self, key: str, upload_id: str, number: int, piece: bytes) -> str:
        with _answers(key):
            answer = self.client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=piece
            )
        return answer["ETag"]


class SteadyQueryAuth(S3SigV4QueryAuth):
    """Signs an address as of the beginning of its reading window, half as long as it lasts.

    boto3 signs with the present second, so that a page's pictures would have other addresses, and be
    fetched again, each time that the page is opened.
    """

    NAME: ClassVar[str] = "s3v4-steady-query"

    def _modify_request_before_signing(self, request: Any) -> None:
        lasts: int = self._expires  # type: ignore[attr-defined] # not in the stubs
        begins = reading_window(timedelta(seconds=lasts // 2))
        request.context["timestamp"] = begins.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]

    @classmethod
    def chosen(cls, signature_version: str, **_context: object) -> str | None:
        """The answer to botocore's question which signer to use: this one for addresses alone."""
        return cls.NAME if signature_version == "s3v4-query" else None


AUTH_TYPE_MAPS[SteadyQueryAuth.NAME] = SteadyQueryAuth


def _client(url: SplitResult) -> S3Client:
    options = dict(parse_qsl(url.query))
    host = url.netloc.rpartition("@")[2]
    scheme = options.get("scheme", "https")
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if options.get("path_style") == "1" else "auto"},
        # Servers other than AWS refuse the checksums that newer SDKs add by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=32,
    )
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=None if host in AWS else f"{scheme}://{host}",
        region_name=options.get("region", "us-east-1"),
        aws_access_key_id=unquote(url.username or ""),
        aws_secret_access_key=unquote(url.password or ""),
        config=config,
    )
    events: Any = client.meta.events  # whose stubs know no handler that answers
    events.register("choose-signer.s3.GetObject", SteadyQueryAuth.chosen)
    return client


def _nothing_missing(expected: Expected, expires_at: datetime) -> Upload:
    multipart = is_multipart(expected.size)
    cut = slices(expected.size) if multipart else [Slice(1, 0, expected.size)]
    return Upload(
        strategy="multipart" if multipart else "single",
        expires_at=expires_at,
        received=tuple(Received(number=each.number, size=each.size) for each in cut),
        upload_id=expected.upload_id,
    )


def _incoming(key: str) -> str:
    return f"incoming/{key}"


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
