"""Our signature is botocore's; that servers take it, the contract suite shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest

from media_storage.stores import open_store
from media_storage.stores.s3 import S3Store

NOW = datetime(2026, 11, 25, 3, 4, 5, tzinfo=UTC)
URLS = [
    "s3://AKIDEXAMPLE:wJalr%2FXUt+EXAMPLE@storage.example:9000/photos?scheme=http&path_style=1",
    "s3://AKIDEXAMPLE:secret@storage.example/photos?region=cn-north-1&path_style=1",
    "s3://AKIDEXAMPLE:secret@s3.amazonaws.com/photos?region=eu-central-1",
    "s3://AKIDEXAMPLE:secret@storage.example:443/photos",
]
KEY = "202611/25/0123abcd~ef 督.jpg"


def botocore(store: S3Store, operation: str, **parameters: Any) -> str:
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        url: str = store.client.generate_presigned_url(
            operation, Params={"Bucket": "photos", "Key": KEY, **parameters}, ExpiresIn=600
        )
    return url


def same(ours: str, theirs: str) -> bool:
    one, other = urlsplit(ours), urlsplit(theirs)
    return one[:3] == other[:3] and parse_qs(one.query) == parse_qs(other.query)


@pytest.fixture(params=URLS, ids=["port", "path", "aws", "host"])
def store(request: pytest.FixtureRequest) -> S3Store:
    made = open_store(request.param)
    assert isinstance(made, S3Store)
    return made


def ours(store: S3Store, method: str, **more: Any) -> str:
    return store.signer.address(method, KEY, at=NOW, expires_in=timedelta(minutes=10), **more)


def test_a_download_is_signed_alike(store: S3Store) -> None:
    named = {"response-content-disposition": "inline; filename*=utf-8''a%20b.jpg"}
    theirs = botocore(
        store, "get_object", ResponseContentDisposition=named["response-content-disposition"]
    )
    assert same(ours(store, "GET", query=named), theirs)


def test_an_upload_with_its_headers_is_signed_alike(store: S3Store) -> None:
    headers = {"Content-Type": "image/jpeg", "Content-Length": "123", "x-amz-checksum-sha256": "q="}
    theirs = botocore(
        *(store, "put_object"), ContentType="image/jpeg", ContentLength=123, ChecksumSHA256="q="
    )
    assert same(ours(store, "PUT", headers=headers), theirs)


def test_a_part_is_signed_alike(store: S3Store) -> None:
    theirs = botocore(store, "upload_part", UploadId="2~a/b+c", PartNumber=7, ContentLength=5)
    query = {"uploadId": "2~a/b+c", "partNumber": "7"}
    assert same(ours(store, "PUT", query=query, headers={"Content-Length": "5"}), theirs)


def test_the_keys_of_a_day_are_not_those_of_the_next(store: S3Store) -> None:
    address = store.signer.address
    hour = timedelta(hours=1)
    today = address("GET", KEY, at=NOW, expires_in=hour)
    tomorrow = address("GET", KEY, at=NOW + timedelta(days=1), expires_in=hour)
    assert address("GET", KEY, at=NOW, expires_in=hour) == today
    assert today.rpartition("=")[2] != tomorrow.rpartition("=")[2]


def test_the_secret_is_not_shown(store: S3Store) -> None:
    assert store.signer.secret_key not in repr(store)
