"""The product as production runs it, the reference beside it, and what memory they take.

    api      granian, WSGI, 2 workers that share the program, connections to the database that persist
    live     uvicorn, web sockets
    worker   background work
    bare     the reference: granian with the same options (bare.py)

PostgreSQL with durable settings and Redis come from tests.services. What differs from production is
the store, a folder: with S3 a phone's photos would not pass this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.services import DURABLE_POSTGRES, REDIS, Running, Service, running
from tests.services.base import Workshop, free_port, listens

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
BARE_DATABASE = "bare"
GRANIAN = (
    *("--interface", "wsgi", "--host", "127.0.0.1", "--workers", "2", "--no-ws"),
    *("--blocking-threads", "2", "--blocking-threads-idle-timeout", "600"),
)
"""The same as `python -m server api` has."""
LIVE = (
    *("--host", "127.0.0.1", "--lifespan", "off", "--no-access-log", "--backlog", "4096"),
    *("--ws", "websockets-sansio", "--ws-max-size", "4096", "--ws-per-message-deflate", "false"),
    *("--ws-ping-interval", "40", "--ws-ping-timeout", "40"),
)
"""As in deploy/compose.yaml."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of one process, in megabytes. `pss` shares out what processes have in common."""

    part: str
    process: str
    rss: float
    pss: float


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that runs."""

    product_port: int
    bare_port: int
    database_url: str
    folder: Path
    plan: dict[str, Any]
    parts: tuple[Running, ...]
    environment: Mapping[str, str]

    def part(self, name: str) -> Running:
        return next(part for part in self.parts if part.name == name)

    def command(self, *command: str | Path) -> list[str]:
        """The command in the product's environment."""
        return _command(self.environment, *command)

    @property
    def media(self) -> Path:
        return self.folder / "var" / "media"

    def clear_bare(self) -> None:
        """Remove the files that the reference wrote."""
        for path in (self.folder / "bare").iterdir():
            path.unlink()

    @contextmanager
    def worker_stands(self) -> Iterator[None]:
        """Nothing is derived meanwhile."""
        pids = [int(pid) for part in self.parts if part.name == "worker" for pid in part.processes]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def memory(self) -> list[Memory]:
        """Of every process now."""
        found = []
        for part in self.parts:
            for pid in part.processes:
                for each in _with_children(int(pid)):
                    found += _memory(part.name, each)
        return found


@contextmanager
def world() -> Iterator[World]:
    """Start everything, end everything. Raises Missing and Failed."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="duxue-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("var/static", "bare"):
            (folder / name).mkdir(parents=True)
        postgres = stack.enter_context(running(DURABLE_POSTGRES))
        redis = stack.enter_context(running(REDIS))
        environment = _environment(postgres.url, redis.url, folder)
        plan = _prepare(environment)
        _copy_database(postgres.url)
        bare = {
            "BARE_DATABASE_URL": postgres.url.rpartition("/")[0] + f"/{BARE_DATABASE}",
            "BARE_FOLDER": str(folder / "bare"),
            "BARE_SAMPLE": plan["sample"],
        }
        services = (
            _api(environment),
            _live(environment),
            _worker(environment),
            _bare(bare),
        )
        api, live, worker, reference = [stack.enter_context(running(each)) for each in services]
        parts = (api, live, worker, redis, postgres, reference)
        try:
            yield World(
                product_port=int(api.url),
                bare_port=int(reference.url),
                database_url=postgres.url,
                folder=folder,
                plan=plan,
                parts=parts,
                environment=environment,
            )
        except Exception:
            _show_logs((api, live, worker, reference))
            raise


def _show_logs(parts: Sequence[Running], lines: int = 40) -> None:
    """What the processes had to say, before their folders go."""
    for part in parts:
        for log in Path(part.folder).glob("*.log"):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            sys.stderr.write("\n".join([f"--- {log.name}", *tail, ""]))


def _environment(database_url: str, redis_url: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "CHANNEL_URL": redis_url,
        "VAR_DIR": str(folder / "var"),
        "CONN_MAX_AGE": "600",
        "LOG_LEVEL": "WARNING",
    }


def _command(environment: Mapping[str, str], *command: str | Path) -> list[str]:
    """The command in an environment that holds of ours only what any program needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    values = {**kept, "PYTHONPATH": str(ROOT), **environment}
    settings = {"DJANGO_SETTINGS_MODULE": "server.config.settings"}
    pairs = [f"{name}={value}" for name, value in {**values, **settings}.items()]
    return ["/usr/bin/env", "-i", *pairs, *map(str, command)]


def _prepare(environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        _command(environment, sys.executable, "-m", "tests.benchmarks.prepare"),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
    )
    plan: dict[str, Any] = json.loads(done.stdout)
    return plan


def _copy_database(url: str) -> None:
    """The reference has tables and rows like the product's, and does not disturb them."""
    with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {BARE_DATABASE} TEMPLATE duxue")  # type: ignore[call-overload]


def _api(environment: Mapping[str, str]) -> Service:
    return _serving("api", environment, sys.executable, "-m", "server", "api")


def _bare(environment: Mapping[str, str]) -> Service:
    target = "tests.benchmarks.bare:application"
    return _serving("bare", environment, BIN / "granian", *GRANIAN, target)


def _serving(name: str, environment: Mapping[str, str], *command: str | Path) -> Service:
    def start(workshop: Workshop) -> str:
        port = free_port()
        workshop.spawn(f"{name}.log", *_command(environment, *command, "--port", str(port)))
        workshop.wait(lambda: listens(port), what=name)
        return str(port)

    return Service(name=name, variable="", start=start)


def _live(environment: Mapping[str, str]) -> Service:
    def start(workshop: Workshop) -> str:
        port = free_port()
        command = (BIN / "uvicorn", *LIVE, "--port", str(port), "server.config.asgi:application")
        workshop.spawn("live.log", *_command({**environment, "CONN_MAX_AGE": "60"}, *command))
        workshop.wait(lambda: listens(port), what="live")
        return str(port)

    return Service(name="live", variable="", start=start)


def _worker(environment: Mapping[str, str]) -> Service:
    def start(workshop: Workshop) -> str:
        command = (sys.executable, "-m", "server", "worker")
        workshop.spawn("worker.log", *_command(environment, *command))
        # Being nice counts within a session only, and each of ours has its own: this stands for the
        # small share of the processor that deploy/compose.yaml gives to the worker.
        with suppress(OSError):
            Path(f"/proc/{workshop.processes[-1].pid}/autogroup").write_text("10")
        return ""

    return Service(name="worker", variable="", start=start)


def _with_children(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _with_children(int(child))
    return found


def memory_of(part: Running) -> float:
    """What the part's processes take now, in megabytes."""
    pids = [each for pid in part.processes for each in _with_children(int(pid))]
    return sum(each.pss for pid in pids for each in _memory(part.name, pid))


def bare_sockets(redis_url: str) -> Service:
    """The reference for sockets: uvicorn with the same options, and an application that only accepts."""

    def start(workshop: Workshop) -> str:
        port = free_port()
        target = "tests.benchmarks.bare_sockets:application"
        command = (BIN / "uvicorn", *LIVE, "--port", str(port), target)
        workshop.spawn("bare_sockets.log", *_command({"REDIS_URL": redis_url}, *command))
        workshop.wait(lambda: listens(port), what="bare_sockets")
        return str(port)

    return Service(name="bare_sockets", variable="", start=start)


def _memory(part: str, pid: int) -> list[Memory]:
    """Nothing for a process that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        command = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return []
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return [
        Memory(
            part=part,
            process=f"{command} {pid}",
            rss=kilobytes["Rss"] / 1024,
            pss=kilobytes["Pss"] / 1024,
        )
    ]
