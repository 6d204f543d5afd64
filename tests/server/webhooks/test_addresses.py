"""Which addresses an endpoint may have: outside, and nowhere within."""

from __future__ import annotations

import socket

import pytest

from server.webhooks.addresses import UrlRefused, check_url

OUTSIDE = "203.0.114.7"
"""A public address, though nobody is asked there."""


@pytest.fixture
def names(monkeypatch) -> dict[str, list[str]]:
    """What names resolve to; numbers are themselves."""
    known = {"portal.example": [OUTSIDE]}
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **more):
        if host not in known:
            return real(host, port, *rest, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
        return [real(each, port, type=socket.SOCK_STREAM)[0] for each in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_a_public_name_with_https_is_taken(names):
    check_url("https://portal.example/hook?area=1")
    check_url("https://portal.example:8443/hook")


@pytest.mark.parametrize(
    "url",
    [
        "http://portal.example/",
        "ftp://portal.example/",
        "portal.example",
        "https://",
        "https://user:word@portal.example/",
        "https://portal.example/#part",
        "https://portal.example:99999/",
        "https://portal.example/ space",
        "https://portal.example/\r\nX-Injected: 1",
        "https://督学.example/",
        "https://portal.example/" + "x" * 500,
        "https://unknown.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_public_https_address_is_refused(names, url):
    with pytest.raises(UrlRefused):
        check_url(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[2002:7f00:1::]",
        "[64:ff9b::a00:1]",
    ],
)
def test_an_address_within_is_refused_however_it_is_written(names, host):
    with pytest.raises(UrlRefused):
        check_url(f"https://{host}/")


def test_a_name_that_leads_inside_is_refused_also_when_it_leads_outside_too(names):
    names["inside.example"] = ["10.1.2.3"]
    names["both.example"] = [OUTSIDE, "10.1.2.3"]
    for host in ("inside.example", "both.example"):
        with pytest.raises(UrlRefused, match="内部网络"):
            check_url(f"https://{host}/")


def test_a_listed_network_is_allowed_with_http_too_and_no_other(names, settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = ["10.20.0.0/16"]
    names["portal.county"] = ["10.20.0.8"]
    check_url("http://portal.county/hook")
    check_url("https://10.20.0.8/hook")
    for url in ("http://10.21.0.1/", "http://portal.example/", "https://169.254.169.254/"):
        with pytest.raises(UrlRefused):
            check_url(url)
