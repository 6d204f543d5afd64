"""Addresses that allow one S3 request, signed as AWS's Signature Version 4 does in a query.

botocore does it too, in 0.18 ms an address against 0.02 here; an upload in pieces has hundreds of them.
tests/media_storage/test_signing.py holds both to the same signature.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """`base` is where the bucket's keys begin: https://host/bucket or https://bucket.host."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    base: str

    def address(
        self,
        method: str,
        key: str,
        *,
        at: datetime,
        expires_in: timedelta,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        payload: str = UNSIGNED,
    ) -> str:
        """Whoever has it may send `method` with exactly these headers, from `at` on.

        `payload`: the SHA-256 that the body must have, in hexadecimal.
        """
        parts = urlsplit(self.base)
        signed = {"host": _host(self.base)} | {
            name.lower(): value.strip() for name, value in (headers or {}).items()
        }
        names = ";".join(sorted(signed))
        moment, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        asked = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(int(expires_in.total_seconds())),
            "X-Amz-SignedHeaders": names,
        }
        path = quote(f"{parts.path}/{key}", safe="/-_.~")
        arguments = "&".join(f"{_quoted(name)}={_quoted(asked[name])}" for name in sorted(asked))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = "\n".join([method, path, arguments, lines, names, payload])
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join([ALGORITHM, moment, scope, digest])
        signature = hmac.digest(
            _signing_key(self.secret_key, day, self.region), text.encode(), "sha256"
        ).hex()
        return f"{parts.scheme}://{parts.netloc}{path}?{arguments}&X-Amz-Signature={signature}"


@lru_cache(maxsize=64)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=64)
def _host(base: str) -> str:
    """As a client puts it into its Host header: without the scheme's own port."""
    parts = urlsplit(base)
    default = parts.port is None or parts.port == _DEFAULT_PORTS[parts.scheme]
    return (parts.hostname or "") if default else f"{parts.hostname}:{parts.port}"


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
