"""The first page, the language, and the pages that say what went wrong."""

from __future__ import annotations

import pytest
from django.test import Client, RequestFactory

from server.console import pages


def test_the_first_page_leads_everybody_on(client, db):
    page = client.get("/").content.decode()
    assert "/admin/" in page
    assert "/api/docs/" in page
    assert "http://testserver/openrosa" in page


def test_the_language_can_be_switched(client, db):
    client.post("/i18n/setlang/", {"language": "en", "next": "/"})
    assert 'lang="en"' in client.get("/").content.decode()


def test_an_unknown_address_has_a_way_on(client, db):
    answer = client.get("/nowhere/at/all")
    assert answer.status_code == 404
    assert "找不到这个页面" in answer.content.decode()


@pytest.mark.parametrize(
    ("page", "status"),
    [(pages.bad_request, 400), (pages.forbidden, 403), (pages.server_error, 500)],
)
def test_error_pages_ask_no_database(page, status):
    answer = page(RequestFactory().get("/"))
    assert answer.status_code == status
    assert "回到首页" in answer.content.decode()


def test_a_forged_form_is_refused(cast):
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/i18n/setlang/", {"language": "en"})
    assert answer.status_code == 403
    assert "页面已过期" in answer.content.decode()


def test_too_many_wrong_passwords_say_when_to_come_back(client, cast, settings):
    settings.AXES_FAILURE_LIMIT = 2
    for _try in range(3):
        answer = client.post("/admin/login/", {"username": "office", "password": "wrong"})
    assert "登录失败次数过多" in answer.content.decode()
