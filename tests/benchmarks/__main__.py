"""`make bench`: measure the product beside the reference and verify what was stored."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks import (
    claim,
    fanout,
    fcm,
    messages,
    renditions,
    report,
    rows,
    shared,
    sockets,
)
from tests.benchmarks.load import GRACE, Broken, Load, Outcome, run
from tests.benchmarks.processes import Memory, World, world
from tests.benchmarks.traffic import SCENARIOS, SUBMITTING, WRITING, Unexpected
from tests.benchmarks.verify import Wrong, settle, verify, verify_media
from tests.services import Missing
from tests.services.base import Failed

ROOT = Path(__file__).resolve().parents[2]
MOST = 20_000
"""Operations in one run: bounds what lies on the disk between two runs."""
SMOKE_MOST = 200
RENDITIONS, SHARED, SOCKETS = "renditions", "shared", "sockets"
MESSAGES = {"fcm": fcm.measure, "fanout": fanout.measure, "claim": claim.measure}
IDLE, TOLD, HINTS = 10_000, 1_000, 60
SMOKE_IDLE, SMOKE_TOLD, SMOKE_HINTS = 300, 50, 3
PICTURES = 40
"""In one run of the renditions, for each process."""
SMOKE_PICTURES = 3


@dataclass(frozen=True)
class Options:
    seconds: float
    runs: int
    clients: tuple[int, ...]
    scenarios: tuple[str, ...]
    most: int
    pictures: int
    """Of the renditions; 0: they are not asked for."""
    shared: bool = False
    """Whether shared copies are asked for."""
    messages: tuple[str, ...] = ()
    """Which benchmarks of messages are asked for."""
    smoke: bool = False
    rows: int = 0
    """Submissions that are added before everything is measured once more."""
    sockets: int = 0
    """Idle ones; 0: they are not asked for."""
    told: int = 0
    hints: int = 0


@dataclass
class Bench:
    """One benchmark of a world that runs."""

    world: World
    options: Options
    run: Callable[[Load], Outcome]
    memory: list[Memory] = field(default_factory=list)

    def figures(self) -> list[report.Figure]:
        figures = []
        report.say_heading()
        for scenario in self.options.scenarios:
            self._warm_up(scenario)
            for clients in self.options.clients:
                figures.append(self._figure(scenario, clients))
                report.say_figure(figures[-1])
        return figures

    def with_rows(self) -> list[report.Figure]:
        """The same without and with many submissions in the tables, the worker standing still."""
        with self.world.worker_stands():
            before = self.figures()
            total = rows.fill(
                database_url=self.world.database_url,
                sample=self.world.plan["sample"],
                phones=[phone["visit_id"] for phone in self.world.plan["phones"]],
                count=self.options.rows,
            )
            report.say(f"\nwith {total:,} submissions in the tables")
            after = self.figures()
        report.say_change(before, after)
        return after

    def _warm_up(self, scenario: str) -> None:
        """Not measured: threads, connections, prepared statements and compiled forms come to be."""
        seconds = min(1.0, self.options.seconds)
        self._product(scenario, clients=max(self.options.clients), seconds=seconds)
        if scenario in WRITING:
            self._bare(scenario, clients=max(self.options.clients), seconds=seconds)

    def _figure(self, scenario: str, clients: int) -> report.Figure:
        ours, bare = [], []
        for _number in range(self.options.runs):
            if scenario in WRITING:
                bare.append(self._bare(scenario, clients, self.options.seconds))
            ours.append(self._product(scenario, clients, self.options.seconds))
        return report.figure(scenario, clients, ours, bare)

    def _product(self, scenario: str, clients: int, seconds: float) -> Outcome:
        if scenario == "sync":
            self._know_everything(self.world.plan["phones"])
        outcome = self.run(self._load(self.world.product_port, scenario, clients, seconds))
        self._remember_memory()
        place = {"database_url": self.world.database_url, "media": self.world.media}
        if scenario in SUBMITTING:
            version = self.world.plan["version"]
            verify(**place, scenario=scenario, version=version, stored=outcome.stored)
        elif scenario in WRITING:
            verify_media(**place, stored=outcome.stored)
        if scenario in WRITING:
            settle(**place)
        return outcome

    def _know_everything(self, phones: list[dict[str, str]]) -> None:
        """Give each phone the cursor of a copy that is whole."""
        done = subprocess.run(
            self.world.command(sys.executable, "-m", "tests.benchmarks.cursors"),
            input=json.dumps([phone["token"] for phone in phones]),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for phone, cursor in zip(phones, json.loads(done.stdout), strict=True):
            phone["cursor"] = cursor

    def _bare(self, scenario: str, clients: int, seconds: float) -> Outcome:
        outcome = self.run(self._load(self.world.bare_port, scenario, clients, seconds))
        self.world.clear_bare()
        return outcome

    def _load(self, port: int, scenario: str, clients: int, seconds: float) -> Load:
        return Load(
            port=port,
            scenario=scenario,
            clients=clients,
            seconds=seconds,
            most=self.options.most,
            version=self.world.plan["version"],
            phones=self.world.plan["phones"],
        )

    def _remember_memory(self) -> None:
        """Keep the largest."""
        memory = self.world.memory()
        if report.product_megabytes(memory) > report.product_megabytes(self.memory):
            self.memory = memory


def main(arguments: Sequence[str]) -> int:
    options, output = _options(arguments)
    signal.signal(signal.SIGTERM, _leave)
    figures, memory, pictures, copies, idle = [], [], None, [], None
    sent: dict[str, list[messages.Figure]] = {}
    try:
        if options.scenarios:
            figures, memory = _measure_requests(options)
        if options.pictures:
            pictures = renditions.measure(pictures=options.pictures, runs=options.runs)
            report.say_renditions(pictures)
        if options.shared:
            copies = shared.measure(3 * options.runs)
            shared.say(copies, report.say)
        for name in options.messages:
            sent[name] = MESSAGES[name](smoke=options.smoke)
            messages.say(name, sent[name], report.say)
        if options.sockets:
            with world() as running:
                idle = sockets.measure(
                    running, sockets=options.sockets, told=options.told, hints=options.hints
                )
            sockets.say(idle, report.say)
            if output:
                sockets.judge(idle)
    except (Missing, Failed, Broken, Unexpected, Wrong, renditions.Wrong, sockets.Wrong) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    if output:
        report.write(output, figures, memory, pictures, copies, sent, idle)
        report.say(f"\n{output}")
    return 0


def _measure_requests(options: Options) -> tuple[list[report.Figure], list[Memory]]:
    # A process of its own, started afresh: it shares nothing with what it measures.
    context = multiprocessing.get_context("spawn")
    with world() as running, ProcessPoolExecutor(1, mp_context=context) as sender:
        wait = options.seconds + 3 * GRACE
        bench = Bench(running, options, lambda load: sender.submit(run, load).result(timeout=wait))
        figures = bench.with_rows() if options.rows else bench.figures()
    report.say_memory(bench.memory)
    return figures, bench.memory


def _options(arguments: Sequence[str]) -> tuple[Options, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="short; judges errors, never time")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one run")
    parser.add_argument("--runs", type=int, default=3, help="of each figure")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    everything = [*SCENARIOS, RENDITIONS, SHARED, *MESSAGES, SOCKETS]
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="in one run of renditions")
    parser.add_argument(
        "--rows", type=int, default=0, help="submissions to add before measuring once more"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "var" / "bench" / "latest.json")
    parser.add_argument("--sockets", type=int, default=IDLE, help="idle ones, in one live process")
    given = parser.parse_args(arguments)
    scenarios = tuple(each for each in given.only if each in SCENARIOS)
    sending = tuple(each for each in given.only if each in MESSAGES)
    pictures = given.pictures if RENDITIONS in given.only else 0
    if given.smoke:
        few = min(pictures, SMOKE_PICTURES)
        smoke = Options(
            1.0, 1, (8,), scenarios, SMOKE_MOST, few, SHARED in given.only, sending, smoke=True
        )
        if SOCKETS in given.only:
            smoke = replace(smoke, sockets=SMOKE_IDLE, told=SMOKE_TOLD, hints=SMOKE_HINTS)
        return smoke, None
    clients, copies = tuple(given.clients), SHARED in given.only
    options = Options(
        given.seconds,
        given.runs,
        clients,
        scenarios,
        MOST,
        pictures,
        copies,
        sending,
        rows=given.rows,
    )
    if SOCKETS in given.only:
        options = replace(options, sockets=given.sockets, told=TOLD, hints=HINTS)
    return options, given.output


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
