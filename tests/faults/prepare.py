"""Run in the product's environment: a county, a form, visits and devices, printed as JSON."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import django

if TYPE_CHECKING:
    from server.grid.models import User

SCHOOLS = 5


def main() -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("media_store", "create", stdout=sys.stderr)
    json.dump(_scene(activities=int(sys.argv[1])), sys.stdout)


def _scene(*, activities: int) -> dict[str, Any]:
    """Each school has two inspectors, one with ODK Collect and one with the phone app."""
    from server.grid.models import Area, Membership
    from server.instruments.services import publish_instrument, upload_xlsform
    from tests.cast import add_area, add_person, add_school, appoint
    from tests.faults.documents import FORM_ID, survey
    from tests.forms import xlsform

    role = Membership.Role
    county = add_area("演练县", "920121", Area.Level.COUNTY)
    town = add_area("演练镇", "920121101", Area.Level.TOWN, county)
    office = add_person("drill-office", "方主任", role.OFFICE, area=county)
    upload_xlsform(by=office, content=xlsform(*survey()))
    version = publish_instrument(by=office, form_id=FORM_ID).version
    schools = []
    for number in range(SCHOOLS):
        school = add_school(f"演练小学{number}", f"920121{number:04}", town)
        contact = add_person(f"drill-school{number}", "白校长", role.SCHOOL_CONTACT, school=school)
        team = [
            add_person(f"drill-{name}{number}", "安督学", role.INSPECTOR, area=county)
            for name in ("collect", "app")
        ]
        for inspector in team:
            appoint(inspector, school)
        schools.append((school, contact, team))
    for number in range(activities):
        _publish(office, number, [school.pk for school, _contact, _team in schools])
    return {
        "version": version,
        "office": _log_in(office),
        "schools": [
            {
                "contact": _log_in(contact),
                "collect": _log_in(team[0]),
                "app": _log_in(team[1]),
                "visits": [
                    str(pk) for pk in school.visits.order_by("pk").values_list("pk", flat=True)
                ],
            }
            for school, contact, team in schools
        ],
    }


def _publish(office: User, number: int, schools: list[Any]) -> None:
    from server.activities.services.planning import create_activity, publish_activity
    from server.core import clock
    from tests.faults.documents import FORM_ID

    activity = create_activity(
        by=office,
        kind="routine",
        title=f"故障演练 {number}",
        starts=clock.today() - timedelta(days=1),
        ends=clock.today() + timedelta(days=30),
        instruments=[FORM_ID],
        schools=schools,
        announced=True,
    )
    publish_activity(activity_id=activity.pk, by=office)


def _log_in(user: User) -> dict[str, str]:
    from server.core import clock
    from server.messaging.models import Device
    from server.messaging.sessions import key_for

    token = uuid4().hex
    device = Device.objects.create(
        id=uuid4(),
        user=user,
        token_digest=sha256(token.encode()).hexdigest(),
        token_expires_at=clock.now() + timedelta(days=1),
        last_seen_at=clock.now(),
    )
    return {"id": str(user.pk), "token": token, "key": key_for(device)}


if __name__ == "__main__":
    main()
