"""SIGTERM: what was begun is finished, what is only claimed goes back, and then the process ends."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.documents import fill_in
from tests.faults.ledger import Ledger
from tests.faults.phones import BOUNDARY, Collect, Field, multipart
from tests.faults.processes import Part, await_true
from tests.faults.world import ROOT, product_environment, product_parts
from tests.services.base import free_port, listens

SECONDS = 40

# On the embedded database: what PostgreSQL adds is in the short run beside this.
pytestmark = pytest.mark.skipif(
    bool(os.environ.get("DATABASE_URL")), reason="runs in the pass on SQLite"
)


@dataclass
class Product:
    """The product on an embedded database, nothing of it started yet."""

    folder: Path
    environment: Mapping[str, str]
    parts: Mapping[str, Part]
    scene: dict[str, Any]

    @property
    def address(self) -> tuple[str, int]:
        url = urlsplit(self.environment["PUBLIC_URL"])
        return url.hostname or "", url.port or 0

    def photos(self) -> list[tuple[str, int, str | None, bool]]:
        """(state, attempts, due, whether that is in the future) of every photo."""
        with sqlite3.connect(self.folder / "duxue.sqlite3") as connection:
            return connection.execute(
                "SELECT state, work_attempts, work_due_at,"
                " coalesce(julianday(work_due_at) > julianday('now'), 0)"
                " FROM media_storage_mediaobject"
            ).fetchall()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Once for all tests: it takes longer than they do."""
    folder = tmp_path_factory.mktemp("graceful")
    port = free_port()
    environment = product_environment(
        {"VAR_DIR": str(folder), "PUBLIC_URL": f"http://127.0.0.1:{port}"}
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.prepare", "1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    parts = {part.name: part for part in product_parts(folder, environment, port, free_port())}
    parts["embedded"] = Part(
        name="embedded",
        command=(sys.executable, "-m", "server", "run", "--port", str(port)),
        folder=folder,
        environment=environment,
        ready=lambda: listens(port),
    )
    return Product(folder, environment, parts, json.loads(done.stdout))


@pytest.fixture
def product(prepared: Product) -> Iterator[Product]:
    yield prepared
    for part in prepared.parts.values():
        part.kill()


@pytest.mark.parametrize("name", ["api", "embedded"])
def test_a_request_at_hand_is_finished_before_the_server_ends(product: Product, name: str) -> None:
    part, school = product.parts[name], product.scene["schools"][0]
    part.start()
    part.wait_ready()
    # Granian listens before its processes have started; told to end then, it waits for them for ever.
    await_true(
        lambda: name != "api" or "Started worker-2" in part.log.read_text(),
        "granian",
        seconds=SECONDS,
    )
    filled = fill_in(
        seed=3, number=1, version=product.scene["version"], visit_id=school["visits"][0]
    )
    body = multipart(filled, filled.photos, last=True)
    head = (
        f"POST /key/{school['collect']['key']}/submission HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(product.address, timeout=SECONDS) as connection:
        connection.sendall(head.encode())
        # Until then the request may wait in the kernel, which resets what no process has accepted.
        assert connection.recv(4096).startswith(b"HTTP/1.1 100"), "the body is not wanted"
        connection.sendall(body[: len(body) // 2])
        os.kill(part.pid, signal.SIGTERM)
        await_true(lambda: is_ending(part, product.address[1]), "hearing it", seconds=SECONDS)
        connection.sendall(body[len(body) // 2 :])
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 201"), answer
    await_true(lambda: not part.lives(), "the end", seconds=SECONDS)


def test_a_worker_finishes_its_row_and_gives_back_what_it_only_claimed(product: Product) -> None:
    api, worker = product.parts["api"], product.parts["worker-0"]
    api.start()
    api.wait_ready()
    send(product, submissions=40)
    waiting = sum(due is not None for _state, _attempts, due, _later in product.photos())
    assert waiting > 10
    worker.start()
    await_true(
        lambda: any(state == "ready" for state, *_others in product.photos()),
        "the first photo",
        seconds=SECONDS,
    )
    looking = bounded_processes(worker.pid)
    assert looking
    worker.terminate(seconds=SECONDS)
    assert not any(Path(f"/proc/{process}").exists() for process in looking)
    rows = [row for row in product.photos() if row[2] is not None]
    assert rows, "all was done before the signal came: send more"
    assert all(attempts == 0 and not later for _state, attempts, _due, later in rows), rows


def bounded_processes(worker: int) -> list[str]:
    """Those that decode files for this worker."""
    tasks = Path(f"/proc/{worker}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return [
        child
        for child in children
        if b"media_storage.bounded" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def is_ending(part: Part, port: int) -> bool:
    """Uvicorn stops listening at once; granian's socket stays until its last process ends."""
    return not listens(port) or "Shutting down" in part.log.read_text()


def send(product: Product, *, submissions: int) -> None:
    """As ODK Collect does, without mishaps."""
    school = product.scene["schools"][0]
    field = Field(
        base_url=product.environment["PUBLIC_URL"],
        store_port=None,
        seed=3,
        version=product.scene["version"],
        submissions=submissions,
        allowance=submissions,
        ledger=Ledger(),
        deadline=time.monotonic() + SECONDS,
    )
    phone = Collect(
        field, school["collect"], random.Random(3), visits=school["visits"], per_visit=submissions
    )
    phone.run()
    assert len(field.ledger.stored) == submissions
