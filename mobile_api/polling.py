"""What phones ask for again and again: the same answer costs them 304 and nothing, others are small."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag

_gzip = GZipMiddleware(lambda _request: HttpResponse())


def finish(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The rendered answer of a view, with its ETag, or 304 where the client has it; compressed.

    Compression is safe here: an attacker's page cannot make a browser send our bearer tokens, so it
    has no secret to guess from lengths.
    """
    patch_vary_headers(response, ("Authorization", "Accept-Language"))
    response.headers.setdefault("Cache-Control", "private, no-cache")
    if request.method in ("GET", "HEAD") and response.status_code == 200:
        digest = hashlib.blake2b(response.content, digest_size=16).hexdigest()
        etag = quote_etag(digest)
        response.headers["ETag"] = etag
        response = get_conditional_response(request, etag=etag, response=response) or response
    squeezed = _gzip.process_response(request, response)
    assert isinstance(squeezed, HttpResponse)  # noqa: S101 - it returns what it was given
    return squeezed
