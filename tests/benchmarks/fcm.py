"""How many messages a second one core hands to FCM, beside firebase-admin's own `send_each`.

    .venv/bin/python -m tests.benchmarks --only fcm

The same messages go to the same local server: by `messaging.send_each`, 500 at a time, which is the most
it takes; by our channel; and by the whole pump, which claims, judges, sends and records on PostgreSQL.
Rates are by wall clock and by this process's own CPU time: "a second of a core" is the latter.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.benchmarks.messages import ROOT, Figure, place
from tests.fakes.fcm import service_account

if TYPE_CHECKING:
    from server.messaging.models import Delivery

MODULE = __name__
AT_ONCE = 500
REFERENCE, CHANNEL, PUMP = "reference: send_each", "our channel", "the whole pump"


def measure(*, smoke: bool) -> list[Figure]:
    """Medians of three rounds, each with all three ways."""
    plan: dict[str, Any] = {"messages": 500 if smoke else 5000, "rounds": 1 if smoke else 3}
    with place(LOG_LEVEL="ERROR") as here, server() as port:
        account = here.folder / "service-account.json"
        account.write_text(json.dumps(service_account(f"http://127.0.0.1:{port}")))
        plan |= {"port": port, "account": str(account)}
        result = here.run(MODULE, "play", plan)
    return [Figure(**each) for each in result]


@contextmanager
def server(delay_ms: float = 0) -> Iterator[int]:
    """The cheap FCM, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.fcm_server", str(delay_ms)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def play(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In the product's environment."""
    bench = Bench(plan)
    bench.prepare()
    ways = {REFERENCE: bench.by_send_each, CHANNEL: bench.by_channel, PUMP: bench.by_pump}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():  # connections, log-in, prepared statements
        way()
    for _ in range(plan["rounds"]):
        for name, way in ways.items():
            rates[name].append(bench.rate_of(way))
    bench.close()
    figures = []
    for name, found in rates.items():
        wall, core = median(each[0] for each in found), median(each[1] for each in found)
        figures.append({"name": name, "value": wall, "unit": "messages a second"})
        figures.append(
            {"name": f"{name}, of a core", "value": core, "unit": "messages a CPU second"}
        )
    return figures


class Bench:
    """One database with one notice to many people, each with a phone."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.count: int = plan["messages"]
        self.port: int = plan["port"]
        self.account = Path(plan["account"])

    def prepare(self) -> None:
        from django.conf import settings

        from server.messaging.channels.fcm import FcmChannel
        from server.messaging.models import Notice

        settings.PUSH_URL = f"fcm://{self.account}?endpoint=http://127.0.0.1:{self.port}"
        self.channel = FcmChannel.from_url(settings.PUSH_URL)
        self.people = people_with_phones(self.count)
        self.notice = Notice.objects.create(
            event="announcement",
            params={
                "title": "关于开展校园食品安全督导周的通知",
                "body": "请于周三前完成自查。" * 10,
            },
        )

    def close(self) -> None:
        from server.messaging.channels import channel_for

        self.channel.close()
        with contextlib.suppress(AttributeError):
            channel_for("fcm").close()  # type: ignore[attr-defined]

    def rate_of(self, way: Callable[[], tuple[float, float]]) -> tuple[float, float]:
        """By wall clock and by CPU. `way` returns what of both was preparation, and is not counted."""
        before, wall, core = self._arrived(), time.perf_counter(), time.process_time()
        apart_wall, apart_core = way()
        wall, core = (
            time.perf_counter() - wall - apart_wall,
            time.process_time() - core - apart_core,
        )
        arrived = self._arrived() - before
        if arrived != self.count:
            raise RuntimeError(f"{self.count} messages were sent, {arrived} arrived")
        return self.count / wall, self.count / core

    def by_send_each(self) -> tuple[float, float]:
        """The messages are made by our channel, so that they are the same; then the SDK's part."""
        from firebase_admin import messaging
        from requests.adapters import HTTPAdapter

        from server.core import clock
        from server.messaging.message_text import text_of

        service, app, moment = self.channel._service, self.channel._app, clock.now()
        # Else it asks a service of Google's by name, in a thread, where nobody answers.
        credential = self.channel._app.credential.get_credential()
        credential._is_regional_access_boundary_lookup_required = lambda: False
        # As the SDK itself does for Google's address, and it says of most connections that the pool is full.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        service._client.session.mount("http://", HTTPAdapter(pool_maxsize=100, max_retries=0))
        service._fcm_url = f"http://127.0.0.1:{self.port}/v1/projects/duxue-test/messages:send"
        rows = self._rows()
        for start in range(0, len(rows), AT_ONCE):
            batch = [
                self.channel._message(row, row.address * 4, text_of(row), moment)
                for row in rows[start : start + AT_ONCE]
            ]
            answers = messaging.send_each(batch, app=app)
            if answers.failure_count:
                raise RuntimeError(str(answers.responses[0].exception))
        return 0.0, 0.0

    def by_channel(self) -> tuple[float, float]:
        rows = self._rows()
        for start in range(0, len(rows), AT_ONCE):
            sent = self.channel.send_all(rows[start : start + AT_ONCE], seconds=60)
            if any(isinstance(each, Exception) for each in sent.values()):
                raise RuntimeError(str(next(iter(sent.values()))))
        return 0.0, 0.0

    def by_pump(self) -> tuple[float, float]:
        """All that a worker does, from the claim to the record."""
        from server.core import work
        from server.messaging.models import Delivery

        wall, core = time.perf_counter(), time.process_time()
        Delivery.objects.all().delete()
        Delivery.objects.bulk_create(self._rows(), batch_size=1000)
        apart = time.perf_counter() - wall, time.process_time() - core
        pump = next(pump for pump in work.pumps() if pump.name == "deliveries")
        while work.drain(pump):
            pass
        left = Delivery.objects.exclude(state="sent").count()
        if left:
            raise RuntimeError(f"{left} deliveries were not sent")
        return apart

    def _rows(self) -> list[Delivery]:
        from server.core import clock
        from server.core.ids import new_id
        from server.messaging.models import Delivery

        moment = clock.now()
        return [
            Delivery(
                id=new_id(),
                notice=self.notice,
                recipient=person,
                channel="fcm",
                address=str(device),
                work_due_at=moment,
                expires_at=moment + timedelta(hours=72),
            )
            for person, device in self.people
        ]

    def _arrived(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/count")
        count = int(connection.getresponse().read())
        connection.close()
        return count


def people_with_phones(count: int) -> list[tuple[Any, Any]]:
    """So many people, each with a device that can be pushed: (person, device's id)."""
    from server.core import clock
    from server.grid.models import User
    from server.messaging.models import Device

    people = User.objects.bulk_create(
        [User(username=f"p{number}", name="人") for number in range(count)], batch_size=1000
    )
    devices = Device.objects.bulk_create(
        [
            Device(
                id=uuid4(),
                user=person,
                last_seen_at=clock.now(),
                token_digest=uuid4().hex,
                token_expires_at=clock.now() + timedelta(days=1),
                push_provider="fcm",
                push_address=uuid4().hex * 5,
            )
            for person in people
        ],
        batch_size=1000,
    )
    return [(person, device.id) for person, device in zip(people, devices, strict=True)]
