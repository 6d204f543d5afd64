"""A mail server: Debian's aiosmtpd in a process of its own."""

from __future__ import annotations

import email
import email.policy
import json
import subprocess
from email.message import EmailMessage
from pathlib import Path

from tests.services.base import Missing, Running, Service, Workshop, free_port, listens

PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("smtp_server.py")
KEPT = "kept.jsonl"


def _start(workshop: Workshop) -> str:
    try:
        subprocess.run([PYTHON, "-c", "import aiosmtpd"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Missing(
            "aiosmtpd is not installed: on Debian `apt-get install python3-aiosmtpd`"
        ) from None
    port = free_port()
    workshop.spawn("smtp.log", PYTHON, PROGRAM, str(port), workshop.folder / KEPT)
    workshop.wait(lambda: listens(port), what="aiosmtpd")
    return f"smtp://office:mail-secret@127.0.0.1:{port}"


SMTP = Service(name="smtp", variable="TEST_SMTP_URL", start=_start)


def mails_in(service: Running) -> list[tuple[list[str], EmailMessage]]:
    """(recipients, message) of everything that the server accepted, in order."""
    kept = Path(service.folder) / KEPT
    lines = kept.read_text().splitlines() if kept.exists() else []
    found = []
    for line in map(json.loads, lines):
        content = line["content"].encode("utf-8", "surrogateescape")
        message = email.message_from_bytes(content, policy=email.policy.default)
        found.append((line["to"], message))
    return found


def forget_mails(service: Running) -> None:
    (Path(service.folder) / KEPT).unlink(missing_ok=True)
