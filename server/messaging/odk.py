"""Addresses and settings QR codes that OpenRosa clients need: ODK Collect's JSON, zlib, base64."""

from __future__ import annotations

import base64
import json
import zlib

import segno
from django.utils.safestring import SafeString, mark_safe

from server.messaging.models import Device
from server.messaging.sessions import key_for


def key_url(base_url: str, device: Device) -> str:
    """The person's own server address: whoever has it acts in their name, until the log-out."""
    return f"{base_url}/key/{key_for(device)}"


def password_url(base_url: str) -> str:
    """The server address for HTTP Digest and Basic."""
    return f"{base_url}/openrosa"


def qr_picture(base_url: str, device: Device) -> SafeString:
    """The settings QR code as an inline SVG, for a person to scan with ODK Collect."""
    content = settings_qr(server_url=key_url(base_url, device))
    svg: str = segno.make(content, error="l").svg_inline(scale=4, border=4, light="#fff")
    return mark_safe(svg)  # noqa: S308 - drawn by segno from bytes of ours


def settings_qr(*, server_url: str, username: str = "", password: str = "") -> str:
    """What a settings QR code says (ODK Collect's format: general, admin, project)."""
    general = {
        "protocol": "odk_default",
        "server_url": server_url,
        "form_update_mode": "match_exactly",
        "autosend": "wifi_and_cellular",
    }
    if username:
        general |= {"username": username, "password": password}
    project = {"name": "督学", "icon": "督", "color": "#1d5bc4"}
    content = {"general": general, "admin": {}, "project": project}
    packed = zlib.compress(json.dumps(content, ensure_ascii=False).encode())
    return base64.b64encode(packed).decode()
