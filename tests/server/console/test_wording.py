"""The catalogue of notices: everybody of an office reads it, the office words it."""

from __future__ import annotations

import pytest
from django.test import Client

from server.messaging.events import event_kinds
from server.messaging.models import EventWording, Notice
from server.messaging.services import notify
from server.messaging.wording import shipped
from tests.cast import Cast, add_area, add_person

CATALOGUE = "/admin/messaging/eventwording/"
EVENT = "finding.closed"


def page(area, event: str = EVENT) -> str:
    return f"{CATALOGUE}event/{event}/?area={area.pk}"


def content(event: str = EVENT, **changes: object) -> dict[str, object]:
    draft = {name: value for name, value in vars(shipped(event)).items() if value is not False}
    return {**draft, "save": "1", **changes}


def errors(answer) -> dict[str, list[str]]:
    return {name: list(each) for name, each in answer.context["form"].errors.items()}


def test_the_catalogue_lists_every_event_in_both_languages(office, cast: Cast):
    text = office.get(CATALOGUE).content.decode()
    for kind in event_kinds():
        assert f">{kind.key}</code>" in text
        assert str(kind.when) in text
    assert "问题已销号：{finding}" in text
    assert "Finding closed: {finding}" in text


def test_the_catalogue_costs_the_same_however_many_events_are_worded(
    office, cast: Cast, django_assert_num_queries
):
    office.get(CATALOGUE)
    with django_assert_num_queries(7):
        office.get(CATALOGUE)
    for event in ("finding.closed", "finding.opened", "visit.reviewed"):
        office.post(page(cast.county, event), content(event, title_zh="新"))
    with django_assert_num_queries(7):
        assert office.get(CATALOGUE).content.decode().count("<strong>新</strong>") == 3


def test_the_office_words_an_event_and_its_schools_read_it(office, cast: Cast):
    answer = office.post(page(cast.county), content(title_zh="{finding}办结"), follow=True)
    assert "已保存" in answer.content.decode()
    notice = notify(EVENT, recipients=[cast.ada], school=cast.school, finding="留样不足")
    assert notice.title == "留样不足办结"
    assert "方主任" in office.get(CATALOGUE).content.decode()


def test_a_fault_is_shown_at_its_field_and_nothing_is_saved(office, cast: Cast):
    answer = office.post(page(cast.county), content(body_en="{finding.__class__} {reason}"))
    assert [*errors(answer)] == ["body_en"]
    assert "{finding.__class__}" in errors(answer)["body_en"][0]
    assert "{reason}" in errors(answer)["body_en"][1]
    assert not EventWording.objects.filter(area=cast.county).exists()


@pytest.mark.parametrize("length", [2001, 1_000_000, 1_100_000])
def test_too_long_a_text_is_refused_politely(office, cast: Cast, length):
    answer = office.post(page(cast.county), content(body_zh="x" * length))
    assert answer.status_code == 200
    assert [*errors(answer)] == ["body_zh"]
    assert not EventWording.objects.filter(area=cast.county).exists()


def test_a_preview_shows_sample_values_and_saves_nothing(office, cast: Cast):
    plan = content(title_zh="{school}已办结")
    del plan["save"]
    text = office.post(page(cast.county), {**plan, "preview": "1"}).content.decode()
    assert "东河镇中心小学已办结" in text
    assert not EventWording.objects.filter(area=cast.county).exists()


def test_a_preview_shows_faults_too(office, cast: Cast):
    plan = content(title_zh="{shcool}")
    del plan["save"]
    answer = office.post(page(cast.county), {**plan, "preview": "1"})
    assert [*errors(answer)] == ["title_zh"]


def test_markup_in_a_text_is_shown_as_text(office, cast: Cast):
    office.post(page(cast.county), content(title_zh="<script>alert(1)</script>"))
    for address in (CATALOGUE, page(cast.county)):
        assert "<script>alert(1)" not in office.get(address).content.decode()


def test_a_reset_gives_the_default_back_and_keeps_the_versions(office, cast: Cast):
    office.post(page(cast.county), content(title_zh="新"))
    answer = office.post(page(cast.county), {"reset": "1"}, follow=True)
    assert "已恢复默认" in answer.content.decode()
    notice = notify(EVENT, recipients=[], school=cast.school, finding="留样不足")
    assert notice.title == "问题已销号：留样不足"
    first = EventWording.objects.get(area=cast.county, number=1)
    assert "新" in office.get(f"{CATALOGUE}{first.pk}/change/").content.decode()


def test_the_law_keeps_its_notices_on(office, cast: Cast):
    plan = content("finding.opened")
    del plan["enabled"]
    answer = office.post(page(cast.county, "finding.opened"), plan)
    assert "法规要求" in errors(answer)["enabled"][0]


def test_a_town_group_reads_and_does_not_write(group: Client, cast: Cast):
    assert "只有本行政区的教育督导办可以修改" in group.get(page(cast.town)).content.decode()
    answer = group.post(page(cast.town), content(title_zh="新"))
    assert "只有教育督导办可以修改" in str(answer.context["form"].non_field_errors())
    group.post(page(cast.town), {"reset": "1"})
    assert not EventWording.objects.exclude(area=None).exists()


def test_an_office_of_elsewhere_finds_no_page(browser, office, cast: Cast):
    office.post(page(cast.county), content(title_zh="新"))
    version = EventWording.objects.get(area=cast.county)
    elsewhere = add_area("云外县", "910122", "county", cast.county.parent)
    stranger = browser(add_person("far", "远主任", "office", area=elsewhere, is_staff=True))
    assert stranger.get(page(cast.county)).status_code == 404
    assert stranger.post(page(cast.county), content()).status_code == 404
    assert stranger.get(f"{CATALOGUE}{version.pk}/change/").status_code == 404
    assert stranger.get(f"{CATALOGUE}?area={cast.county.pk}").status_code == 404


@pytest.mark.parametrize("event", ["announcement", "no.such"])
def test_what_has_no_wording_has_no_page(office, cast: Cast, event):
    assert office.get(page(cast.county, event)).status_code == 404


def test_a_sent_notices_page_stays_as_it_was(office, cast: Cast):
    notice = notify(EVENT, recipients=[cast.ada], school=cast.school, finding="留样不足")
    office.post(page(cast.county), content(title_zh="改过的"))
    assert (
        "问题已销号：留样不足"
        in office.get(f"/admin/messaging/notice/{notice.pk}/change/").content.decode()
    )
    assert Notice.objects.get().title == "问题已销号：留样不足"
