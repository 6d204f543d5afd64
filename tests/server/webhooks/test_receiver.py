"""The receiver of docs/webhooks.md, run as it stands there: does it take what we sign, once, and no more?"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from server.core import clock
from server.webhooks import sending
from server.webhooks.models import WebhookDelivery
from server.webhooks.sending import forget_events
from server.webhooks.services import redeliver_since, rotate_secret, send_test
from server.webhooks.signing import new_secret, signed_headers
from tests.server.webhooks.conftest import add_endpoint, due_again, enter, send, states
from tests.services.base import free_port, listens

pytestmark = pytest.mark.django_db(transaction=True)

GUIDE = Path(settings.BASE_DIR) / "docs" / "webhooks.md"


@dataclass
class Running:
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def events(self) -> list[str]:
        with sqlite3.connect(self.folder / "events.sqlite3") as rows:
            return [row[0] for row in rows.execute("SELECT id FROM events ORDER BY rowid")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Run the guide's program on a port, with these secrets."""
    [program] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    (tmp_path / "receiver.py").write_text(program)
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, *secrets: str) -> Running:
        command = [sys.executable, "receiver.py", str(port), *secrets]
        with (tmp_path / "receiver.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        started.append(process)
        end = time.monotonic() + 20
        while not listens(port):
            assert time.monotonic() < end, (tmp_path / "receiver.log").read_text()
            time.sleep(0.02)
        return Running(tmp_path, process)

    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture
def endpoint(cast, inside):
    """(endpoint, its secret, its port); nobody listens yet."""
    port = free_port()
    made, secret = add_endpoint(cast.office, f"http://127.0.0.1:{port}/", cast.county)
    return made, secret, port


def test_it_stores_every_event_once_though_it_is_down_and_things_come_twice(
    endpoint, start, visit, cast
):
    made, secret, port = endpoint
    enter(visit, cast.ada)
    send()
    assert set(states(made)) == {"pending"}
    running = start(port, secret)
    due_again()
    send()
    assert set(states(made)) == {"delivered"}
    ids = running.events
    assert ids == [str(pk) for pk in made.deliveries.order_by("id").values_list("event", flat=True)]
    redeliver_since(endpoint_id=made.pk, by=cast.office, since=clock.now() - timedelta(days=1))
    sending.send_due()
    assert set(states(made)) == {"delivered"}
    assert running.events == ids


def test_it_refuses_who_has_another_secret(endpoint, start, cast):
    made, _secret, port = endpoint
    running = start(port, new_secret())
    send_test(endpoint_id=made.pk, by=cast.office)
    sending.send_due()
    assert made.deliveries.get().status == 401
    assert running.events == []


def test_for_a_day_after_a_change_the_old_and_the_new_secret_open_it_then_the_new_one_alone(
    endpoint, start, cast
):
    made, old, port = endpoint
    new = rotate_secret(endpoint_id=made.pk, by=cast.office).secret
    with_old = start(port, old)
    send_test(endpoint_id=made.pk, by=cast.office)
    sending.send_due()
    assert states(made) == ["delivered"]
    with_old.process.terminate()
    with_old.process.wait()
    start(port, str(new))
    send_test(endpoint_id=made.pk, by=cast.office)
    sending.send_due()
    assert states(made) == ["delivered"] * 2

    type(made).objects.update(old_secret_until=clock.now() - timedelta(seconds=1))
    forget_events()
    made.refresh_from_db()
    assert made.old_secret == ""
    send_test(endpoint_id=made.pk, by=cast.office)
    sending.send_due()
    assert states(made) == ["delivered"] * 3


def test_while_our_clock_is_wrong_it_refuses_and_takes_the_event_when_it_is_right(
    endpoint, start, cast, monkeypatch
):
    made, secret, port = endpoint
    running = start(port, secret)
    send_test(endpoint_id=made.pk, by=cast.office)
    with monkeypatch.context() as context:
        wrong = clock.now() + timedelta(hours=1)
        context.setattr(clock, "now", lambda: wrong)
        sending.send_due()
    assert made.deliveries.get().status == 400
    WebhookDelivery.objects.update(next_at=clock.now())
    type(made).objects.update(work_due_at=clock.now())
    sending.send_due()
    assert states(made) == ["delivered"]
    assert len(running.events) == 1


def test_the_signature_is_that_of_standard_webhooks():
    """The example of the specification: https://www.standardwebhooks.com."""
    from datetime import UTC, datetime

    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
