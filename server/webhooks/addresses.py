"""Which addresses an endpoint may have. Where the connection may go is for server.core.outbound to say."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from server.core.hosts import AddressRefused, NoAnswer, check_host, is_own_address

MAX_URL = 500


class UrlRefused(Exception):
    """Not an address that we send to; the text says why."""


def check_url(url: str) -> None:
    """https to the Internet, http only within OUTBOUND_PRIVATE_NETWORKS. Raises UrlRefused."""
    if len(url) > MAX_URL or not url.isascii() or any(letter <= " " for letter in url):
        raise UrlRefused(_("网址过长，或含有空格、中文等不允许的字符。"))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UrlRefused(_("这不是一个网址。")) from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or "%" in host:
        raise UrlRefused(_("请填写以 https:// 开头的网址。"))
    if parts.username is not None or parts.fragment:
        raise UrlRefused(_("网址中不能带有用户名、密码或 # 后的部分。"))
    port = port or (443 if parts.scheme == "https" else 80)
    try:
        check_host(host, port)
    except AddressRefused:
        raise UrlRefused(_("%(host)s 指向内部网络，不能向它推送。") % {"host": host}) from None
    except NoAnswer:
        raise UrlRefused(_("找不到 %(host)s，请检查网址。") % {"host": host}) from None
    if parts.scheme == "http" and not _is_all_own(host, port):
        raise UrlRefused(_("只能推送到以 https:// 开头的网址。"))


def _is_all_own(host: str, port: int) -> bool:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return all(is_own_address(str(each[4][0])) for each in found)
