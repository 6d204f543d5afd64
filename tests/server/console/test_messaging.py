"""Announcements, dead deliveries, devices."""

from __future__ import annotations

from uuid import uuid4

from server.core import clock
from server.messaging.models import Delivery, Notice
from tests.activities import device_of
from tests.cast import Cast


def form(**changes: object) -> dict[str, object]:
    return {"title": "例会", "body": "周五下午三点", "notice_id": str(uuid4()), **changes}


def push_to_ada(cast: Cast) -> Delivery:
    notice = Notice.objects.filter(deliveries__recipient=cast.ada).first()
    assert notice
    return notice.deliveries.create(recipient=cast.ada, channel="fcm")


def test_an_announcement_reaches_the_chosen(office, cast: Cast):
    answer = office.post(
        "/admin/messaging/notice/add/",
        form(schools=[str(cast.school.pk)], requires="acknowledge"),
        follow=True,
    )
    notice = Notice.objects.get()
    told = {row.recipient for row in notice.deliveries.filter(channel="inbox")}
    assert told == {cast.ada, cast.principal}
    page = answer.content.decode()
    assert "周五下午三点" in page
    assert "白校长" in page


def test_pressing_twice_sends_once(office, cast: Cast):
    plan = form(schools=[str(cast.school.pk)])
    for _press in range(2):
        office.post("/admin/messaging/notice/add/", plan)
    assert Notice.objects.count() == 1


def test_an_announcement_to_nobody_is_refused(office):
    answer = office.post("/admin/messaging/notice/add/", form())
    assert "请选择行政区、学校、角色、活动或人员" in str(answer.context["form"].errors)


def test_a_dead_delivery_is_retried(office, activity, cast: Cast):
    row = push_to_ada(cast)
    Delivery.objects.filter(pk=row.pk).update(
        state="dead", reason="x", work_due_at=None, work_dead_at=clock.now()
    )
    page = office.get(f"/admin/messaging/delivery/{row.pk}/change/").content.decode()
    assert "重新发送" in page
    office.post(f"/admin/messaging/delivery/{row.pk}/do/retry/")
    row.refresh_from_db()
    assert row.work_dead_at is None
    assert row.work_due_at is not None
    assert row.state == "pending"


def test_selected_dead_deliveries_are_retried(office, activity, cast: Cast):
    push_to_ada(cast)
    rows = Delivery.objects.filter(channel="fcm")
    rows.update(state="dead", reason="x", work_due_at=None, work_dead_at=clock.now())
    keys = [str(row.pk) for row in rows]
    office.post(
        "/admin/messaging/delivery/", {"action": "retry_selected", "_selected_action": keys}
    )
    assert not Delivery.objects.filter(work_dead_at__isnull=False).exists()


def test_revoking_a_device(office, cast: Cast):
    device = device_of(cast.ada)
    office.post(f"/admin/messaging/device/{device.pk}/do/revoke/")
    device.refresh_from_db()
    assert device.revoked_at is not None


def test_devices_of_superiors_are_out_of_sight(group, cast: Cast):
    device = device_of(cast.office)
    assert group.get(f"/admin/messaging/device/{device.pk}/change/").status_code == 404
