"""What it costs to claim and to record a batch of deliveries, with few and with many delivered rows.

    .venv/bin/python -m tests.benchmarks --only claim
    DELIVERED=10000000 .venv/bin/python -m tests.benchmarks --only claim

The claim reads a partial index of due rows, so what has been delivered must not matter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Any

from tests.benchmarks.messages import Figure, place

MODULE = __name__
DELIVERED = int(os.environ.get("DELIVERED", "1000000"))
CYCLES = 40
PEOPLE = 10_000


def measure(*, smoke: bool) -> list[Figure]:
    """Medians of cycles, before and after the delivered rows are there."""
    plan = {
        "delivered": 20_000 if smoke else DELIVERED,
        "cycles": 5 if smoke else CYCLES,
    }
    with place() as here:
        return [Figure(**each) for each in here.run(MODULE, "play", plan)]


def play(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In the product's environment."""
    from tests.benchmarks.fcm import people_with_phones

    people = people_with_phones(PEOPLE)
    few = _cycles(people, plan["cycles"])
    begin = time.perf_counter()
    total = _deliver(plan["delivered"])
    filled = time.perf_counter() - begin
    many = _cycles(people, plan["cycles"])
    figures = [_line("rows that had been delivered", total, "rows")]
    figures.append(_line("writing them took", filled, "s"))
    for name in few:
        figures.append(_line(f"{name}, few delivered", few[name], "ms"))
        figures.append(_line(f"{name}, many delivered", many[name], "ms"))
        figures.append(_line(f"{name}, ratio", many[name] / few[name], "times"))
    return figures


def _line(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit}


def _cycles(people: list[tuple[Any, Any]], cycles: int) -> dict[str, float]:
    """Claim 500 of them and record them as sent, again and again. Milliseconds."""
    from django.db.models import Q

    from server.core import clock, work
    from server.core.ids import new_id
    from server.messaging.models import Delivery, Notice
    from server.messaging.outbox import Planned, Result, record, write_pending

    pump = next(pump for pump in work.pumps() if pump.name == "deliveries")
    times: dict[str, list[float]] = {"claiming 500": [], "recording 500": [], "finding none": []}
    for cycle in range(-2, cycles):
        notice = Notice.objects.create(event="announcement", params={"title": "a", "body": "b"})
        moment = clock.now()
        chosen = people[cycle * 500 % PEOPLE :][:500]
        rows = [
            Planned(recipient_id=each.pk, channel="fcm", address=str(device), due_at=moment)
            for each, device in chosen
        ]
        write_pending(notice.pk, rows, moment)
        begin = time.perf_counter()
        claimed = work.claim(pump)
        claimed_at = time.perf_counter()
        results = [
            Result(
                id=row.pk,
                lease=row.work_due_at,
                state="sent",
                attempts=0,
                sent_at=moment,
                provider_id=str(new_id()),
            )
            for row in claimed
        ]
        recording = time.perf_counter()
        if record(results) != 500:
            raise RuntimeError("a claimed row was lost")
        recorded_at = time.perf_counter()
        if work.claim_rows(pump, Q(channel="fcm"), 500):
            raise RuntimeError("a recorded row is still due")
        if cycle >= 0:
            times["claiming 500"].append(claimed_at - begin)
            times["recording 500"].append(recorded_at - recording)
            times["finding none"].append(time.perf_counter() - recorded_at)
    Delivery.objects.filter(state="pending").delete()
    return {name: 1000 * median(found) for name, found in times.items()}


def _deliver(count: int) -> int:
    """Delivered rows of the last year: notices of everybody, written beside the triggers of keys."""
    from django.db import connection

    from server.core import clock
    from server.core.ids import first_id_of
    from server.messaging.models import Notice

    moment = clock.now() - timedelta(days=365)
    notices = Notice.objects.bulk_create(
        [
            Notice(event="announcement", params={"title": "a", "body": "b"})
            for _ in range(-(-count // PEOPLE))
        ]
    )
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the keys are known to be there
        for number, notice in enumerate(notices):
            first = first_id_of(moment + timedelta(seconds=number)).hex[:12]
            cursor.execute(
                """
                INSERT INTO messaging_delivery (
                    id, notice_id, recipient_id, channel, address, state, reason, created_at,
                    provider_id, sent_at, work_attempts, work_lost, work_error
                )
                SELECT (%s || '7' || lpad(to_hex(row_number() OVER ()), 3, '0') || '8'
                        || lpad(to_hex(row_number() OVER ()), 15, '0'))::uuid,
                    %s::uuid, id, 'fcm', '', 'sent', '', %s::timestamptz,
                    'projects/duxue/messages/0:1', %s::timestamptz, 0, 0, ''
                FROM grid_user LIMIT %s
                """,
                [first, notice.pk, moment, moment, min(PEOPLE, count - number * PEOPLE)],
            )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM ANALYZE messaging_delivery")
        cursor.execute("SELECT count(*) FROM messaging_delivery")
        return int(cursor.fetchone()[0])
