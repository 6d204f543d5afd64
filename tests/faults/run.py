"""One run: start the world, let phones send and faults happen, wait until all is quiet, compare."""

from __future__ import annotations

import json
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.faults.ledger import STORE, Ledger
from tests.faults.people import Reader, School
from tests.faults.phones import App, Collect, Field, Phone, Sender
from tests.faults.plan import Fault, StoreKind, make_plan
from tests.faults.prepare import SCHOOLS
from tests.faults.world import World, world

PER_VISIT = 15
DRAIN_SECONDS = 400.0
DUE = {
    "activities_submission": "submissions to derive",
    "media_storage_mediaobject": "photos to process",
    "sharing_sharedcopy": "shared copies to make",
    "messaging_notice": "notices to expand",
    "messaging_delivery": "deliveries to send",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    seed: int
    store: StoreKind
    kills: int
    submissions: int
    minutes: float


@dataclass
class Report:
    """What a run has to show."""

    options: Options
    faults: Counter[str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    problems: list[str] = field(default_factory=list)
    total_problems: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    slowest_end: float = 0.0
    restarts: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    kills: int = 0

    @property
    def is_good(self) -> bool:
        return not (self.problems or self.ledger.unexplained or self.ledger.unfinished)

    def __str__(self) -> str:
        told, options = self.ledger, self.options
        photos = sum(len(each["photos"]) for each in told.stored.values())
        failing = sum(len(each["failing"]) for each in told.stored.values())
        rows = [
            ("seed", f"{options.seed} (store: {options.store})"),
            ("kills", f"{self.kills} of {options.kills} planned"),
            ("by kind", _listed(self.faults)),
            *self.notes,
            (
                "submissions",
                f"{len(told.stored)} of {options.submissions}, all told that it is stored",
            ),
            ("photos, failing answers", f"{photos}, {failing}"),
            ("mishaps on the way", _listed(told.mishaps)),
            ("tries again", str(told.retries)),
            ("answers", _listed(_by_status(told.answers))),
            ("rows", _listed(Counter(self.counts))),
            ("seconds", _listed({name: round(value) for name, value in self.seconds.items()})),
            ("ended by itself", f"{self.restarts} times, started again"),
            ("slowest graceful end", f"{self.slowest_end:.1f} s"),
            ("unexplained answers", str(told.unexplained.total())),
            ("unfinished", str(len(told.unfinished))),
            ("problems", str(self.total_problems)),
        ]
        lines = [f"{name:>24}: {value}" for name, value in rows]
        answers = [f"{count} × {text}" for text, count in told.unexplained.most_common()]
        lines += [f"  ! {each}" for each in [*self.problems, *answers, *told.unfinished[:20]]]
        return "\n".join(lines)


def run(options: Options, say: Say) -> Report:
    """Raises Missing, Failed and NotBack."""
    report = Report(options)
    plan = make_plan(
        seed=options.seed, store=options.store, kills=options.kills, submissions=options.submissions
    )
    began = time.monotonic()
    activities = max(1, options.submissions // (PER_VISIT * 2 * SCHOOLS))
    with world(options.store, activities=activities) as here:
        report.seconds["start"] = time.monotonic() - began
        if options.store == "folder" and here.disk is None:
            report.notes.append(("not done", "disk_full: only root may mount a small disk"))
        crowd = _Crowd(here, options, report.ledger)
        say(f"{options.store}: started; {len(plan)} faults over {options.submissions} submissions")
        with _timed(report, "load"):
            _load(here, crowd, plan, report, say)
        say(f"{options.store}: all sent; waiting until nothing is left to do")
        with _timed(report, "drain"):
            _drain(here, crowd, report)
        with _timed(report, "verify"):
            _verify(here, report)
        report.slowest_end, report.restarts = here.slowest_end, here.restarts
    return report


class _Crowd:
    """The phones and the people of one run, each in a thread."""

    def __init__(self, here: World, options: Options, ledger: Ledger) -> None:
        self.field = Field(
            base_url=here.base_url,
            store_port=here.proxy.port if here.proxy else None,
            seed=options.seed,
            version=here.scene["version"],
            submissions=options.submissions,
            ledger=ledger,
            deadline=time.monotonic() + options.minutes * 60,
        )
        self.phones: list[Phone] = []
        self.schools: list[School] = []
        self.stop = threading.Event()
        chance = random.Random(options.seed)
        for place in here.scene["schools"]:
            self._add(place, random.Random(chance.random()))
        self.office = Reader(self.field, here.scene["office"], chance, stop=self.stop)
        self.readers: list[Reader] = [self.office, *self.schools]
        self.senders = [_thread(phone.run, ledger) for phone in self.phones]
        self.watchers = [_thread(reader.run, ledger) for reader in self.readers]

    def _add(self, place: dict[str, Any], chance: random.Random) -> None:
        """A school's two phones and its contact."""
        visits = place["visits"]
        for kind, person in ((Collect, place["collect"]), (App, place["app"])):
            own = random.Random(chance.random())
            self.phones.append(kind(self.field, person, own, visits=visits, per_visit=PER_VISIT))
        self.schools.append(
            School(
                self.field,
                place["contact"],
                random.Random(chance.random()),
                stop=self.stop,
                inspector=Sender(self.field, place["app"], chance),
            )
        )

    def start(self) -> None:
        for thread in (*self.senders, *self.watchers):
            thread.start()

    @property
    def is_sending(self) -> bool:
        return any(thread.is_alive() for thread in self.senders)

    def end(self) -> None:
        self.stop.set()
        for thread in (*self.senders, *self.watchers):
            thread.join()


def _load(here: World, crowd: _Crowd, plan: list[Fault], report: Report, say: Say) -> None:
    """Faults happen as the submissions come in; whatever is gone afterwards is started again."""
    ahead = max(4, report.options.submissions // (2 * len(plan) or 1))
    crowd.start()
    try:
        for fault in plan:
            if fault.kind == "disk_full" and here.disk is None:
                continue
            crowd.field.allowance = max(fault.after, crowd.field.done) + ahead
            while crowd.is_sending and crowd.field.done < fault.after:
                here.supervise()
                time.sleep(0.05)  # between two looks; the phones end by themselves
            if not crowd.is_sending:
                break
            if here.strike(fault):
                report.faults[fault.kind] += 1
                report.kills += fault.is_kill
                if report.kills % 20 == 0 and fault.is_kill:
                    say(f"{report.kills} kills, {crowd.field.done} submissions")
        here.mend()
        crowd.field.allowance = report.options.submissions
        while crowd.is_sending:
            here.supervise()
            time.sleep(0.05)  # between two looks; the phones end by themselves
    except BaseException:
        crowd.field.deadline = -crowd.field.patience  # on the way out nobody tries again
        raise
    finally:
        crowd.end()


def _drain(here: World, crowd: _Crowd, report: Report) -> None:
    """Let the workers finish, then everybody sync and act until there is nothing new."""
    crowd.field.deadline = time.monotonic() + DRAIN_SECONDS
    acted = -1
    while acted != (acted := sum(len(school.acted) for school in crowd.schools)):
        if left := _left_to_do(here):
            report.problems.append(f"stuck: {left}")
            return
        for reader in crowd.readers:
            reader.catch_up()


def _left_to_do(here: World) -> dict[str, int]:
    """What is still due when it has had the time of a lease and more; empty where all is done."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (left := _due(here)) and time.monotonic() < deadline:
        here.supervise()
        time.sleep(0.2)  # between two looks; the deadline is above
    return left


def _due(here: World) -> dict[str, int]:
    with psycopg.connect(here.database_url) as connection:
        counts = {
            what: connection.execute(
                f"SELECT count(*) FROM {table} WHERE work_due_at IS NOT NULL"  # type: ignore[call-overload]
            ).fetchone()[0]
            for table, what in DUE.items()
        }
    return {what: count for what, count in counts.items() if count}


def _verify(here: World, report: Report) -> None:
    said = json.loads(here.call("tests.faults.verify", stdin=json.dumps(report.ledger.as_json())))
    report.problems += said["problems"]
    report.total_problems = len(report.problems) + said["total"] - len(said["problems"])
    report.counts = said["counts"]


@contextmanager
def _timed(report: Report, name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    report.seconds[name] = time.monotonic() - began


def _thread(body: Callable[[], None], ledger: Ledger) -> threading.Thread:
    """What goes wrong in it is part of the report."""

    def guarded() -> None:
        try:
            body()
        except Exception as error:
            traceback.print_exc()
            ledger.is_unfinished(f"{body.__qualname__}: {error!r}")

    return threading.Thread(target=guarded, daemon=True)


def _listed(counter: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(counter.items())) or "none"


def _by_status(answers: Mapping[str, int]) -> dict[str, int]:
    """By status over all requests to the product; "none": the connection ended."""
    statuses: Counter[str] = Counter()
    for key, count in answers.items():
        what, _space, status = key.rpartition(" ")
        if what and what != STORE:
            statuses[status] += count
    return dict(statuses)
