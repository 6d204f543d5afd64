"""Receipts over the phone's API: a submission's own, the public keys, the days for offices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.test import Client

from server.receipts import offline
from server.receipts.keys import PrivateKey
from server.receipts.models import Chain, DayHead, Receipt
from tests.clients import PhoneOf
from tests.receipts import FIRST_KEY, SECOND_KEY, County

pytestmark = pytest.mark.django_db


def path(county: County, name: str) -> str:
    return f"/submissions/{county.ids[name]}/receipts"


def test_the_sender_gets_the_receipts_with_their_ways_and_days(chained: County, phone: PhoneOf):
    ada = phone(chained.cast.ada)
    first, second = ada.get(path(chained, "late"))["results"]
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert first["receipt"]["signed"]["content"]["files"] == [{"name": "2.jpg", "media": None}]
    assert first["proof"]["count"] == first["day_statement"]["signed"]["count"]
    (today,) = ada.get(path(chained, "thursday"))["results"]
    assert (today["proof"], today["day_statement"]) == (None, None)


def test_what_a_phone_keeps_is_verified_offline(chained: County, phone: PhoneOf, tmp_path: Path):
    (found,) = phone(chained.cast.ada).get(path(chained, "photo"))["results"]
    listed = Client().get("/api/v1/receipts/keys").json()["results"]
    kept = {
        "type": "duxue-receipt-file/1",
        "receipt": found["receipt"],
        "proof": found["proof"],
        "day": found["day_statement"],
        "keys": [key["statement"] for key in listed],
    }
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(kept))
    known = [listed[0]["public_key"]]
    report = offline.verify(file=file, key=known, anchor=[], document=None, photos=None)
    assert report.flaws == []


def test_a_conflict_is_listed_with_the_submission_that_it_contradicts(chained, phone: PhoneOf):
    rows = phone(chained.cast.ada).get(path(chained, "xml"))["results"]
    assert [row["kind"] for row in rows] == ["submission", "conflict", "conflict"]


def test_who_may_not_see_the_submission_sees_no_receipts(chained: County, phone: PhoneOf):
    cast = chained.cast
    for stranger in (cast.carla, cast.bruno, cast.principal, cast.expert):
        phone(stranger).get(path(chained, "photo"), status=404)
    for reader in (cast.office, cast.town_group):
        assert phone(reader).get(path(chained, "photo"))["results"]


def test_receipts_come_in_pages(chained: County, phone: PhoneOf):
    ada = phone(chained.cast.ada)
    whole = ada.get(path(chained, "xml"))["results"]
    assert ada.every(path(chained, "xml"), limit=1) == whole


def test_a_receipts_cost_does_not_depend_on_the_days_size(
    chained: County, phone: PhoneOf, django_assert_max_num_queries
):
    ada = phone(chained.cast.ada)
    with django_assert_max_num_queries(8):
        ada.get(path(chained, "photo"))


def test_the_public_keys_are_open_to_everybody(chained: County):
    answer = Client().get("/api/v1/receipts/keys")
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    seeds = [PrivateKey(bytes.fromhex(seed)) for seed in (FIRST_KEY, SECOND_KEY)]
    assert [first["public_key"], second["public_key"]] == [key.public for key in seeds]
    assert [first["id"], second["id"]] == [key.id for key in seeds]
    assert second["statement"]["countersignature"]
    assert "a1a1a1" not in answer.content.decode()


def test_offices_see_the_days_and_nobody_else(chained: County, phone: PhoneOf):
    cast = chained.cast
    days = phone(cast.office).get("/receipts/days")["results"]
    assert [day["day"] for day in days] == ["2026-11-25", "2026-11-24", "2026-11-23"]
    assert days[0]["hash"] == DayHead.objects.get(number=3).hash
    assert days[0]["statement"]["signed"]["previous"] == days[1]["hash"]
    for stranger in (cast.carla, cast.ada, cast.principal):
        phone(stranger).get("/receipts/days", status=404)


def test_days_are_asked_for_by_their_dates_and_come_in_pages(chained: County, phone: PhoneOf):
    office = phone(chained.cast.office)
    some = office.get("/receipts/days", **{"from": "2026-11-24", "to": "2026-11-24"})["results"]
    assert [day["number"] for day in some] == [2]
    every = office.every("/receipts/days", limit=1)
    assert [day["number"] for day in every] == [3, 2, 1]
    office.get("/receipts/days", **{"from": "yesterday"}, status=400)
    office.get("/receipts/days", cursor="WyI5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkiXQ")
    office.get("/receipts/days", cursor="WzFd", status=400)


def test_a_row_that_was_tampered_with_is_shown_and_no_verifier_takes_it(
    chained: County, phone: PhoneOf
):
    row = Receipt.objects.get(subject=chained.ids["photo"])
    Receipt.objects.filter(pk=row.pk).update(body=row.body[:-1], hash="z" * 64)
    (found,) = phone(chained.cast.ada).get(path(chained, "photo"))["results"]
    assert "unreadable" in found["receipt"]["signed"]


def test_lists_are_empty_before_there_is_a_chain(cast, phone: PhoneOf):
    assert Client().get("/api/v1/receipts/keys").json()["results"] == []
    assert phone(cast.office).get("/receipts/days")["results"] == []
    assert not Chain.objects.exists()
