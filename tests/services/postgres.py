"""PostgreSQL in a fresh cluster; root starts it as the user that Debian's package makes."""

from __future__ import annotations

import getpass
import os
import pwd
import signal
from pathlib import Path

from tests.services.base import Missing, Service, Workshop, free_port, program

DATABASE = "duxue"

_FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""A power cut may cost a test's data: nobody will miss it."""

_ALWAYS = {"max_connections": "200", "shared_buffers": "256MB", "timezone": "UTC"}


def _start(workshop: Workshop, settings: dict[str, str]) -> str:
    folders = _versions_newest_first()
    initdb = program("initdb", package="postgresql", folders=folders)
    postgres = program("postgres", package="postgresql", folders=folders)
    port, data = free_port(), workshop.folder / "data"
    _refuse_root_without_a_user(workshop)
    workshop.run(
        *(initdb, "--pgdata", data, "--username", "duxue", "--auth", "trust"),
        *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
    )
    chosen = {
        **_ALWAYS,
        **settings,
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(workshop.folder),
    }
    options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    workshop.spawn("postgres.log", postgres, "-D", data, *options)
    pid_file = data / "postmaster.pid"
    workshop.wait(lambda: _says_ready(pid_file), what="PostgreSQL")
    createdb = program("createdb", package="postgresql", folders=folders)
    workshop.run(
        createdb, "--host", "127.0.0.1", "--port", str(port), "--username", "duxue", DATABASE
    )
    return f"postgres://duxue@127.0.0.1:{port}/{DATABASE}"


def _versions_newest_first() -> list[Path]:
    """Debian keeps the server's programs out of PATH, a folder for each version."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(found, key=lambda path: float(path.parent.name), reverse=True)


def _says_ready(pid_file: Path) -> bool:
    """The eighth line of postmaster.pid turns to `ready` when connections are accepted."""
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _server_user() -> str | None:
    """Whom to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else None


def _refuse_root_without_a_user(workshop: Workshop) -> None:
    if os.geteuid() == 0 and workshop.user is None:
        raise Missing(
            f"PostgreSQL does not run as {getpass.getuser()}, and there is no user `postgres`"
        )


POSTGRES = Service(
    name="postgres",
    variable="TEST_POSTGRES_URL",
    start=lambda workshop: _start(workshop, _FOR_TESTS),
    stop_signal=signal.SIGINT,  # a fast shutdown: open connections are not waited for
    user=_server_user(),
)

DURABLE_POSTGRES = Service(
    name="postgres",
    variable="DATABASE_URL",
    start=lambda workshop: _start(workshop, {}),
    stop_signal=signal.SIGINT,
    user=_server_user(),
)
"""With PostgreSQL's own durable settings: what a benchmark may be measured on."""
