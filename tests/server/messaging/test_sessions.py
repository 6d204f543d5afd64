"""Sessions: log-in, tokens, lockout, OpenRosa credentials, push addresses."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.hashers import BasePasswordHasher

from server.core import clock
from server.core.errors import Invalid, NotFound
from server.messaging import sessions
from server.messaging.models import Device
from server.messaging.sessions import (
    AccountInactive,
    LockedOut,
    TokenExpired,
    TokenRevoked,
    TokenUnknown,
    WrongCredentials,
    close_session,
    device_for_basic,
    device_for_key,
    device_for_token,
    devices_of,
    devices_with_digest,
    key_for,
    new_openrosa_password,
    open_odk_session,
    open_session,
    revoke_device,
    set_push,
)


def refresh(device: Device) -> Device:
    return Device.objects.get(pk=device.pk)


def test_a_token_leads_to_its_device_and_person_in_one_query(
    cast, log_in, django_assert_num_queries
):
    token, device = log_in(cast.ada)
    with django_assert_num_queries(1):
        found = device_for_token(token)
        assert found.user.username == "ada"
    assert found == device
    assert len(token) >= 43


def test_the_token_is_stored_only_as_its_digest(cast, log_in):
    token, device = log_in(cast.ada)
    stored = Device.objects.filter(pk=device.pk).values().get()
    assert token not in str(stored)
    assert stored["token_digest"] == hashlib.sha256(token.encode()).hexdigest()


def test_a_token_lives_as_long_as_the_settings_say(cast, log_in, settings):
    settings.DEVICE_TOKEN_DAYS = 7
    _token, device = log_in(cast.ada)
    assert timedelta(days=6.9) < device.token_expires_at - clock.now() <= timedelta(days=7)


def test_a_wrong_password_and_an_unknown_name_are_told_alike(cast, log_in):
    with pytest.raises(WrongCredentials):
        log_in(cast.ada, password="wrong")
    cast.ada.username = "nobody"
    with pytest.raises(WrongCredentials):
        log_in(cast.ada)


def test_an_inactive_person_cannot_log_in_and_loses_the_sessions_they_have(cast, log_in):
    token, _device = log_in(cast.ada)
    cast.ada.is_active = False
    cast.ada.save()
    with pytest.raises(AccountInactive):
        device_for_token(token)
    with pytest.raises(WrongCredentials):
        log_in(cast.ada)


def test_too_many_wrong_passwords_lock_the_login_out_even_for_the_right_one(cast, log_in, settings):
    settings.AXES_FAILURE_LIMIT = 3
    for _ in range(2):
        with pytest.raises(WrongCredentials):
            log_in(cast.ada, password="wrong")
    with pytest.raises(LockedOut):
        log_in(cast.ada, password="wrong")
    with pytest.raises(LockedOut):
        log_in(cast.ada)
    assert log_in(cast.bruno)  # the lockout is one login's


def test_a_lockout_leaves_the_answer_to_us(cast, rf, settings):
    settings.AXES_FAILURE_LIMIT = 1
    request = rf.post("/api/v1/auth/sessions")
    with pytest.raises(LockedOut):
        open_session(
            username="ada",
            password="wrong",
            device_id=uuid4(),
            device_name="",
            platform="",
            request=request,
        )
    assert not request.axes_locked_out


def test_an_unknown_token_is_refused(cast):
    with pytest.raises(TokenUnknown):
        device_for_token("no-such-token")


def test_an_expired_token_is_refused(cast, log_in):
    token, device = log_in(cast.ada)
    Device.objects.filter(pk=device.pk).update(token_expires_at=clock.now())
    with pytest.raises(TokenExpired):
        device_for_token(token)


def test_logging_out_ends_token_key_password_and_push(cast, log_in):
    token, device = log_in(cast.ada, push="address-1")
    key = key_for(device)
    password = new_openrosa_password(device=device)
    close_session(device)
    with pytest.raises(TokenRevoked):
        device_for_token(token)
    with pytest.raises(TokenRevoked):
        device_for_key(key)
    with pytest.raises(TokenUnknown):
        device_for_basic("ada", password)
    assert devices_with_digest("ada") == []
    assert refresh(device).push_address == ""


def test_logging_in_again_on_a_device_replaces_the_token_and_keeps_the_key(cast, log_in):
    first, device = log_in(cast.ada, push="address-1")
    key = key_for(device)
    second, again = log_in(cast.ada, device.id)
    assert again == device
    with pytest.raises(TokenUnknown):
        device_for_token(first)
    assert device_for_token(second) == device
    assert device_for_key(key) == device
    assert refresh(device).push_address == "address-1"


def test_another_persons_login_on_a_device_ends_all_that_the_first_had(cast, log_in):
    first, device = log_in(cast.ada, push="address-1")
    key = key_for(device)
    password = new_openrosa_password(device=device)
    second, moved = log_in(cast.bruno, device.id)
    with pytest.raises(TokenUnknown):
        device_for_token(first)
    with pytest.raises(TokenRevoked):
        device_for_key(key)
    with pytest.raises(TokenUnknown):
        device_for_basic("ada", password)
    assert device_for_token(second).user == cast.bruno
    assert refresh(moved).push_address == ""
    assert device_for_key(key_for(refresh(moved))).user == cast.bruno


def test_a_key_from_before_a_logout_stays_dead_after_the_next_login(cast, log_in):
    _token, device = log_in(cast.ada)
    key = key_for(device)
    close_session(device)
    log_in(cast.ada, device.id)
    with pytest.raises(TokenRevoked):
        device_for_key(key)


def test_one_can_revoke_ones_own_device_and_nobody_elses(cast, log_in):
    token, device = log_in(cast.ada)
    with pytest.raises(NotFound):
        revoke_device(device_id=device.id, by=cast.carla)
    assert device_for_token(token)
    revoke_device(device_id=device.id, by=cast.ada)
    with pytest.raises(TokenRevoked):
        device_for_token(token)
    assert not devices_of(cast.ada).exists()


def test_last_seen_is_written_at_most_hourly(cast, log_in, monkeypatch, django_assert_num_queries):
    token, device = log_in(cast.ada)
    start = device.last_seen_at
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(minutes=59))
    with django_assert_num_queries(1):
        device_for_token(token)
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(minutes=60))
    with django_assert_num_queries(2):
        device_for_token(token)
    assert refresh(device).last_seen_at == start + timedelta(minutes=60)


# ---- OpenRosa -------------------------------------------------------------------------------


def test_a_key_leads_to_its_device_in_one_query(cast, log_in, django_assert_num_queries):
    _token, device = log_in(cast.ada)
    key = key_for(device)
    with django_assert_num_queries(1):
        assert device_for_key(key).user == cast.ada
    assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "spoil", [lambda k: k[:-4], lambda k: "A" * len(k), lambda k: "", str.upper]
)
def test_a_forged_key_is_refused_before_any_query(cast, log_in, spoil, django_assert_num_queries):
    key = key_for(log_in(cast.ada)[1])
    for forged in (spoil(key), f"{spoil(key)}=", "督学", "!!!!"):
        with django_assert_num_queries(0), pytest.raises(TokenUnknown):
            device_for_key(forged)


def test_a_key_of_another_secret_is_refused(cast, log_in, settings):
    key = key_for(log_in(cast.ada)[1])
    settings.SECRET_KEY = "another" * 8
    with pytest.raises(TokenUnknown):
        device_for_key(key)


def test_a_generated_password_opens_its_device_only_with_its_login(
    cast, log_in, django_assert_num_queries
):
    _token, device = log_in(cast.ada)
    password = new_openrosa_password(device=device)
    with django_assert_num_queries(1):
        assert device_for_basic("ada", password) == device
    with pytest.raises(TokenUnknown):
        device_for_basic("bruno", password)
    with pytest.raises(TokenUnknown):
        device_for_basic("ada", "")


def test_digest_knows_md5_of_login_realm_and_generated_password(cast, log_in):
    _token, device = log_in(cast.ada)
    assert devices_with_digest("ada") == []  # no password yet
    password = new_openrosa_password(device=device)
    (found,) = devices_with_digest("ada")
    assert found.openrosa_ha1 == hashlib.md5(f"ada:Duxue:{password}".encode()).hexdigest()
    assert devices_with_digest("bruno") == []


def test_a_new_generated_password_ends_the_one_before(cast, log_in):
    _token, device = log_in(cast.ada)
    old = new_openrosa_password(device=device)
    new = new_openrosa_password(device=device)
    with pytest.raises(TokenUnknown):
        device_for_basic("ada", old)
    assert device_for_basic("ada", new) == device


def test_no_check_but_the_login_hashes_a_password(cast, log_in, settings):
    token, device = log_in(cast.ada)
    password = new_openrosa_password(device=device)
    settings.PASSWORD_HASHERS = [f"{__name__}.Forbidden"]
    assert device_for_token(token)
    assert device_for_key(key_for(device))
    assert device_for_basic("ada", password)
    assert devices_with_digest("ada")
    with pytest.raises(AssertionError):
        log_in(cast.ada)


class Forbidden(BasePasswordHasher):
    """Hashing here is a mistake."""

    algorithm = "md5"

    def verify(self, password: str, encoded: str) -> bool:
        raise AssertionError("a password was hashed")


# ---- push -----------------------------------------------------------------------------------


def test_a_push_address_moves_to_the_device_that_reports_it(cast, log_in):
    _token, adas = log_in(cast.ada, push="address-1")
    _token, brunos = log_in(cast.bruno, push="address-1")
    assert refresh(adas).push_address == ""
    assert refresh(brunos).push_address == "address-1"


def test_reporting_a_push_address_enables_push_again(cast, log_in):
    _token, device = log_in(cast.ada, push="address-1")
    Device.objects.filter(pk=device.pk).update(
        push_disabled_at=clock.now(), push_disabled_reason="gone"
    )
    set_push(device=device, provider="fcm", address="address-2")
    stored = refresh(device)
    assert (stored.push_address, stored.push_disabled_at) == ("address-2", None)


def test_push_can_be_ended(cast, log_in):
    _token, device = log_in(cast.ada, push="address-1")
    set_push(device=device, provider="", address="")
    assert refresh(device).push_provider == ""


@pytest.mark.parametrize(
    ("provider", "address"), [("fcm", ""), ("", "x"), ("pager", "x"), ("fcm", "x" * 2049)]
)
def test_a_push_address_that_makes_no_sense_is_refused(cast, log_in, provider, address):
    _token, device = log_in(cast.ada)
    with pytest.raises(Invalid):
        set_push(device=device, provider=provider, address=address)


def test_every_refusal_of_a_session_has_a_code_of_its_own():
    kinds = [
        getattr(sessions, name)
        for name in (
            "WrongCredentials",
            "LockedOut",
            "TokenUnknown",
            "TokenExpired",
            "TokenRevoked",
            "AccountInactive",
        )
    ]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_a_persons_odk_device_is_one_and_comes_back_with_another_key(cast):
    first = open_odk_session(cast.ada)
    assert device_for_key(key_for(open_odk_session(cast.ada))) == first
    old_key = key_for(first)
    close_session(first)
    again = open_odk_session(cast.ada)
    assert again.pk == first.pk
    with pytest.raises(TokenRevoked):
        device_for_key(old_key)
    assert device_for_key(key_for(again)) == again
