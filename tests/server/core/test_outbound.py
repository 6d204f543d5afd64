"""Requests to addresses that others gave us: what is refused before a byte leaves."""

from __future__ import annotations

import ipaddress
import socket
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from server.core import clock, hosts
from server.core.hosts import AddressRefused, NoAnswer, check_host, is_public
from server.core.outbound import Answer, post
from tests.fakes.vendors import SmsGateway


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::",
        "64:ff9b::7f00:1",
        "64:ff9b::c0a8:101",
    ],
)
def test_addresses_of_ones_own_network_are_not_public(address, settings):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "183.3.224.1", "2408:8000::1", "64:ff9b::808:808"])
def test_addresses_of_the_world_are_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_a_network_that_the_operator_names_may_be_reached(settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = ["10.1.0.0/16"]
    assert is_public(ipaddress.ip_address("10.1.2.3"))
    assert is_public(ipaddress.ip_address("::ffff:10.1.2.3"))
    assert not is_public(ipaddress.ip_address("10.2.2.3"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "017700000001", "[::1]"]
)
def test_no_spelling_of_the_loopback_is_called(host):
    with SmsGateway() as server:
        with pytest.raises(NoAnswer):
            post(f"http://{host}:{server.port}/", b"{}", {})
        assert server.requests == []


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to the first list the first time, to the second the second time, and so on."""
    asked: list[str] = []
    left = list(answers)

    def getaddrinfo(host: str, port: int, *_more: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(hosts.socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_leads_inside_is_refused(monkeypatch):
    _resolving(monkeypatch, ["192.168.1.10"])
    with pytest.raises(AddressRefused):
        check_host("robot.example", 443)


def test_a_name_that_leads_inside_and_outside_is_refused(monkeypatch):
    _resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefused):
        check_host("robot.example", 443)


def test_a_name_that_answers_otherwise_at_sending_gains_nothing(monkeypatch):
    """DNS rebinding: fine when it was saved, inside when it is called."""
    with SmsGateway() as server:
        _resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
        check_host("robot.example", server.port)
        with pytest.raises(AddressRefused):
            post(f"http://robot.example:{server.port}/", b"{}", {})
        assert server.requests == []


def test_the_address_that_was_looked_at_is_the_one_that_is_called(monkeypatch, settings):
    """Each connection resolves once: there is no second answer to be fooled by."""
    settings.OUTBOUND_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    with SmsGateway() as server:
        asked = _resolving(monkeypatch, ["127.0.0.1"], ["192.168.1.1"])
        answer = post(f"http://robot.example:{server.port}/send", b"{}", {})
        assert answer.status == 401
        assert asked == ["robot.example"]


def test_a_redirect_is_not_followed(settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    with SmsGateway() as server:
        server.queue.append("redirect")
        assert post(f"{server.url}/", b"", {}).status == 302


def test_a_proxy_of_the_environment_is_not_used(monkeypatch, settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with SmsGateway() as server:
        assert post(f"{server.url}/", b"", {}).status == 401


def test_a_reason_does_not_repeat_the_address():
    with pytest.raises(NoAnswer) as failure:
        post("http://secret-token.invalid.example:1/?key=hidden", b"", {}, timeout=1)
    assert "hidden" not in str(failure.value)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("90", 90), ("", None), ("soon", None), ("-5", None), ("9" * 400, 999999999), ("١٢", None)],
)
def test_how_long_to_wait_is_read_as_a_number(told, seconds):
    assert Answer(429, {"Retry-After": told}, b"").retry_after == seconds


def test_how_long_to_wait_is_read_as_a_date(monkeypatch):
    moment = clock.now().replace(microsecond=0)
    monkeypatch.setattr(clock, "now", lambda: moment)
    header = format_datetime(moment + timedelta(seconds=75), usegmt=True)
    assert Answer(503, {"Retry-After": header}, b"").retry_after == 75
