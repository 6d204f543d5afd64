"""Shared copies of a 12-megapixel photo, with and without hiding faces, beside the plain rendition.

The reference is Pillow's own best sequence for the large rendition, from the photo itself, in a process
of its own. Ours is what the worker does after that: from the large rendition, in the bounded process.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from media_storage import bounded
from tests.media_storage.faces import ground, head

SIZE = (4000, 3000)
HEADS = 12
LINES = [
    ["", "云岭县东河镇中心小学"],
    ["活动", "食品安全督导周"],
    ["督学", "安督学"],
    ["时间", "2026-11-23 10:12:05 +08:00"],
    ["到达", "2026-11-23 20:31:07 +08:00"],
    ["位置", "33.00012, 108.00034（±5 米），距学校 13 米"],
    ["编号", "7F3A 9C21 D0E4 B5F6"],
]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One way; seconds are medians, of wall clock and of CPU. `ratio`: CPU, to the reference."""

    name: str
    wall: float
    cpu: float
    ratio: float
    peak_mb: float
    faces: int = 0


def photo() -> bytes:
    """12 megapixels with a dozen faces of nobody, 170 pixels wide."""
    image = ground(*SIZE, seed=1)
    for number in range(HEADS):
        drawn = head(300, yaw=number % 3 * 20 - 20)
        image.paste(drawn, (200 + number % 4 * 950, 150 + number // 4 * 950), drawn)
    return _encoded(image, "JPEG", quality=88)


def plain_rendition(content: bytes) -> bytes:
    """The large rendition, by Pillow at its best: decoded at a fraction, then reduced."""
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (1600, 1200))
        reduced = image.resize((1600, 1200), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return _encoded(reduced, "WEBP", quality=76, method=1)


def measure(runs: int) -> list[Figure]:
    """The reference and both ways, taken in turns."""
    content = photo()
    context = multiprocessing.get_context("spawn")
    plain: list[tuple[float, float]] = []
    ours: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    peaks: dict[bool, float] = {}
    faces: dict[bool, int] = {}
    with ProcessPoolExecutor(1, mp_context=context) as other, tempfile.TemporaryFile() as file:
        file.write(other.submit(plain_rendition, content).result())
        file.flush()
        for blur in (False, True):  # so that the bounded process has loaded what it needs
            bounded.run("shared", file, lines=LINES, blur=blur, boxes=[])
            peaks[blur] = bounded.usage().peak_bytes / 1024**2
        for _run in range(runs):
            plain.append(other.submit(timed_plain, content).result())
            for blur, times in ours.items():
                begun = time.perf_counter()
                answer = bounded.run("shared", file, lines=LINES, blur=blur, boxes=[])
                times.append((time.perf_counter() - begun, bounded.usage().cpu_seconds))
                faces[blur] = len(answer["faces"])
        peak = other.submit(peak_mb).result()
    bounded.close()
    reference = median(cpu for _wall, cpu in plain)
    return [
        _figure("plain large rendition", plain, reference, peak, 0),
        _figure("shared copy", ours[False], reference, peaks[False], faces[False]),
        _figure("shared copy, faces hidden", ours[True], reference, peaks[True], faces[True]),
    ]


def timed_plain(content: bytes) -> tuple[float, float]:
    begun, used = time.perf_counter(), time.process_time()
    plain_rendition(content)
    return time.perf_counter() - begun, time.process_time() - used


def peak_mb() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def say(figures: list[Figure], write: Callable[[str], None]) -> None:
    write("")
    write(
        f"{'a photo of 12 megapixels':28}{'ms':>8}{'CPU ms':>8}{'ratio':>7}{'peak MB':>9}{'faces':>7}"
    )
    for each in figures:
        write(
            f"{each.name:28}{1000 * each.wall:8.0f}{1000 * each.cpu:8.0f}{each.ratio:7.1f}"
            f"{each.peak_mb:9.0f}{each.faces or '':>7}"
        )


def _figure(
    name: str, times: list[tuple[float, float]], reference: float, peak: float, faces: int
) -> Figure:
    cpu = median(cpu for _wall, cpu in times)
    wall = median(wall for wall, _cpu in times)
    return Figure(name=name, wall=wall, cpu=cpu, ratio=cpu / reference, peak_mb=peak, faces=faces)


def _encoded(image: Image.Image, format_: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()
