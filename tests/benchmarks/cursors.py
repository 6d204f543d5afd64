"""Run in the product's environment: where the copies of phones stand that have everything by now.

It is given their tokens as a JSON list on its input, and prints a cursor for each. Copying it all is not
what is measured, and takes minutes for a phone of a hundred thousand submissions.
"""

from __future__ import annotations

import json
import sys

import django


def main() -> None:
    django.setup()
    from mobile_api.feed import Position, _standing
    from server.messaging.sessions import device_for_token

    people = [device_for_token(token).user for token in json.load(sys.stdin)]
    standings = [_standing(person) for person in people]
    json.dump([str(Position(each.scope, each.newest)) for each in standings], sys.stdout)


if __name__ == "__main__":
    main()
