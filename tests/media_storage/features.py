"""What S3 servers do and do not: the rows of the table in docs/stores.md, each found by trying it.

A feature is a function of a bucket that says in a word what it found.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx

from media_storage.stores import MIN_PART_SIZE, Store
from media_storage.stores.folder import FolderStore
from media_storage.stores.s3 import Refused, S3Store
from server.core import clock

YES, NO, NONE = "yes", "no", "–"
CONTENT = b"0123456789" * 100
OTHER = CONTENT[::-1]
SHA256 = hashlib.sha256(CONTENT)
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
HOUR = timedelta(hours=1)

Feature = Callable[[S3Store], str]


def new_key() -> str:
    return f"features/{secrets.token_hex(8)}"


def put(
    store: S3Store,
    key: str,
    content: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    unsigned: Mapping[str, str] | None = None,
    **signed: Any,
) -> httpx.Response:
    signed.setdefault("at", clock.now())
    url = store.signer.address("PUT", key, expires_in=HOUR, headers=headers, **signed)
    return httpx.put(url, content=content, headers={**(headers or {}), **(unsigned or {})})


def get(store: S3Store, key: str, **headers: str) -> httpx.Response:
    url = store.signer.address("GET", key, at=clock.now(), expires_in=HOUR)
    return httpx.get(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def said(fine: bool) -> str:
    return YES if fine else NO


def enforced(store: S3Store, **options: Any) -> str:
    """Whether the right bytes are taken and others are not."""
    right = put(store, new_key(), CONTENT, **options).status_code
    wrong = put(store, new_key(), OTHER, **options).status_code
    return said(right == 200 and wrong >= 400)


def one_put(store: S3Store) -> str:
    return said(put(store, new_key(), CONTENT).status_code == 200)


def length(store: S3Store) -> str:
    headers = {"Content-Length": str(len(CONTENT))}
    url = store.signer.address("PUT", new_key(), at=clock.now(), expires_in=HOUR, headers=headers)
    right, wrong = httpx.put(url, content=CONTENT), httpx.put(url, content=CONTENT[:-1])
    return said(right.status_code == 200 and wrong.status_code >= 400)


def content_sha256(store: S3Store) -> str:
    digest = SHA256.hexdigest()
    return enforced(store, headers={"x-amz-content-sha256": digest}, payload=digest)


def checksum_sha256(store: S3Store) -> str:
    encoded = base64.b64encode(SHA256.digest()).decode()
    return enforced(store, headers={"x-amz-checksum-sha256": encoded})


def content_md5(store: S3Store) -> str:
    return enforced(store, unsigned={"Content-MD5": MD5})


def only_if_new(store: S3Store) -> str:
    key, headers = new_key(), {"If-None-Match": "*"}
    first = put(store, key, CONTENT, headers=headers).status_code
    return said((first, put(store, key, OTHER, headers=headers).status_code) == (200, 412))


def expiry(store: S3Store) -> str:
    return said(put(store, new_key(), CONTENT, at=clock.now() - 2 * HOUR).status_code == 403)


class Multipart:
    """A multipart upload by signed addresses."""

    def __init__(self, store: S3Store) -> None:
        self.store, self.key = store, new_key()
        self.id = store.ask("create_multipart_upload", Key=self.key)["UploadId"]

    def put(self, number: int, content: bytes) -> httpx.Response:
        query = {"partNumber": str(number), "uploadId": self.id}
        return put(self.store, self.key, content, query=query)

    def complete(self) -> None:
        parts = self.store.ask("list_parts", Key=self.key, UploadId=self.id)["Parts"]
        named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
        self.store.ask(
            "complete_multipart_upload",
            Key=self.key,
            UploadId=self.id,
            MultipartUpload={"Parts": named},
        )

    def takes(self, size: int) -> bool:
        """Whether the first of two parts may be of this size."""
        self.put(1, bytes(size))
        self.put(2, b"rest")
        try:
            self.complete()
        except Refused as refusal:
            if refusal.code != "EntityTooSmall":
                raise
            return False
        return True


def multipart(store: S3Store) -> str:
    return said(Multipart(store).takes(MIN_PART_SIZE))


def smallest_part(store: S3Store) -> str:
    for size, words in ((1024, "1 KiB"), (256 * 1024, "256 KiB"), (MIN_PART_SIZE, "5 MiB")):
        if Multipart(store).takes(size):
            return words
    return "more than 5 MiB"


def late_part(store: S3Store) -> str:
    upload = Multipart(store)
    upload.put(1, CONTENT)
    upload.complete()
    upload.put(1, OTHER)
    answer = get(store, upload.key)
    return "stays" if (answer.status_code, answer.content) == (200, CONTENT) else "breaks"


def ranges(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    middle, end, beyond = (
        get(store, key, Range=asked) for asked in ("bytes=2-4", "bytes=-3", "bytes=2000-")
    )
    fine = (middle.status_code, middle.content, end.content) == (206, CONTENT[2:5], CONTENT[-3:])
    return said(fine and beyond.status_code == 416)


def if_range(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    other = get(store, key, Range="bytes=2-4", If_Range='"other"')
    return said((other.status_code, other.content) == (200, CONTENT))


def not_modified(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    etag = get(store, key).headers["ETag"]
    return said(get(store, key, If_None_Match=etag).status_code == 304)


def named_download(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    url = store.download_url(
        key, filename="照片.jpg", content_type="image/jpeg", expires_in=HOUR, base_url=""
    )
    headers = httpx.get(url).headers
    wanted = (
        headers["Content-Type"] == "image/jpeg" and "filename*" in headers["Content-Disposition"]
    )
    return said(wanted and "immutable" in headers.get("Cache-Control", ""))


def cors(store: S3Store) -> str:
    rule = {"AllowedOrigins": ["https://duxue.example"], "AllowedMethods": ["PUT"]}
    return by_request(store, "put_bucket_cors", CORSConfiguration={"CORSRules": [rule]})


def lifecycle(store: S3Store) -> str:
    rule = {
        "ID": "x",
        "Status": "Enabled",
        "Filter": {"Prefix": "x/"},
        "Expiration": {"Days": 30},
    }
    return by_request(
        store, "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]}
    )


def bucket_policy(store: S3Store) -> str:
    try:
        store.ask("get_bucket_policy")
    except Refused as refusal:
        return said(refusal.status == 404)
    return YES


def by_request(store: S3Store, operation: str, **parameters: Any) -> str:
    try:
        store.ask(operation, **parameters)
    except Refused:
        return NO
    return YES


def post_policy(store: S3Store) -> str:
    form = store.client.generate_presigned_post(store.bucket, new_key())
    answer = httpx.post(form["url"], data=form["fields"], files={"file": CONTENT})
    return said(answer.status_code in (200, 201, 204))


def copy_condition(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    source = {"Bucket": store.bucket, "Key": key}
    wrong = '"00000000000000000000000000000000"'
    try:
        store.ask("copy_object", Key=new_key(), CopySource=source, CopySourceIfMatch=wrong)
    except Refused as refusal:
        return said(refusal.status == 412)
    return NO


def delete_many(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    store.ask("delete_objects", Delete={"Objects": [{"Key": key}, {"Key": new_key()}]})
    return said(get(store, key).status_code == 404)


def strangers(store: S3Store) -> str:
    key = new_key()
    put(store, key, CONTENT)
    listing = f"{store.signer.base}/?{urlencode({'list-type': 2})}"
    answers = [httpx.get(f"{store.signer.base}/{key}"), httpx.get(listing)]
    return said(all(answer.status_code >= 400 for answer in answers))


def versions(store: S3Store) -> str:
    return by_request(
        store, "put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}
    )


TABLE: dict[str, tuple[Feature, str]] = {
    "one signed PUT": (one_put, YES),
    "refuses another length than the signed one": (length, YES),
    "refuses other bytes: `x-amz-content-sha256`, signed": (content_sha256, NONE),
    "refuses other bytes: `x-amz-checksum-sha256`, signed": (checksum_sha256, NONE),
    "refuses other bytes: `Content-MD5`, sent by the phone": (content_md5, YES),
    "PUT with `If-None-Match: *`": (only_if_new, NONE),
    "refuses an expired address": (expiry, YES),
    "multipart upload by signed addresses": (multipart, YES),
    "smallest part, save for the last": (smallest_part, "any"),
    "a late PUT to a part of a completed upload: the object": (late_part, "stays"),
    "byte ranges, from the end too; 416": (ranges, YES),
    "`If-Range` with another ETag gives the whole": (if_range, YES),
    "304 for `If-None-Match`": (not_modified, YES),
    "file name, type and caching chosen in the address": (named_download, YES),
    "CORS set by request": (cors, NONE),
    "lifecycle set by request": (lifecycle, NONE),
    "bucket policy": (bucket_policy, NONE),
    "versioning set by request": (versions, NONE),
    "form upload with a POST policy": (post_policy, NONE),
    "copy with `x-amz-copy-source-if-match`": (copy_condition, NONE),
    "many deleted in one request": (delete_many, NONE),
    "closed to strangers as it is created": (strangers, YES),
}
"""The row's name; how it is found; what the folder store says, which has no S3 requests to try."""


def column(store: Store) -> dict[str, str]:
    """What this server says to every row."""
    if isinstance(store, FolderStore):
        return {name: folder for name, (_feature, folder) in TABLE.items()}
    assert isinstance(store, S3Store)
    return {name: feature(store) for name, (feature, _folder) in TABLE.items()}
