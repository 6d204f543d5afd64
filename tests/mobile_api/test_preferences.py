"""GET and PUT /api/v1/me/preferences."""

from __future__ import annotations

import pytest

PATH = "/me/preferences"


def choice(**changes: object) -> dict[str, object]:
    names = ["sms", "fcm", "webpush", "jpush", "mail"]
    return {
        "channels": [{"channel": name, "enabled": name != "mail"} for name in names],
        "quiet_hours": {"begins": "21:30", "ends": "06:15"},
        "time_zone": "Asia/Urumqi",
        **changes,
    }


def test_who_has_chosen_nothing_sees_the_defaults(phone, cast, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    shown = phone(cast.ada).get(PATH)
    assert shown["channels"][0] == {"channel": "fcm", "enabled": True}
    assert shown["quiet_hours"] == {"begins": "22:00", "ends": "07:00"}
    assert shown["time_zone"] == "Asia/Shanghai"


def test_a_choice_is_kept_and_is_ones_own(phone, cast):
    ada = phone(cast.ada)
    assert ada.put(PATH, choice()) == choice()
    assert ada.get(PATH) == choice()
    others = phone(cast.carla).get(PATH)
    assert others["time_zone"] == "Asia/Shanghai"
    assert others["channels"][0]["channel"] == "fcm"


def test_putting_again_replaces_all_of_it(phone, cast):
    ada = phone(cast.ada)
    ada.put(PATH, choice())
    ada.put(PATH, choice(quiet_hours=None))
    assert ada.get(PATH)["quiet_hours"] is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"channels": [{"channel": "fcm", "enabled": True}]}, "/channels"),
        ({"channels": [{"channel": "pigeon", "enabled": True}]}, "/channels/0/channel"),
        ({"quiet_hours": {"begins": "25:00", "ends": "07:00"}}, "/quiet_hours/begins"),
        ({"quiet_hours": {"begins": "07:00", "ends": "07:00"}}, "/quiet_hours"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(phone, cast, changes, pointer):
    refusal = phone(cast.ada).put(PATH, choice(**changes), status=422)
    assert refusal["errors"][0]["pointer"] == pointer


def test_without_a_token_there_are_none(client):
    assert client.get(f"/api/v1{PATH}").status_code == 401
