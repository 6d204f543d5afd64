"""`python -m tests.faults [--seed N] [--kills N] [--submissions N] [--minutes N] [--store s3]`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Sequence

from tests.faults.plan import StoreKind
from tests.faults.run import Options, run
from tests.services import Missing
from tests.services.base import Failed

STORES: tuple[StoreKind, ...] = ("s3", "folder")


def main(arguments: Sequence[str]) -> int:
    """Exit status 1 where anything was lost, doubled, stuck or not explained."""
    chosen = _parser().parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    stores = STORES if chosen.store == "both" else (chosen.store,)
    signal.signal(signal.SIGTERM, _leave)
    print(f"seed {seed}: --seed {seed} repeats the plan", flush=True)
    is_good = True
    for store in stores:
        options = Options(
            seed=seed,
            store=store,
            kills=-(-chosen.kills // len(stores)),
            submissions=-(-chosen.submissions // len(stores)),
            minutes=chosen.minutes / len(stores),
        )
        try:
            report = run(options, _say)
        except (Missing, Failed) as error:
            print(error, file=sys.stderr)
            return 1
        print(report, flush=True)
        is_good = is_good and report.is_good
    print("Nothing was lost." if is_good else "NOT as promised: see the lines with `!`.")
    return 0 if is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=22, help="for sending; the rest is less")
    parser.add_argument("--store", choices=["both", *STORES], default="both")
    return parser


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
