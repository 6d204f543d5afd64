"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.benchmarks.load import Outcome
from tests.benchmarks.messages import Figure as MessageFigure
from tests.benchmarks.processes import Memory
from tests.benchmarks.renditions import Result
from tests.benchmarks.shared import Figure as SharedFigure
from tests.benchmarks.sockets import Figures as SocketFigures

PRODUCT = ("api", "live", "worker")
TITLES = {
    "openrosa": "OpenRosa",
    "openrosa_photo": "OpenRosa, photo of 200 KB",
    "json": "JSON API",
    "json_photo": "JSON API, photo of 200 KB",
    "declare": "photo declared and completed",
    "form_list": "formList",
    "sync": "unchanged sync",
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One scenario at one number of clients. Rates a second, times in milliseconds; medians of runs.

    `ratio` to the reference: the median of the ratios of neighbouring runs.
    """

    scenario: str
    clients: int
    rate: float
    bare: float | None
    ratio: float | None
    p50: float
    p95: float
    p99: float
    load_cpu: float
    """The share of one core that the sender of the load took."""


def figure(scenario: str, clients: int, runs: Sequence[Outcome], bare: Sequence[Outcome]) -> Figure:
    """From a scenario's runs and the runs of the reference beside them."""
    ratios = [ours.per_second / theirs.per_second for ours, theirs in zip(runs, bare, strict=False)]
    times = sorted(1000 * each for run in runs for each in run.latencies)
    return Figure(
        scenario=scenario,
        clients=clients,
        rate=median(run.per_second for run in runs),
        bare=median(run.per_second for run in bare) if bare else None,
        ratio=median(ratios) if ratios else None,
        p50=_percentile(times, 50),
        p95=_percentile(times, 95),
        p99=_percentile(times, 99),
        load_cpu=max(run.cpu_seconds / run.seconds for run in runs),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_change(before: Sequence[Figure], after: Sequence[Figure]) -> None:
    """Each rate beside what it was."""
    for then, now in zip(before, after, strict=True):
        share = now.rate / then.rate
        say(
            f"{TITLES[now.scenario]:28}{now.clients:>8}{then.rate:>8.0f}{now.rate:>8.0f}{share:>7.0%}"
        )


def say_heading() -> None:
    say(
        f"{'':28}{'clients':>8}{'per s':>8}{'bare':>8}{'ratio':>7}"
        f"{'p50 ms':>9}{'p95':>8}{'p99':>8}{'load CPU':>10}"
    )


def say_figure(each: Figure) -> None:
    bare = f"{each.bare:8.0f}{each.ratio:7.0%}" if each.bare and each.ratio else f"{'':15}"
    say(
        f"{TITLES[each.scenario]:28}{each.clients:8}{each.rate:8.0f}{bare}"
        f"{each.p50:9.1f}{each.p95:8.1f}{each.p99:8.1f}{each.load_cpu:10.0%}"
    )


def say_memory(memory: Sequence[Memory]) -> None:
    """Each process of the product; the sums of what it stands on."""
    say()
    say(f"{'memory, MB':28}{'':8}{'PSS':>8}{'RSS':>8}")
    for each in memory:
        if each.part in PRODUCT:
            say(f"{each.part:12}{each.process:24}{each.pss:8.0f}{each.rss:8.0f}")
    say(f"{'the product, all processes':36}{product_megabytes(memory):8.0f}")
    for part in ("redis", "postgres"):
        say(f"{part:36}{sum(each.pss for each in memory if each.part == part):8.0f}")


def product_megabytes(memory: Sequence[Memory]) -> float:
    return sum(each.pss for each in memory if each.part in PRODUCT)


def say_renditions(result: Result) -> None:
    """Each line, then what is to be compared."""
    say()
    say(
        f"{'two renditions of 12 megapixels':34}{'per s':>8}{'CPU ms':>8}{'child MB':>10}{'own MB':>8}"
    )
    for line in result.lines:
        child = f"{line.child_mb:10.0f}" if line.child_mb else f"{'':10}"
        say(f"{line.name:34}{line.per_second:8.1f}{line.cpu_ms:8.0f}{child}{line.process_mb:8.0f}")
    say(
        f"the bounded process to Pillow alone: {result.ratio:.0%}, by CPU {result.ratio_by_cpu:.0%};"
        f" 2 workers to 1: {result.scale_of_workers:.2f} (2 loops to 1: {result.scale_of_loops:.2f})"
    )


def write(
    path: Path,
    figures: Sequence[Figure],
    memory: Sequence[Memory],
    renditions: Result | None,
    shared: Sequence[SharedFigure] = (),
    messages: Mapping[str, Sequence[MessageFigure]] | None = None,
    sockets: SocketFigures | None = None,
) -> None:
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "figures": [asdict(each) for each in figures],
        "memory": [asdict(each) for each in memory],
        "product_pss_mb": round(product_megabytes(memory), 1),
        "renditions": asdict(renditions) if renditions else None,
        "shared": [asdict(each) for each in shared],
        "messages": {
            name: [asdict(each) for each in lines] for name, lines in (messages or {}).items()
        },
        "sockets": asdict(sockets) if sockets else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
