"""Renditions of a 12-megapixel JPEG: Pillow alone in a loop, the bounded process, whole workers.

    loop      a process that knows nothing but Pillow, with the fastest of several ways to make the same
              two pictures, from memory to memory
    bounded   the product's bounded process, with all that it does besides: a local copy, checks, EXIF,
              the hash, sending the results
    worker    the product's worker with PostgreSQL and a folder store: rows, facts, files, changes

Runs of loop and bounded alternate. All are processes of their own that begin on a word, so that two of
them can be set beside one.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.processes import ROOT, _command
from tests.services import DURABLE_POSTGRES, running

SIZE = (4000, 3000)
WARM_UP = 3


class Wrong(Exception):
    """What was made is not what should be."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What some processes did together. CPU of all; the largest memory of a child, of a process."""

    pictures: int
    seconds: float
    cpu_seconds: float
    child_bytes: int
    process_bytes: int

    @property
    def per_second(self) -> float:
        return self.pictures / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_seconds / self.pictures


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table: medians of the runs."""

    name: str
    per_second: float
    cpu_ms: float
    child_mb: float
    process_mb: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """`ratio`: of the bounded process to the loop, the median of neighbouring runs."""

    lines: list[Line]
    ratio: float
    ratio_by_cpu: float
    scale_of_workers: float
    scale_of_loops: float


def measure(*, pictures: int, runs: int) -> Result:
    """`pictures`: in each run, for each process. Raises Missing, Failed, Wrong."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="duxue-bench-")))
        picture = folder / "picture.jpg"
        picture.write_bytes(draw())
        environment = stack.enter_context(_world(folder))

        def play(role: str, processes: int) -> Run:
            if role == "worker":
                _call(environment, "fill", picture, pictures * processes)
            run = _together(environment, role, picture, pictures, processes)
            if role == "worker":
                _call(environment, "verify", picture, pictures * processes)
            return run

        loops, bounded, one, two, loops_of_two = [], [], [], [], []
        for _ in range(runs):
            loops.append(play("loop", 1))
            bounded.append(play("bounded", 1))
            one.append(play("worker", 1))
            two.append(play("worker", 2))
            loops_of_two.append(play("loop", 2))
    return Result(
        lines=[
            _line("Pillow alone, a loop", loops),
            _line("the bounded process", bounded),
            _line("1 worker", one),
            _line("2 workers", two),
            _line("2 loops of Pillow", loops_of_two),
        ],
        ratio=_ratio(bounded, loops, lambda run: run.per_second),
        ratio_by_cpu=_ratio(loops, bounded, lambda run: run.cpu_ms),
        scale_of_workers=_ratio(two, one, lambda run: run.per_second),
        scale_of_loops=_ratio(loops_of_two, loops, lambda run: run.per_second),
    )


def _ratio(ones: Sequence[Run], others: Sequence[Run], of: Callable[[Run], float]) -> float:
    return median(of(one) / of(other) for one, other in zip(ones, others, strict=True))


def _line(name: str, runs: Sequence[Run]) -> Line:
    return Line(
        name=name,
        per_second=median(run.per_second for run in runs),
        cpu_ms=median(run.cpu_ms for run in runs),
        child_mb=max(run.child_bytes for run in runs) / 1e6,
        process_mb=max(run.process_bytes for run in runs) / 1e6,
    )


# ---- processes that begin together --------------------------------------------------------------


@contextmanager
def _world(folder: Path) -> Iterator[dict[str, str]]:
    with running(DURABLE_POSTGRES) as postgres:
        environment = {
            "DATABASE_URL": postgres.url,
            "VAR_DIR": str(folder / "var"),
            "LOG_LEVEL": "WARNING",
        }
        (folder / "var").mkdir()
        _call(environment, "migrate", folder, 0)
        yield environment


def _call(environment: dict[str, str], role: str, picture: Path, count: int) -> None:
    command = _of_role(environment, role, picture, count)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Wrong(f"{role} ended with {done.returncode}")


def _of_role(environment: dict[str, str], role: str, picture: Path, count: int) -> list[str]:
    module = "tests.benchmarks.renditions"
    return _command(environment, sys.executable, "-m", module, role, picture, str(count))


def _together(
    environment: dict[str, str], role: str, picture: Path, pictures: int, processes: int
) -> Run:
    """Start them, wait until each is warm, let them begin at once, and add up."""
    command = _of_role(environment, role, picture, pictures)
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        for each in started:
            _told(each)
        begun = time.monotonic()
        for each in started:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
            each.stdin.flush()
        said = [json.loads(_told(each)) for each in started]
        seconds = time.monotonic() - begun
    finally:
        for each in started:
            each.communicate()
    return Run(
        pictures=sum(each["pictures"] for each in said),
        seconds=seconds,
        cpu_seconds=sum(each["cpu_seconds"] for each in said),
        child_bytes=max(each["child_bytes"] for each in said),
        process_bytes=max(each["process_bytes"] for each in said),
    )


def _told(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Wrong(f"a process ended with {process.wait()}")
    return line


# ---- what they do -------------------------------------------------------------------------------


def draw() -> bytes:
    """As a phone's: 12 megapixels, 3 to 4 MB, held upright, with EXIF. Fine grain and large shapes."""
    from PIL import Image

    from tests.media_storage.pictures import camera_exif, scene

    grain = Image.effect_noise((SIZE[0] // 2, SIZE[1] // 2), 22).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    picture = Image.blend(scene(*SIZE, seed=1), grain.convert("RGB"), 0.35)
    exif = camera_exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def _sequences() -> dict[str, Callable[[bytes], list[bytes]]]:
    """The ways to make both pictures with Pillow, as good as the product's."""
    from PIL import Image, ImageOps

    bicubic, turn = Image.Resampling.BICUBIC, Image.Transpose.ROTATE_270

    def saved(image: Any) -> bytes:
        buffer = io.BytesIO()
        image.info = {}
        image.save(buffer, "WEBP", quality=76, method=1)
        return buffer.getvalue()

    def resized(content: bytes) -> list[bytes]:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            image.draft("RGB", (1600, 1200))
            large = image.resize((1600, 1200), bicubic, reducing_gap=2.0).transpose(turn)
        small = large.resize((240, 320), bicubic, reducing_gap=2.0)
        return [saved(small), saved(large)]

    def thumbnails(content: bytes) -> list[bytes]:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            image.draft("RGB", (1600, 1200))
            image.thumbnail((1600, 1600))
            large = ImageOps.exif_transpose(image)
            small = large.copy()
        small.thumbnail((320, 320))
        return [saved(small), saved(large)]

    def two_decodes(content: bytes) -> list[bytes]:
        made = []
        for side in (320, 1600):
            with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
                image.draft("RGB", (side, side * 3 // 4))
                image.thumbnail((side, side))
                made.append(saved(image.transpose(turn)))
        return made

    return {"resized": resized, "thumbnails": thumbnails, "two decodes": two_decodes}


def _loop(content: bytes) -> Callable[[], int]:
    """The fastest of them on this machine."""
    took = {}
    for name, make in _sequences().items():
        times = []
        for _ in range(WARM_UP):
            begun = time.process_time()
            _check_pictures(make(content))
            times.append(time.process_time() - begun)
        took[name] = min(times)
    best = _sequences()[min(took, key=lambda name: took[name])]

    def work() -> int:
        best(content)
        return 1

    return work


def _bounded(content: bytes) -> Callable[[], int]:
    from media_storage import bounded

    def work() -> int:
        with os.fdopen(os.memfd_create("media"), "w+b", buffering=0) as file:
            file.write(content)
            stream = bounded.stream("picture", file, pillow_format="JPEG", signature="jpeg")
            with closing(stream) as results:
                _check_pictures([each["data"] for each in results if "data" in each])
        return 1

    for _ in range(WARM_UP):
        work()
    return work


def _check_pictures(made: Sequence[bytes]) -> None:
    if [each[8:12] for each in made] != [b"WEBP"] * 2 or not len(made[0]) < len(made[1]) < 1e6:
        raise Wrong(f"{len(made)} pictures of {[len(each) for each in made]} bytes")


def _worker(content: bytes) -> Callable[[], int]:
    import django

    django.setup()
    from media_storage import bounded
    from media_storage.work import PUMP
    from server.core import work

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        for _ in range(WARM_UP):
            list(bounded.stream("picture", file, pillow_format="JPEG", signature="jpeg"))
    return lambda: work.drain(PUMP, seconds=600)


def _fill(content: bytes, count: int) -> None:
    import django

    django.setup()
    from media_storage.models import MediaObject
    from media_storage.services import new_media_values, store_stream
    from server.core.ids import new_id

    MediaObject.objects.all().delete()
    for number in range(count):
        told = {"filename": f"{number}.jpg", "content_type": "image/jpeg"}
        stored = store_stream(**told, chunks=[content])
        values = new_media_values(
            media_id=new_id(), owner_id=None, filename=told["filename"], stored=stored
        )
        MediaObject.objects.create(**values)


def _verify(count: int) -> None:
    import django

    django.setup()
    from media_storage.models import MediaObject, Rendition
    from media_storage.stores import get_store

    ready = MediaObject.objects.filter(state="ready", width=3000, height=4000)
    ready = ready.exclude(facts__perceptual_hash=None).exclude(facts__exif_at=None)
    sizes = Rendition.objects.values_list("width", "height")
    if ready.count() != count or sorted(set(sizes)) != [(240, 320), (1200, 1600)]:
        raise Wrong(f"{ready.count()} of {count} are ready")
    for rendition in Rendition.objects.all():
        if get_store().size(rendition.key) != rendition.size:
            raise Wrong(rendition.key)


def _migrate() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _take_part(role: str, content: bytes, pictures: int) -> None:
    """Warm up, wait for the word, work, tell."""
    begin = {"loop": _loop, "bounded": _bounded, "worker": _worker}[role]
    work, done = begin(content), 0
    _say("ready")
    sys.stdin.readline()
    cpu = _cpu_seconds()
    if role == "worker":
        done = work()
    else:
        while done < pictures:
            done += work()
    told = {
        "pictures": done,
        "cpu_seconds": _cpu_seconds() - cpu,
        "child_bytes": max(map(_peak_bytes, _children()), default=0),
        "process_bytes": _peak_bytes("self"),
    }
    _say(json.dumps(told))


def _cpu_seconds() -> float:
    """Of this process and of those that it has started, whether they run or have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = sum(used.ru_utime + used.ru_stime for used in both)
    ticks = 0
    for process in _children():
        ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().split()[13:17]))
    return ended + ticks / os.sysconf("SC_CLK_TCK")


def _children() -> list[str]:
    tasks = Path("/proc/self/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _peak_bytes(process: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(role: str, picture: str, count: str) -> None:
    """One of the processes; `measure` starts them."""
    if role == "migrate":
        _migrate()
        return
    if role == "verify":
        _verify(int(count))
        return
    content = Path(picture).read_bytes()
    if role == "fill":
        _fill(content, int(count))
        return
    _take_part(role, content, int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])
