"""Logging in, the person's page, devices."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import timedelta

from server.core import clock
from server.messaging.models import Device
from server.messaging.sessions import device_for_basic, device_for_key
from tests.clients import Phone, new
from tests.fakes.vendors import Browser


def test_a_log_in_gives_a_token_that_opens_the_persons_page(cast):
    phone = Phone()
    session = phone.log_in("ada")
    assert session["user"]["name"] == cast.ada.name
    assert phone.get("/me")["id"] == str(cast.ada.pk)


def test_a_wrong_password_is_refused_with_a_challenge(cast):
    device = {"id": new(), "name": "", "platform": ""}
    body = {"username": "ada", "password": "wrong", "device": device}
    answer = Phone().raw("POST", "/auth/sessions", json.dumps(body).encode())
    assert answer.status_code == 401
    assert answer.json()["code"] == "wrong_credentials"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_missing_fields_of_a_log_in_are_named_by_pointers(db):
    problem = Phone().post("/auth/sessions", {"username": "ada", "device": {}}, status=422)
    assert {error["pointer"] for error in problem["errors"]} == {"/password", "/device/id"}


def test_logging_out_ends_the_token(cast, phone):
    ada = phone(cast.ada)
    ada.delete("/auth/sessions/current")
    assert ada.get("/me", status=401)["code"] == "token_revoked"


def test_an_expired_token_is_refused(cast, phone):
    ada = phone(cast.ada)
    Device.objects.update(token_expires_at=clock.now() - timedelta(seconds=1))
    assert ada.get("/me", status=401)["code"] == "token_expired"


def test_without_a_token_nothing_but_the_log_in_answers(db):
    for path in ("/me", "/sync", "/visits", "/findings", "/media/" + new()):
        assert Phone().get(path, status=401)["code"] == "not_authenticated"


def test_a_strange_authorization_is_refused(db):
    for given in ("Basic YTpi", "Bearer", "Bearer \xff"):
        answer = Phone().raw("GET", "/me", headers={"Authorization": given})
        assert answer.status_code == 401
        assert answer.json()["code"] == "token_unknown"


def test_me_tells_roles_with_their_scopes(cast, phone):
    roles = phone(cast.principal).get("/me")["roles"]
    assert [(role["role"], role["area"], role["school"]["id"]) for role in roles] == [
        ("school_contact", None, str(cast.school.pk))
    ]
    office = phone(cast.office).get("/me")["roles"][0]
    assert (office["role"], office["area"]["code"]) == ("office", cast.county.code)


def test_the_settings_code_holds_the_persons_own_server_address_and_no_password(cast, phone):
    ada = phone(cast.ada)
    access = ada.get("/me")["openrosa"]
    general = _settings(access["settings_qr"])["general"]
    assert general["server_url"] == access["server_url"]
    assert general["protocol"] == "odk_default"
    assert not {"username", "password"} & general.keys()
    base, _slash, key = access["server_url"].rpartition("/key/")
    assert base == "http://testserver"
    assert str(device_for_key(key).pk) == ada.device_id


def test_the_public_address_goes_before_the_requests_own(cast, phone, settings):
    settings.PUBLIC_URL = "https://duxue.example"
    url = phone(cast.ada).get("/me")["openrosa"]["server_url"]
    assert url.startswith("https://duxue.example/key/")


def test_an_openrosa_password_is_generated_and_works(cast, phone):
    ada = phone(cast.ada)
    given = ada.post(f"/devices/{ada.device_id}/openrosa-password", status=201)
    assert given["server_url"] == "http://testserver/openrosa"
    assert _settings(given["settings_qr"])["general"]["password"] == given["password"]
    assert str(device_for_basic("ada", given["password"]).pk) == ada.device_id


def test_devices_are_ones_own(cast, phone):
    ada, bruno = phone(cast.ada), phone(cast.bruno)
    devices = ada.get("/devices")["results"]
    assert [(device["id"], device["current"]) for device in devices] == [(ada.device_id, True)]
    for call in (
        lambda: ada.delete(f"/devices/{bruno.device_id}", status=404),
        lambda: ada.put(f"/devices/{bruno.device_id}/push", {"provider": ""}, status=404),
        lambda: ada.post(f"/devices/{bruno.device_id}/openrosa-password", status=404),
    ):
        assert call()["code"] == "not_found"


def test_a_lost_device_is_revoked_from_another(cast, phone):
    lost, kept = phone(cast.ada), phone(cast.ada)
    kept.delete(f"/devices/{lost.device_id}")
    lost.get("/me", status=401)
    assert [device["id"] for device in kept.get("/devices")["results"]] == [kept.device_id]


def test_a_push_address_is_kept_and_ended(cast, phone, monkeypatch):
    monkeypatch.setattr("server.messaging.subscriptions.check_host", lambda host, port: None)
    ada = phone(cast.ada)
    path = f"/devices/{ada.device_id}/push"
    ada.put(path, {"provider": "fcm", "token": "abc"}, status=204)
    assert Device.objects.get().push_address == "abc"
    subscription = Browser("https://push.example/1").subscription
    kept = {name: subscription[name] for name in ("endpoint", "keys")}
    ada.put(path, {"provider": "webpush", "subscription": subscription}, status=204)
    assert json.loads(Device.objects.get().push_address) == kept
    ada.put(path, {"provider": "jpush", "token": "1a2b3c"}, status=204)
    assert Device.objects.get().push_address == "1a2b3c"
    ada.put(path, {"provider": ""}, status=204)
    assert Device.objects.get().push_address == ""
    ada.put(path, {"provider": "fcm"}, status=422)


def test_the_list_of_devices_costs_two_queries(cast, phone, django_assert_num_queries):
    ada = phone(cast.ada)
    phone(cast.ada)
    with django_assert_num_queries(2):
        ada.get("/devices")


def _settings(code: str) -> dict:
    return json.loads(zlib.decompress(base64.b64decode(code)))
