"""The office's pages for webhooks: made with the secret shown once, tested, stopped, sent again."""

from __future__ import annotations

from uuid import uuid4

import pytest

from server.core import clock
from server.webhooks import sending
from server.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.server.webhooks.conftest import add_endpoint, answering, inside, receiver

__all__ = ["inside", "receiver"]
pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/webhooks/webhookendpoint/"


def form(cast, receiver, **changes: object) -> dict[str, object]:
    return {
        "area": str(cast.county.pk),
        "url": receiver.url,
        "description": "县平台",
        "events": ["visit.completed.v1"],
        "endpoint_id": str(uuid4()),
        **changes,
    }


def deed(browser, endpoint, name: str, **values: str) -> str:
    answer = browser.post(f"{LIST}{endpoint.pk}/do/{name}/", values, follow=True)
    return answer.content.decode()


def test_the_secret_is_shown_after_creation_and_never_again(office, cast, receiver):
    answer = office.post(f"{LIST}add/", form(cast, receiver))
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    endpoint = WebhookEndpoint.objects.get()
    page = office.get(f"{LIST}{endpoint.pk}/change/").content.decode()
    assert "县平台" in page
    assert "whsec_" not in page


def test_an_address_within_is_refused_at_its_field(office, cast, receiver, settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = []
    answer = office.post(f"{LIST}add/", form(cast, receiver, url="https://127.0.0.1/"))
    assert "内部网络" in str(answer.context["form"].errors["url"])
    assert not WebhookEndpoint.objects.exists()


def test_a_test_event_shows_in_the_log_and_can_be_sent_again(office, cast, receiver):
    endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
    assert "测试事件已排队" in deed(office, endpoint, "test")
    sending.send_due()
    page = office.get(f"{LIST}{endpoint.pk}/change/").content.decode()
    assert "endpoint.test.v1" in page
    assert "204" in page
    row = WebhookDelivery.objects.get()
    log = office.get(f"/admin/webhooks/webhookdelivery/?endpoint__id__exact={endpoint.pk}")
    assert log.status_code == 200
    assert "endpoint.test.v1" in log.content.decode()
    office.post(f"/admin/webhooks/webhookdelivery/{row.pk}/do/again/")
    sending.send_due()
    today = f"{clock.today()}"
    assert "1 个事件已重新排队" in deed(office, endpoint, "again", day=today)
    sending.send_due()
    assert len(receiver.got) == 3


def test_off_on_rotate_edit_and_delete(office, cast, receiver):
    endpoint, secret = add_endpoint(cast.office, receiver.url, cast.county)
    assert "已停用" in deed(office, endpoint, "off")
    assert "已启用" in deed(office, endpoint, "on")
    rotated = office.post(f"{LIST}{endpoint.pk}/do/secret/")
    assert rotated.context["secret"] != secret
    office.post(
        f"{LIST}{endpoint.pk}/edit/",
        {"url": receiver.url, "description": "门户", "events": ["notice.sent.v1"]},
    )
    assert WebhookEndpoint.objects.get().events == ["notice.sent.v1"]
    assert "已删除" in deed(office, endpoint, "delete")
    assert not WebhookEndpoint.objects.exists()


def test_one_that_lost_its_person_is_taken_over(office, browser, cast, receiver):
    endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
    WebhookEndpoint.objects.update(state="ownerless", responsible=cast.ada)
    assert "接管" in office.get(f"{LIST}{endpoint.pk}/change/").content.decode()
    assert "已由您负责" in deed(office, endpoint, "take_over")
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.responsible) == ("on", cast.office)


def test_the_page_shows_what_the_receiver_answered(office, cast, receiver):
    receiver.reply = answering(500, b"<script>alert(1)</script>")
    endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
    deed(office, endpoint, "test")
    sending.send_due()
    row = WebhookDelivery.objects.get()
    page = office.get(f"/admin/webhooks/webhookdelivery/{row.pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "HTTP 500" in page


def test_town_groups_and_carla_have_no_webhooks(group, browser, cast, receiver):
    endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
    assert group.get(LIST).status_code in (403, 404)
    assert group.get(f"{LIST}{endpoint.pk}/change/").status_code == 404
    assert group.get(f"{LIST}add/").status_code == 403
    assert "外发推送" not in group.get("/admin/").content.decode()
    assert browser(cast.carla).get(LIST).status_code == 302
    deed(group, endpoint, "delete")
    assert WebhookEndpoint.objects.exists()
