"""The table in docs/stores.md says what the servers do: each cell is found anew."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from media_storage.stores import open_store
from media_storage.stores.s3 import S3Store
from tests.conftest import _do_without
from tests.media_storage.conftest import bucket_url
from tests.media_storage.features import CONTENT, TABLE, Multipart, get
from tests.services import CEPH, SWIFT, Missing, Running, Service, running

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "stores.md"
HEADING = "| | folder | Swift 2.38, s3api | Ceph 16, radosgw |"
SURVIVES = "a half-done multipart upload survives `kill -9`"


def opened(url: str) -> S3Store:
    store = open_store(url)
    assert isinstance(store, S3Store)
    store.create()
    return store


def documented() -> dict[str, list[str]]:
    lines = DOCUMENT.read_text().splitlines()
    start = lines.index(HEADING) + 2
    rows = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


def test_every_cell_is_as_documented(s3_url: str, ceph_url: str) -> None:
    swift, ceph = opened(bucket_url(s3_url)), opened(bucket_url(ceph_url))
    found = {
        name: [folder, feature(swift), feature(ceph)] for name, (feature, folder) in TABLE.items()
    }
    rows = documented()
    assert rows.pop(SURVIVES) == ["yes", "yes", "yes"]  # below
    assert rows == found, "\n" + "\n".join(
        f"| {name} | {' | '.join(cells)} |" for name, cells in found.items()
    )


@pytest.fixture(params=[SWIFT, CEPH], ids=["swift", "ceph"])
def own(request: pytest.FixtureRequest) -> Iterator[tuple[Running, S3Store]]:
    """A server that no other test uses."""
    service: Service = request.param
    try:
        with running(service) as started:
            yield started, opened(started.url)
    except Missing as error:
        _do_without(str(error))
    open_store.cache_clear()


def test_a_half_done_multipart_upload_survives_a_kill(own: tuple[Running, S3Store]) -> None:
    server, store = own
    upload = Multipart(store)
    assert upload.put(1, CONTENT).status_code == 200
    with killed_and_started_again(server):
        _wait_until(lambda: _answers(store))
        assert [part["Size"] for part in _parts(store, upload)] == [len(CONTENT)]
        upload.complete()
        assert get(store, upload.key).content == CONTENT


def _doors(server: Running) -> list[int]:
    """What clients talk to, and on Swift all that keeps bytes; Ceph's are in its OSD's memory here."""
    pids = [int(pid) for pid in server.processes]
    return pids if server.name == "swift" else pids[-1:]


class killed_and_started_again:  # noqa: N801 - reads as a sentence
    """Kills processes and starts the same commands again; these end with the block."""

    def __init__(self, server: Running) -> None:
        self.pids, self.folder = _doors(server), server.folder

    def __enter__(self) -> None:
        commands = [_command(pid) for pid in self.pids]
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.processes = [
            subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for command in commands
        ]

    def __exit__(self, *_error: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def _parts(store: S3Store, upload: Multipart) -> list[dict[str, int]]:
    parts: list[dict[str, int]] = store.ask("list_parts", Key=upload.key, UploadId=upload.id)[
        "Parts"
    ]
    return parts


def _answers(store: S3Store) -> bool:
    try:
        return httpx.get(store.signer.base, timeout=5).status_code < 500
    except httpx.HTTPError:
        return False


def _wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # between two looks; the deadline is above
