"""PostgreSQL with durable settings, Redis, the store and the product, and what can happen to them.

    api       granian, WSGI, 2 processes, connections to the database that persist
    worker    two of them
    live      uvicorn, web sockets
    store     Swift's s3api behind a proxy of ours, or a folder on a small disk

Who is killed comes back after a pause, exactly as it was started the first time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.faults.disk import NoDisk, SmallDisk, small_disk
from tests.faults.plan import Fault, StoreKind
from tests.faults.processes import NotBack, Part, adopt
from tests.faults.proxy import Proxy
from tests.services import DURABLE_POSTGRES, REDIS, SWIFT, Running, running
from tests.services.base import free_port, listens, program

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORKERS = ("worker-0", "worker-1")
DISK_MEGABYTES = 1536
PATIENCE = 10.0
LOGS = ROOT / "var" / "faults"
"""What the programs of the last run wrote, to look for reasons in."""


@dataclass
class World:
    """Everything that runs, and what can happen to it."""

    folder: Path
    database_url: str
    environment: Mapping[str, str]
    parts: dict[str, Part]
    proxy: Proxy | None = None
    disk: SmallDisk | None = None
    scene: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    slowest_end: float = 0.0
    """How long the slowest graceful end took."""

    @property
    def store_parts(self) -> list[str]:
        return sorted(name for name in self.parts if name.startswith("swift"))

    @property
    def base_url(self) -> str:
        return self.environment["PUBLIC_URL"]

    def strike(self, fault: Fault) -> bool:
        """Let it happen, for as long as it lasts, and mend it. False where it could not.

        What is being started, or recovers, may have nothing to kill yet: then a little later.
        """
        deadline = time.monotonic() + PATIENCE
        while not getattr(self, f"_{fault.kind}")(fault):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)  # between two tries; the deadline is above
        return True

    def supervise(self) -> None:
        """Start what ended by itself, as the container engine does: granian gives up when one of its
        processes is killed again soon after it was started."""
        for part in self.parts.values():
            if not part.lives():
                part.start()
                self.restarts += 1

    def mend(self) -> None:
        """Start whatever is not there, and wait for all."""
        self.supervise()
        for part in self.parts.values():
            part.wait_ready()

    def start_store_again(self) -> None:
        """With the configuration that we changed."""
        for name in self.store_parts:
            self.parts[name].kill()
            self.parts[name].start()
        for name in self.store_parts:
            self.parts[name].wait_ready()

    # ---- kills ------------------------------------------------------------------------------

    def _api_worker(self, fault: Fault) -> bool:
        """One of granian's processes; granian starts another."""
        children = self.parts["api"].children()
        return _kill_one(children, fault.pick)

    def _api(self, fault: Fault) -> bool:
        return self._gone_for(["api"], fault)

    def _worker(self, fault: Fault) -> bool:
        return self._gone_for([WORKERS[fault.pick % len(WORKERS)]], fault)

    def _postgres(self, fault: Fault) -> bool:
        """The postmaster and all below it, and recovery from the log."""
        return self._gone_for(["postgres-0"], fault)

    def _postgres_backend(self, fault: Fault) -> bool:
        """One backend, upon which PostgreSQL ends all the others and recovers by itself."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
            ).fetchall()
            return _kill_one([pid for (pid,) in rows], fault.pick)
        return False

    def _redis(self, fault: Fault) -> bool:
        return self._gone_for(["redis-0"], fault)

    def _store(self, fault: Fault) -> bool:
        """The S3 server's proxy, or where its objects are, or all four."""
        names = self.store_parts
        chosen = [[name] for name in names] + [names]
        return self._gone_for(chosen[fault.pick % len(chosen)], fault)

    def _gone_for(self, names: list[str], fault: Fault) -> bool:
        parts = [self.parts[name] for name in names]
        lived = [part.lives() for part in parts]
        for part in parts:
            part.kill()
        time.sleep(fault.seconds)
        for part in parts:
            part.start()
        if names[0].startswith("postgres"):
            parts[0].wait_ready()  # it does not take a second start while it recovers
        return any(lived)

    # ---- disturbances -----------------------------------------------------------------------

    def _api_term(self, _fault: Fault) -> bool:
        return self._restart_gracefully("api")

    def _worker_term(self, fault: Fault) -> bool:
        return self._restart_gracefully(WORKERS[fault.pick % len(WORKERS)])

    def _restart_gracefully(self, name: str) -> bool:
        part = self.parts[name]
        if not part.lives():
            return False
        self.slowest_end = max(self.slowest_end, part.terminate())
        part.start()
        return True

    def _store_slow(self, fault: Fault) -> bool:
        assert self.proxy
        self.proxy.delay = 0.05 + fault.pick / 2000
        time.sleep(fault.seconds)
        self.proxy.mend()
        return True

    def _store_cut(self, fault: Fault) -> bool:
        assert self.proxy
        self.proxy.cut()
        time.sleep(fault.seconds)
        self.proxy.mend()
        return True

    def _disk_full(self, fault: Fault) -> bool:
        assert self.disk
        self.disk.fill()
        time.sleep(fault.seconds)
        self.disk.free()
        return True

    # ---- what runs in the product's environment ---------------------------------------------

    def call(self, *arguments: str, stdin: str = "") -> str:
        """Run a Python module there and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=dict(self.environment),
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout


@contextmanager
def world(store: StoreKind, *, activities: int) -> Iterator[World]:
    """Start everything; end everything, however the run ends. Raises Missing and Failed."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="duxue-faults-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = stack.enter_context(running(DURABLE_POSTGRES))
        redis = stack.enter_context(running(REDIS))
        parts = adopt(
            postgres, ready=lambda: _answers(postgres.url), user=DURABLE_POSTGRES.user
        ) + _redis_parts(redis)
        proxy = disk = None
        if store == "s3":
            swift = stack.enter_context(running(SWIFT))
            _make_forgiving(Path(swift.folder))
            proxy = stack.enter_context(Proxy(_port(swift.url)).running())
            parts += adopt(swift, ready=lambda: listens(_port(swift.url)))
            store_url = swift.url.replace(f":{_port(swift.url)}/", f":{proxy.port}/")
            # Photos go straight under their keys; those in pieces are read by the worker.
            store_url += "&checksum=content-sha256"
        else:
            with suppress(NoDisk):
                disk = stack.enter_context(small_disk(megabytes=DISK_MEGABYTES))
            store_url = f"folder://{(disk.folder if disk else folder) / 'media'}"
        api_port, live_port = free_port(), free_port()
        environment = product_environment(
            {
                "DATABASE_URL": postgres.url,
                "CHANNEL_URL": redis.url,
                "MEDIA_STORE_URL": store_url,
                "PUBLIC_URL": f"http://127.0.0.1:{api_port}",
                "VAR_DIR": str(folder),
            }
        )
        parts += product_parts(folder, environment, api_port, live_port)
        made = World(
            folder=folder,
            database_url=postgres.url,
            environment=environment,
            parts={part.name: part for part in parts},
            proxy=proxy,
            disk=disk,
        )
        stack.callback(_keep_logs, store, parts)
        stack.callback(_end, parts)
        made.start_store_again()
        made.scene = json.loads(made.call("tests.faults.prepare", str(activities)))
        made.mend()
        made.restarts = 0
        yield made


def _redis_parts(redis: Running) -> list[Part]:
    port = _port(redis.url)
    command = (
        *(str(program("redis-server", package="redis-server")), "--port", str(port)),
        *("--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
    )
    return adopt(redis, ready=lambda: listens(port), command=command)


def _make_forgiving(folder: Path) -> None:
    """Swift's proxy shuns a server that failed, for a minute. With one server only, every kill of it
    would be an outage of a minute."""
    configuration = folder / "proxy.conf"
    configuration.write_text(
        configuration.read_text().replace(
            "account_autocreate = true",
            "account_autocreate = true\nerror_suppression_interval = 0.5",
        )
    )


def product_environment(world: Mapping[str, str]) -> dict[str, str]:
    """Of our own environment only what any program needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        **world,
        "CONN_MAX_AGE": "600",
        "LOG_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "server.config.settings",
    }


def product_parts(
    folder: Path, environment: Mapping[str, str], api_port: int, live_port: int
) -> list[Part]:
    uvicorn = (str(BIN / "uvicorn"), "--host", "127.0.0.1", "--port", str(live_port))
    commands = {
        "api": (sys.executable, "-m", "server", "api", "--port", str(api_port)),
        "live": (*uvicorn, "--lifespan", "off", "server.config.asgi:application"),
        **dict.fromkeys(WORKERS, (sys.executable, "-m", "server", "worker")),
    }
    ports = {"api": api_port, "live": live_port}
    return [
        Part(
            name=name,
            command=command,
            folder=folder,
            environment={**environment, "CONN_MAX_AGE": "0"} if name == "live" else environment,
            ready=_listening(ports.get(name)),
        )
        for name, command in commands.items()
    ]


def _listening(port: int | None) -> Any:
    return lambda: port is None or listens(port)


def _end(parts: list[Part]) -> None:
    """The product first, so that nobody misses what it stands on."""
    for part in reversed(parts):
        with suppress(NotBack):
            part.kill()


def _keep_logs(store: StoreKind, parts: list[Part]) -> None:
    kept = LOGS / store
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for part in parts:
        with suppress(FileNotFoundError):
            shutil.copy(part.log, kept)


def _kill_one(pids: list[int], pick: int) -> bool:
    if not pids:
        return False
    with suppress(ProcessLookupError):
        os.kill(pids[pick % len(pids)], signal.SIGKILL)
        return True
    return False


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def _answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
        return True
    return False
