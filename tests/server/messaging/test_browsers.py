"""Browsers that receive notices: devices that end with the session of the page."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.core import clock
from server.core.errors import Invalid
from server.messaging.browsers import device_id_of, subscribe_browser, unsubscribe_browser
from server.messaging.models import Device
from server.messaging.services import notify
from tests.fakes.vendors import Browser

BROWSER = uuid4()


@pytest.fixture(autouse=True)
def resolved(monkeypatch):
    monkeypatch.setattr("server.messaging.subscriptions.check_host", lambda host, port: None)


@pytest.fixture
def subscribe(cast):
    def subscribe(user, endpoint: str = "https://push.example/1", **more) -> Device:
        options = {"until": clock.now() + timedelta(days=14), **more}
        return subscribe_browser(
            user=user,
            browser_id=BROWSER,
            name="Linux",
            subscription=Browser(endpoint).subscription,
            **options,
        )

    return subscribe


def pushed(user) -> int:
    notice = notify("announcement", recipients=[user], title="会议", body="周三")
    return notice.deliveries.filter(channel="webpush").count()


def test_a_browser_gets_notices_until_its_session_ends(cast, subscribe):
    device = subscribe(cast.office)
    assert (device.platform, device.push_provider) == ("browser", "webpush")
    assert pushed(cast.office) == 1
    Device.objects.update(token_expires_at=clock.now() - timedelta(seconds=1))
    assert pushed(cast.office) == 0
    subscribe(cast.office)
    assert pushed(cast.office) == 1


def test_a_new_subscription_replaces_the_old_one(cast, subscribe):
    subscribe(cast.office)
    subscribe(cast.office, "https://push.example/2")
    assert Device.objects.count() == 1
    assert pushed(cast.office) == 1


def test_turning_it_off_ends_it_and_on_begins_it_again(cast, subscribe):
    subscribe(cast.office)
    unsubscribe_browser(user=cast.office, browser_id=BROWSER)
    unsubscribe_browser(user=cast.office, browser_id=BROWSER)
    assert pushed(cast.office) == 0
    subscribe(cast.office)
    assert pushed(cast.office) == 1


def test_nobody_reaches_anothers_device_or_a_phone_by_an_id(cast, subscribe, log_in):
    _token, phone = log_in(cast.office, push="token")
    assert device_id_of(cast.office, phone.pk) != phone.pk
    subscribe(cast.office)
    unsubscribe_browser(user=cast.ada, browser_id=BROWSER)
    unsubscribe_browser(user=cast.office, browser_id=phone.pk)
    assert pushed(cast.office) == 1
    phone.refresh_from_db()
    assert phone.revoked_at is None


def test_the_second_person_at_a_shared_computer_takes_the_browser_over(cast, subscribe):
    subscription = Browser("https://push.example/shared").subscription
    for user in (cast.office, cast.town_group):
        subscribe_browser(
            user=user,
            browser_id=BROWSER,
            name="",
            subscription=subscription,
            until=clock.now() + timedelta(days=1),
        )
    assert pushed(cast.office) == 0
    assert pushed(cast.town_group) == 1


def test_what_is_no_subscription_leaves_no_device(cast):
    with pytest.raises(Invalid):
        subscribe_browser(
            user=cast.office,
            browser_id=BROWSER,
            name="",
            subscription={"endpoint": "x"},
            until=clock.now(),
        )
    assert not Device.objects.exists()
