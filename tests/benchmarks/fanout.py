"""One notice to 100,000 people: how fast the rows are written, and what other writers feel of it.

    .venv/bin/python -m tests.benchmarks --only fanout

The reference, in the same run: a bare COPY of the same rows into tables of the same shape, indexes and
keys. Beside both, a phone's submissions are accepted, and their times are taken with and without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.messages import Figure, place, result_of

MODULE = __name__
PEOPLE = 100_000
NICENESS = 10
"""As the product's worker has it."""
WRITER_SECONDS = 8.0


def measure(*, smoke: bool) -> list[Figure]:
    """In turn: the reference, the fan-out alone, accepting alone, accepting beside the fan-out."""
    plan = {"people": 2000 if smoke else PEOPLE, "seconds": 1.0 if smoke else WRITER_SECONDS}
    with place() as here:
        prepared = here.run(MODULE, "prepare", plan)
        plan |= prepared
        reference = here.run(MODULE, "copy", plan)
        ours = here.run(MODULE, "tell", plan)
        alone = here.run(MODULE, "accept", plan)
        writing = here.start(MODULE, "accept", plan)
        beside: list[dict[str, float]] = []
        while writing.poll() is None:
            beside.append(here.run(MODULE, "tell", plan, niceness=NICENESS))
        shared = result_of(writing)
    lines = [
        ("the notice's people", plan["people"], "people"),
        ("reference: COPY of the same rows", reference["rate"], "rows a second"),
        ("the same, of a core", reference["core"], "rows a CPU second of both"),
        ("Notice and Delivery rows", ours["rate"], "rows a second"),
        ("Notice, Delivery, Hint and Change rows", ours["rate_all"], "rows a second"),
        ("all of these, of a core", ours["core"], "rows a CPU second of both"),
        ("all of these to the reference, of a core", ours["core"] / reference["core"], "times"),
        ("the whole fan-out", ours["seconds"], "s"),
        ("the same beside submissions, niced", beside[0]["seconds"], "s"),
        ("submissions alone, p50", alone["p50"], "ms"),
        ("submissions alone, p99", alone["p99"], "ms"),
        ("submissions beside the fan-out, p50", shared["p50"], "ms"),
        ("submissions beside the fan-out, p99", shared["p99"], "ms"),
    ]
    return [Figure(name=name, value=value, unit=unit) for name, value, unit in lines]


# ---- in the product's environment -----------------------------------------------------------


def prepare(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The demo county, the form of twenty questions, and a crowd of inspectors."""
    from io import StringIO

    from django.core.management import call_command
    from django.db import connection

    from server.core import clock, work
    from server.grid.models import Area, Membership, User
    from tests.benchmarks.prepare import _phones, _publish

    call_command("load_demo", stdout=StringIO())
    version, visit = _publish(), _phones()[0]["visit_id"]
    work.drain_all()
    county = Area.objects.get(level="county")
    people = User.objects.bulk_create(
        [User(username=f"crowd{number}", name="人") for number in range(plan["people"])],
        batch_size=1000,
    )
    Membership.objects.bulk_create(
        [
            Membership(user=each, role="expert", area=county, starts=clock.today())
            for each in people
        ],
        batch_size=1000,
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return {"version": version, "visit": visit}


def tell(plan: Mapping[str, Any]) -> dict[str, float]:
    """Announce to all experts, and expand it to its end."""
    from server.core import work
    from server.core.changes import Change
    from server.core.ids import new_id
    from server.grid.models import User
    from server.messaging.composing import announce
    from server.messaging.models import Delivery, Hint, Notice
    from server.messaging.queries import Audience

    pump = next(pump for pump in work.pumps() if pump.name == "notices")
    office = User.objects.get(username="office")
    begin, core = time.perf_counter(), cpu_seconds()
    notice = announce(
        notice_id=new_id(),
        by=office,
        title="关于开展校园食品安全督导周的通知",
        body="请于周三前完成自查。",
        audience=Audience(roles=["expert"]),
    )
    while Notice.objects.get(pk=notice.pk).work_due_at:
        work.drain(pump)
    seconds, core = time.perf_counter() - begin, cpu_seconds() - core
    rows = Delivery.objects.filter(notice=notice).count()
    people = Delivery.objects.filter(notice=notice).values("recipient").distinct().count()
    if people < plan["people"] or rows != people:
        raise RuntimeError(f"{people} people have {rows} deliveries")
    changes = Change.objects.filter(object_id=notice.pk).count()
    hints = Hint.objects.filter(message__after=str(notice.pk)).count()
    return {
        "seconds": seconds,
        "rate": (rows + 1) / seconds,
        "rate_all": (rows + 1 + changes + hints) / seconds,
        "core": (rows + 1 + changes + hints) / core,
    }


def copy(plan: Mapping[str, Any]) -> dict[str, float]:
    """The inbox rows of the same people, by COPY in one transaction, with keys and indexes."""
    from django.db import connection, transaction

    from server.core import clock
    from server.core.ids import new_id
    from server.grid.models import User
    from server.messaging.models import Notice

    notice = Notice.objects.create(event="announcement", params={"title": "a", "body": "b"})
    users = list(User.objects.filter(username__startswith="crowd").values_list("pk", flat=True))
    moment = clock.now()
    names = [
        "id",
        "notice_id",
        "recipient_id",
        "channel",
        "address",
        "state",
        "reason",
        "created_at",
        "provider_id",
        "sent_at",
        "delivered_at",
        "work_attempts",
        "work_lost",
        "work_error",
    ]
    begin, core = time.perf_counter(), cpu_seconds()
    with transaction.atomic(), connection.cursor() as cursor:
        statement = f"COPY messaging_delivery ({', '.join(names)}) FROM STDIN"
        with cursor.copy(statement) as copying:
            for user in users:
                copying.write_row(
                    (
                        *(new_id(), notice.pk, user, "inbox", "", "delivered", "", moment, ""),
                        *(moment, moment, 0, 0, ""),
                    )
                )
    seconds, core = time.perf_counter() - begin, cpu_seconds() - core
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_delivery WHERE notice_id = %s", [notice.pk])
        cursor.execute("VACUUM messaging_delivery")
    return {"rate": len(users) / seconds, "core": len(users) / core}


def cpu_seconds() -> float:
    """Of this process and of the process of PostgreSQL that serves it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    theirs = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + theirs


def accept(plan: Mapping[str, Any]) -> dict[str, float]:
    """Send submissions for a while, one after the other with a breath between them. Milliseconds."""
    import json
    from uuid import uuid4

    from server.activities.models import Visit
    from server.activities.services.accepting import accept_submission
    from server.activities.services.documents import document_from_json
    from server.messaging.models import Device
    from tests.benchmarks.form import Documents

    team = Visit.objects.get(pk=plan["visit"]).team.all()
    device = Device.objects.filter(user__in=team).latest("created_at")
    documents = Documents(plan["version"], plan["visit"])
    times: list[float] = []
    until = time.perf_counter() + plan["seconds"]
    while time.perf_counter() < until:
        submission_id = uuid4()
        raw = documents.json(str(submission_id), photo=False)
        body = json.loads(raw)
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
        accept_submission(document=document, device=device, files=[])
        times.append(1000 * (time.perf_counter() - begin))
        time.sleep(0.005)
    warm = sorted(times[20:])
    return {"p50": _percentile(warm, 50), "p99": _percentile(warm, 99)}


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
