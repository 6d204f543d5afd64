"""Receipts in the console: on a submission's page, checked at a press, and the days to be published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from media_storage.errors import StoreUnavailable
from media_storage.stores import get_store
from server.activities.models import Submission
from server.console.admin import receipts as pages
from server.grid.models import Membership
from server.receipts import offline
from server.receipts.models import Chain, DayHead, Receipt
from tests.cast import add_area, add_person
from tests.receipts import County
from tests.server.console.conftest import Browser

pytestmark = pytest.mark.django_db


def page(county: County, name: str = "photo") -> str:
    return reverse("admin:activities_submission_change", args=[county.ids[name]])


def check(client: Client, county: County, name: str = "photo") -> str:
    address = reverse("admin:activities_submission_check", args=[county.ids[name]])
    return text_of(client.post(address))


def text_of(answer) -> str:
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_submissions_page_lists_its_receipts(chained: County, office: Client):
    found = text_of(office.get(page(chained, "late")))
    assert "首份凭证" in found
    assert "第 2 份凭证（内容有增加）" in found
    assert found.count("已封存") == 2  # Monday's and Tuesday's
    assert "立即核验" in found


def test_a_submission_without_a_receipt_says_that_it_will_come(county: County, office: Client):
    county.send("a")
    found = text_of(office.get(page(county, "a")))
    assert "凭证由后台自动签发" in found
    assert "立即核验" not in found


def test_the_number_of_queries_does_not_grow_with_the_receipts(
    chained: County, office: Client, django_assert_num_queries
):
    row = Submission.objects.get(pk=chained.ids["late"])
    part = pages.ReceiptPages(pages.admin.site._registry[Submission])
    with django_assert_num_queries(3):
        part.part(row)


def test_a_check_tells_what_was_compared(chained: County, office: Client):
    found = check(office, chained)
    assert "核验通过：1 份凭证、原始文件、答案和 1 个附件" in found
    assert "技术细节" not in found


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda row: type(row).objects.filter(pk=row.pk).update(answers={}), "答案：与签名时不同"),
        (
            lambda row: type(row).objects.filter(pk=row.pk).update(raw=b"{}"),
            "原始文件：与签名时不同",
        ),
        (lambda row: get_store().delete(row.attachments.get().media.key), "附件 1.jpg：缺失"),
        (
            lambda row: Receipt.objects.filter(subject=row.pk).update(signature="0" * 128),
            "签名不符",
        ),
        (lambda row: DayHead.objects.filter(number=1).update(signature="0" * 128), "签名不符"),
    ],
)
def test_a_check_names_what_is_wrong_in_the_readers_words(chained: County, office, spoil, words):
    spoil(Submission.objects.get(pk=chained.ids["photo"]))
    found = check(office, chained)
    assert "核验未通过" in found
    assert words in found
    assert "技术细节" in found


def test_a_check_says_what_it_did_not_read(chained: County, office: Client, monkeypatch):
    monkeypatch.setattr(pages, "MOST_BYTES", 10)
    assert "另有 1 个未读取" in check(office, chained)


def test_a_check_says_that_the_store_is_away(chained: County, office: Client, monkeypatch):
    def away(*_arguments, **_options):
        raise StoreUnavailable

    monkeypatch.setattr(pages, "check_submission", away)
    assert "未能完成核验" in check(office, chained)


def test_a_check_changes_nothing_and_is_only_made_when_asked(chained: County, office: Client):
    address = reverse("admin:activities_submission_check", args=[chained.ids["photo"]])
    assert office.get(address).status_code == 302
    before = list(Receipt.objects.values_list("hash", "again_at"))
    check(office, chained)
    assert list(Receipt.objects.values_list("hash", "again_at")) == before


def test_the_file_of_a_receipt_is_verified_offline(chained: County, office: Client, tmp_path: Path):
    receipt = Receipt.objects.get(subject=chained.ids["photo"])
    address = reverse(
        "admin:activities_submission_receipt", args=[chained.ids["photo"], receipt.position]
    )
    assert address in text_of(office.get(page(chained)))
    answer = office.get(address)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    path = tmp_path / "receipt.json"
    path.write_bytes(answer.content)
    key = json.loads(answer.content)["keys"][0]["signed"]["content"]["public_key"]
    report = offline.verify(file=path, key=[key], anchor=[], document=None, photos=None)
    assert report.is_sound


def test_a_receipt_of_another_submission_is_not_below_this_one(chained: County, office: Client):
    other = Receipt.objects.get(subject=chained.ids["tuesday"])
    address = reverse(
        "admin:activities_submission_receipt", args=[chained.ids["photo"], other.position]
    )
    assert office.get(address).status_code == 404


def test_an_office_of_another_county_sees_none_of_it(chained: County, browser: Browser, cast):
    city = cast.county.parent
    other = add_area("别县", "910122", "county", city)
    stranger = add_person("stranger", "别主任", Membership.Role.OFFICE, area=other, is_staff=True)
    client, pk = browser(stranger), chained.ids["photo"]
    receipt = Receipt.objects.get(subject=pk)
    names = {"check": [pk], "receipt": [pk, receipt.position]}
    for name, arguments in names.items():
        address = reverse(f"admin:activities_submission_{name}", args=arguments)
        assert client.get(address).status_code == 404
        assert client.post(address).status_code == 404


def test_inspectors_do_not_enter(chained: County, browser: Browser):
    client = browser(chained.cast.ada)
    assert client.get(reverse("admin:receipts_dayhead_changelist")).status_code == 302


# ---- days --------------------------------------------------------------------------------------


def test_the_days_are_listed_with_their_state_and_the_open_one_above(chained, office: Client):
    found = text_of(office.get(reverse("admin:receipts_dayhead_changelist")))
    assert found.count("field-day") == 3
    assert "今天（2026-11-26）已签发 1 份凭证" in found
    # The worker looked at noon each time: half a day after midnight is in time, more is not.
    assert (found.count("已封存"), found.count("补封")) == (2, 1)


def test_a_list_of_days_takes_the_same_queries_however_long(
    chained: County, office: Client, django_assert_max_num_queries
):
    with django_assert_max_num_queries(10):
        office.get(reverse("admin:receipts_dayhead_changelist"))


def test_a_stop_of_the_signing_is_said_where_offices_look(
    chained: County, office: Client, settings
):
    settings.RECEIPT_KEY = "cc" * 32
    chained.send("waits")
    chained.make()
    found = text_of(office.get(reverse("admin:receipts_dayhead_changelist")))
    assert "凭证签发已停止" in found
    assert "凭证签发已停止" in text_of(office.get(page(chained)))


def test_before_the_first_receipt_the_list_says_so(office: Client):
    found = text_of(office.get(reverse("admin:receipts_dayhead_changelist")))
    assert "还没有签发过凭证" in found
    assert not Chain.objects.exists()


def test_a_day_shows_its_whole_hash_and_the_keys(chained: County, office: Client):
    head = DayHead.objects.get(number=2)
    found = text_of(office.get(reverse("admin:receipts_dayhead_change", args=[head.pk])))
    assert "".join(re.findall(r"<code>([0-9a-f]{8})</code>", found)) == head.hash
    assert len(re.findall(r"<code>[0-9a-f]{64}</code>", found)) == 2


def test_a_day_is_printed_with_its_hash_as_text_and_as_a_code(chained: County, office: Client):
    head = DayHead.objects.get(number=2)
    found = text_of(office.get(reverse("admin:receipts_dayhead_print", args=[head.pk])))
    assert "".join(re.findall(r"<code>([0-9a-f]{8})</code>", found)) == head.hash
    assert "<svg" in found
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", found)


def test_a_days_file_is_an_anchor(chained: County, office: Client, tmp_path: Path):
    head = DayHead.objects.get(number=2)
    answer = office.get(reverse("admin:receipts_dayhead_file", args=[head.pk]))
    path = tmp_path / "day.json"
    path.write_bytes(answer.content)
    found = offline.Anchors.of([str(path)])
    assert found.days == {"2026-11-24": head.hash}


def test_only_offices_see_days(chained: County, browser: Browser):
    for person, status in ((chained.cast.office, 200), (chained.cast.town_group, 200)):
        client = browser(person)
        assert client.get(reverse("admin:receipts_dayhead_changelist")).status_code == status
    head = DayHead.objects.first()
    client = browser(chained.cast.carla)
    assert client.get(reverse("admin:receipts_dayhead_change", args=[head.pk])).status_code != 200
