"""Which hosts we may speak to, of those that somebody named: none in our own network.

OUTBOUND_PRIVATE_NETWORKS names networks of one's own that may be reached all the same.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from django.conf import settings

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NoAnswer(Exception):
    """Nobody there, no answer in time, or one that broke off. What was sent may have arrived."""


class AddressRefused(NoAnswer):
    """The name leads into a network that we do not call."""


def check_host(host: str, port: int) -> None:
    """Raises AddressRefused where the name leads into our own network, NoAnswer where nowhere."""
    public_addresses(host, port)


def public_addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """What `getaddrinfo` says of it, all of it public. Raises AddressRefused, NoAnswer."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoAnswer(f"{host}: the name cannot be resolved") from error
    for *_kind, where in found:
        # One that leads inside spoils them all: a name for both is a trick.
        if not is_public(ipaddress.ip_address(str(where[0]).partition("%")[0])):
            raise AddressRefused(f"{host} leads into a private network")
    return found


def is_public(address: Address) -> bool:
    """Whether the whole world reaches this address, and not only our own network."""
    inner = _inner(address)
    return is_own_address(str(inner)) or (inner.is_global and not inner.is_multicast)


def is_own_address(host: str) -> bool:
    """Whether this is an address, not a name, in one of OUTBOUND_PRIVATE_NETWORKS."""
    try:
        address = _inner(ipaddress.ip_address(host))
    except ValueError:
        return False
    return any(
        address in network for network in _own_networks() if network.version == address.version
    )


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _own_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(each) for each in settings.OUTBOUND_PRIVATE_NETWORKS]
