"""One's own preferences in the console, and the providers that an operator holds."""

from __future__ import annotations

import pytest

from server.core import clock
from server.grid.models import User
from server.messaging.models import Preference, Provider
from tests.cast import Cast

PAGE = "/admin/messaging/preference/"
PROVIDERS = "/admin/messaging/provider/"


def form(**changes: object) -> dict[str, object]:
    return {
        "place_0": "mail",
        "place_1": "fcm",
        "quiet": "on",
        "quiet_from": "21:00",
        "quiet_until": "06:30",
        "time_zone": "Asia/Urumqi",
        **changes,
    }


def test_the_page_shows_what_holds_now(office, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    answer = office.get(PAGE)
    assert answer.context["form"].initial["place_0"] == "fcm"
    assert "22:00" in answer.content.decode()


def test_a_choice_is_kept_for_oneself(office, cast: Cast):
    answer = office.post(PAGE, form(), follow=True)
    assert "消息偏好已保存" in answer.content.decode()
    row = Preference.objects.get()
    assert row.user == cast.office
    assert row.channels[:2] == [
        {"channel": "mail", "enabled": True},
        {"channel": "fcm", "enabled": True},
    ]
    assert {each["channel"] for each in row.channels if not each["enabled"]} == {
        *("webpush", "jpush", "sms")
    }
    assert (str(row.quiet_from), row.time_zone) == ("21:00:00", "Asia/Urumqi")
    assert "place_2" not in office.get(PAGE).context["form"].initial


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"place_1": "mail"}, "place_0"),
        ({"quiet_from": ""}, "quiet_from"),
        ({"quiet_from": "06:30"}, "quiet_from"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_at_its_field(office, changes, field):
    answer = office.post(PAGE, form(**changes))
    assert field in answer.context["form"].errors
    assert not Preference.objects.exists()


@pytest.fixture
def operator(office, cast: Cast):
    User.objects.filter(pk=cast.office.pk).update(is_superuser=True)
    return office


def test_providers_are_the_operators_and_nobody_elses(office, group):
    Provider.objects.create(pk="fcm")
    for client in (office, group):
        assert client.get(PROVIDERS).status_code in (403, 404)
        assert client.get(f"{PROVIDERS}fcm/change/").status_code == 404
        client.post(f"{PROVIDERS}fcm/do/pause/")
    assert Provider.objects.get().paused_at is None


def test_an_operator_sees_who_does_not_answer_and_lets_it_try_again(operator):
    Provider.objects.create(
        pk="robot.wecom", failures=7, trips=2, open_until=clock.now(), last_error="no route"
    )
    page = operator.get(PROVIDERS).content.decode()
    assert "企业微信" in page
    assert "no route" in page
    address = f"{PROVIDERS}robot.wecom/"
    assert "恢复发送" in operator.get(f"{address}change/").content.decode()
    operator.post(f"{address}do/resume/")
    row = Provider.objects.get()
    assert (row.failures, row.trips, row.open_until) == (0, 0, None)


def test_an_operator_turns_a_provider_off_and_on(operator):
    Provider.objects.create(pk="sms")
    operator.post(f"{PROVIDERS}sms/do/pause/")
    assert Provider.objects.get().paused_at is not None
    assert "人工暂停" in operator.get(PROVIDERS).content.decode()
    operator.post(f"{PROVIDERS}sms/do/resume/")
    assert Provider.objects.get().paused_at is None
