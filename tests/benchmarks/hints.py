"""Run in the product's environment: makes people with phones, then sends hints to them, as the worker does.

It is given a count, and prints the tokens as a JSON list. Then each line on its input is the number of people
that a hint goes to, the first ones; it answers with the moment before it was sent and the moment after.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import django


def main() -> None:
    django.setup()
    from server.messaging.channels.socket import hint

    people, tokens = make_people(int(sys.argv[1]))
    _say(tokens)
    for number, line in enumerate(sys.stdin):
        told = people[: int(line)]
        began = time.perf_counter()
        hint(told, {"type": "inbox.changed", "after": str(number)})
        _say([began, time.perf_counter()])


def make_people(count: int) -> tuple[list[UUID], list[str]]:
    from server.core import clock
    from server.grid.models import User
    from server.messaging.models import Device

    prefix = uuid4().hex[:8]
    people = [User(username=f"{prefix}-{number}", name="某人") for number in range(count)]
    User.objects.bulk_create(people, batch_size=1000)
    tokens = [uuid4().hex for _person in people]
    now = clock.now()
    devices = [
        Device(
            id=uuid4(),
            user=person,
            token_digest=sha256(token.encode()).hexdigest(),
            token_expires_at=now + timedelta(days=1),
            last_seen_at=now,
        )
        for person, token in zip(people, tokens, strict=True)
    ]
    Device.objects.bulk_create(devices, batch_size=1000)
    return [person.pk for person in people], tokens


def _say(words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
