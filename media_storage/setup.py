"""Making a bucket fit: created, open to our pages by CORS, half-done uploads swept by a lifecycle.

Rules of the operator's own stay; ours are known by their names and replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from media_storage.checking import origin_of_pages
from media_storage.stores import Store
from media_storage.stores.s3 import INCOMING, NoAnswer, Refused, S3Store

UPLOADS = "duxue-uploads"
PARTS = "duxue-parts"
MARGIN_DAYS = 7
"""The worker comes first; the lifecycle is for an installation whose worker stands still."""


def set_up(store: Store) -> Iterator[tuple[str, str]]:
    """Does it, and says what was done or why not: (what, `done` or the server's refusal)."""
    store.create()
    yield "bucket", "done"
    if not isinstance(store, S3Store):
        return
    if origin := origin_of_pages():
        yield "CORS", _try(lambda: _set_cors(store, origin))
    yield "lifecycle", _try(lambda: _set_lifecycle(store))


def _try(do: Any) -> str:
    try:
        do()
    except (Refused, NoAnswer) as error:
        return str(error)
    return "done"


def _set_cors(store: S3Store, origin: str) -> None:
    rules = [
        rule
        for rule in _asked(store, "get_bucket_cors", "CORSRules")
        if rule.get("AllowedOrigins") != [origin]
    ]
    ours = {
        "AllowedOrigins": [origin],
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "Content-Range", "Accept-Ranges"],
        "MaxAgeSeconds": 3600,
    }
    store.ask("put_bucket_cors", CORSConfiguration={"CORSRules": [*rules, ours]})


def _set_lifecycle(store: S3Store) -> None:
    days = settings.MEDIA_UPLOAD_KEPT_DAYS + MARGIN_DAYS
    rules = [
        rule
        for rule in _asked(store, "get_bucket_lifecycle_configuration", "Rules")
        if rule.get("ID") not in (UPLOADS, PARTS)
    ]
    ours = [
        {
            "ID": UPLOADS,
            "Status": "Enabled",
            "Filter": {"Prefix": INCOMING},
            "Expiration": {"Days": days},
        },
        {
            "ID": PARTS,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
        },
    ]
    store.ask(
        "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [*rules, *ours]}
    )


def _asked(store: S3Store, operation: str, name: str) -> list[dict[str, Any]]:
    """What is set; nothing where nothing is."""
    try:
        rules: list[dict[str, Any]] = store.ask(operation).get(name, [])
    except Refused as refusal:
        if refusal.status != 404:
            raise
        return []
    return rules
