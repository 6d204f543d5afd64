"""How fast receipts are made and verified, on PostgreSQL with its durable settings.

    .venv/bin/python -m tests.benchmarks.receipts                10,000 submissions, each with a photo
    .venv/bin/python -m tests.benchmarks.receipts --count 500

Beside it, as references of the same run: the bare signatures, and accepting with and without a worker
that makes receipts at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.services import DURABLE_POSTGRES, running

if TYPE_CHECKING:
    from server.messaging.models import Device

ROOT = Path(__file__).resolve().parents[2]
PHOTO_BYTES = 20_000
NICENESS = 10
"""As the product's worker has it."""


def main() -> None:
    """Start PostgreSQL, and measure in a process that has the product's environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="duxue-bench-receipts-"))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    code = "from tests.benchmarks.receipts import measure; measure()"
    try:
        with running(DURABLE_POSTGRES) as postgres:
            environment = {
                **kept,
                "DATABASE_URL": postgres.url,
                "VAR_DIR": str(folder),
                "LOG_LEVEL": "WARNING",
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "server.config.settings",
            }
            command = [sys.executable, "-c", code, str(options.count), str(folder)]
            subprocess.run(command, env=environment, cwd=ROOT, check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure() -> None:
    """Run in the product's environment: COUNT FOLDER. Prints one JSON object."""
    import django

    django.setup()
    bench = Bench(int(sys.argv[1]), Path(sys.argv[2]))
    bench.prepare()
    bench.accept("accepting", bench.count)
    bench.make()
    bench.verify()
    bench.sign()
    bench.accept_beside_a_worker()
    bench.figures["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump(
        {name: round(value, 1) for name, value in bench.figures.items()}, sys.stdout, indent=2
    )
    sys.stdout.write("\n")


@dataclass
class Bench:
    """One measurement of a database of its own."""

    count: int
    folder: Path
    figures: dict[str, float] = field(default_factory=dict)
    version: str = ""
    visit_id: str = ""
    device: Device | None = None

    def prepare(self) -> None:
        """A form of twenty questions at the demo county, and a chain over what is there."""
        from django.core.management import call_command

        from server.activities.models import Visit
        from server.core import work
        from server.messaging.models import Device
        from tests.benchmarks.prepare import _phones, _publish

        call_command("migrate", verbosity=0)
        call_command("load_demo", stdout=StringIO())
        self.version = _publish()
        self.visit_id = _phones()[0]["visit_id"]
        team = Visit.objects.get(pk=self.visit_id).team.all()
        self.device = Device.objects.filter(user__in=team).latest("created_at")
        work.drain_all()
        self._extend()

    def accept(self, name: str, count: int) -> None:
        """Send so many submissions; their photos come before, and are not measured."""
        from server.activities.services.accepting import BroughtFile, accept_submission
        from server.activities.services.documents import document_from_json
        from tests.benchmarks.form import PHOTO_NAME, Documents

        assert self.device
        documents = Documents(self.version, self.visit_id)
        seconds = 0.0
        for _ in range(count):
            submission_id = uuid4()
            raw = documents.json(str(submission_id), photo=True)
            body = json.loads(raw)
            photo = self._photo()
            begin = time.perf_counter()
            document = document_from_json(
                submission_id=submission_id,
                form_id=body["form_id"],
                version=body["version"],
                answers=body["answers"],
                raw=raw,
                visit_id=None,
                started_at=None,
                ended_at=None,
                device_time=None,
            )
            files = [BroughtFile(PHOTO_NAME, photo, fresh=True)]
            accept_submission(document=document, device=self.device, files=files)
            seconds += time.perf_counter() - begin
        self.figures[f"{name}, per second"] = count / seconds

    def make(self) -> None:
        """Receipts for all of it, and the day's end."""
        from server.core import clock
        from server.receipts import chain
        from server.receipts.models import Receipt

        with self._timed("making receipts", self.count):
            self._extend()
        real, end = clock.now, chain.end_of(clock.today()) + chain.GRACE
        clock.now = lambda: end
        with self._timed("closing the day", Receipt.objects.count()):
            chain.step()
        clock.now = real

    def verify(self) -> None:
        """The database, the store, an archive: written, and read without the database."""
        from server.receipts import offline
        from server.receipts.checking import Objects, check_everything
        from server.receipts.exporting import Scope, write_archive
        from server.receipts.models import Receipt

        total, path = Receipt.objects.count(), self.folder / "all.zip"
        with self._timed("verifying the database", total):
            report = check_everything()
        assert report.is_sound, report.flaws[:3]
        with self._timed("verifying the database and every photo", total):
            report = check_everything(objects=Objects(every=True))
        assert report.is_sound, report.flaws[:3]
        self.figures["photos read, MB"] = report.counts["bytes read"] / 1e6
        with self._timed("writing an archive with documents", total):
            write_archive(path, Scope(documents=True))
        self.figures["the archive, MB"] = path.stat().st_size / 1e6
        with self._timed("verifying the archive", total):
            checked = offline.verify(file=path, key=[], anchor=[], document=None, photos=None)
        assert checked.is_sound, checked.flaws[:3]

    def sign(self) -> None:
        """The references: signatures of a receipt's bytes and nothing else."""
        from server.receipts.keys import PrivateKey
        from server.receipts.models import Receipt
        from server.receipts.proof import is_signed_by

        raw = Receipt.objects.filter(kind="submission").latest("position").body.encode()
        self.figures["bytes of a receipt"] = len(raw)
        key = PrivateKey(bytes(32))
        with self._timed("reference: signing", 2000):
            for _ in range(2000):
                signature = key.sign(raw)
        with self._timed("reference: verifying a signature", 2000):
            for _ in range(2000):
                is_signed_by(key.public, signature, raw)

    def accept_beside_a_worker(self) -> None:
        """Alternate: accepting alone, and while another process makes receipts of a backlog."""
        count = max(50, self.count // 20)
        for turn in range(3):
            self.accept(f"accepting alone, turn {turn}", count)
            with subprocess.Popen(
                ["nice", "-n", str(NICENESS), sys.executable, "-m", "server", "receipts", "make"],
                stdout=subprocess.DEVNULL,
            ):
                self.accept(f"accepting beside a worker, turn {turn}", count)

    def _photo(self) -> object:
        from media_storage.models import MediaObject
        from media_storage.services import new_media_values, store_stream

        assert self.device
        content = b"\xff\xd8\xff\xe0" + os.urandom(PHOTO_BYTES)
        stored = store_stream(filename="a.jpg", content_type="image/jpeg", chunks=[content])
        values = new_media_values(
            media_id=uuid4(), owner_id=self.device.user_id, filename="a.jpg", stored=stored
        )
        return MediaObject(**{**values, "work_due_at": None})

    def _extend(self) -> None:
        from server.receipts import chain

        while chain.extend(seconds=600):
            pass

    @contextmanager
    def _timed(self, name: str, count: int) -> Iterator[None]:
        begin, own = time.perf_counter(), time.process_time()
        yield
        seconds, own = time.perf_counter() - begin, time.process_time() - own
        self.figures[f"{name}, seconds"] = seconds
        self.figures[f"{name}, seconds of this process's own"] = own
        self.figures[f"{name}, per second"] = count / seconds


if __name__ == "__main__":
    main()
