"""Every list and every page opens, and costs the same however much there is."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from media_storage.models import MediaObject
from server.activities.models import SubmissionConflict, Visit
from server.activities.services.quarantine import keep_refused
from server.care.deleting import request_deletion
from server.care.exporting import request_export
from server.care.holds import set_hold
from server.care.models import Export
from server.care.originals import grant_originals
from server.core.clock import now, today
from server.core.errors import Malformed
from server.findings.models import Finding
from server.findings.services import raise_finding
from server.grid.models import User
from server.messaging.chat_groups import RobotGiven, add_chat_group
from server.messaging.models import Device, EscalationStep, Notice
from server.receipts.models import DayHead
from server.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.activities import device_of
from tests.cast import Cast, add_person, add_school, appoint
from tests.server.console.conftest import fill_in

MODELS = [
    "activities.activity",
    "activities.refuseddocument",
    "activities.submission",
    "activities.submissionconflict",
    "activities.visit",
    "care.deletion",
    "care.export",
    "care.hold",
    "care.originalsgrant",
    "core.auditentry",
    "findings.finding",
    "grid.appointment",
    "grid.area",
    "grid.holiday",
    "grid.membership",
    "grid.school",
    "grid.user",
    "instruments.instrument",
    "media_storage.mediaobject",
    "messaging.chatgroup",
    "messaging.delivery",
    "messaging.device",
    "messaging.escalationrule",
    "messaging.escalationstep",
    "messaging.eventwording",
    "messaging.notice",
    "receipts.dayhead",
    "webhooks.webhookdelivery",
    "webhooks.webhookendpoint",
]
OF_FEW = ["messaging.preference", "messaging.provider"]
"""One's own, and the administrator's: tests/server/console/test_preferences.py opens them."""


def address(label: str, page: str, *args: object) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)


def statements(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200, path
    return len(queries)


@pytest.fixture
def conflict(made_visit: Visit, cast: Cast) -> SubmissionConflict:
    submission = made_visit.submissions.get()
    take_care(cast, made_visit)
    escalate(cast)
    speak_in_groups(cast, 1)
    close_days()
    follow_outside(cast)
    return SubmissionConflict.objects.create(
        submission=submission, sender=cast.bruno, format="json", raw=b"{}", sha256="0" * 64
    )


def test_these_are_all_lists(db):
    assert sorted(model._meta.label_lower for model in admin.site._registry) == sorted(
        MODELS + OF_FEW
    )


@pytest.mark.parametrize("label", MODELS)
def test_every_list_and_page_opens(label, office, conflict, cast: Cast):
    refuse(cast.ada)
    model = next(each for each in admin.site._registry if each._meta.label_lower == label)
    row = admin.site._registry[model].visible_to(cast.office).first()
    assert row is not None
    for path in (address(label, "changelist"), address(label, "change", row.pk)):
        answer = office.get(path)
        assert answer.status_code == 200
        assert "督学 Duxue" in answer.content.decode()


@pytest.mark.parametrize("label", MODELS)
def test_a_list_costs_the_same_for_more_rows(label, office, conflict, cast: Cast):
    refuse(cast.ada)
    office.get("/admin/")
    before = statements(office, address(label, "changelist"))
    enlarge(cast, conflict)
    assert statements(office, address(label, "changelist")) <= before


def take_care(cast: Cast, visit: Visit) -> None:
    """A file on its way out, a hold, a grant, an export: and the log of it all."""
    media = MediaObject.objects.filter(submission_attachments__submission__visit=visit)
    request_deletion(media_ids=[each.pk for each in media], by=cast.office, reason="家长申请")
    set_hold(target="visit", target_id=visit.pk, by=cast.office, reason="投诉调查")
    grant_originals(
        by=cast.office, user_id=cast.town_group.pk, school_id=visit.school_id, reason="复核"
    )
    request_export(
        export_id=uuid4(), activity_id=visit.activity_id, by=cast.office, variant="shared"
    )
    Export.objects.update(state=Export.State.FAILED)


def escalate(cast: Cast) -> None:
    """Another step of each finding that the school was told of."""
    rule = cast.county.escalation_rules.first()
    for notice in Notice.objects.filter(event="finding.opened"):
        number = notice.escalation_steps.count() + 1
        EscalationStep.objects.create(
            notice=notice, rule=rule, number=number, target="office", waiting="白校长", at=now()
        )


def close_days() -> None:
    """Two more days of the receipts' chain; what is in them is tested in test_receipts.py."""
    known = DayHead.objects.count()
    for number in (known + 1, known + 2):
        DayHead.objects.create(
            number=number,
            day=today() - timedelta(days=100 - number),
            first=1,
            count=1,
            hash="0" * 64,
            closed_at=now(),
            body="{}",
            signature="",
            nodes=bytes(32),
        )


def follow_outside(cast: Cast) -> None:
    """An endpoint of the county, and an event that waits to be sent to it."""
    endpoint = WebhookEndpoint.objects.create(
        area=cast.county,
        url="https://portal.example/",
        events=["visit.completed.v1"],
        secret="sealed",
        created_by=cast.office,
        responsible=cast.office,
    )
    event = WebhookEvent.objects.create(
        id=uuid4(),
        type="visit.completed.v1",
        subject_type="visit",
        subject_id=uuid4(),
        area_path=cast.county.path,
        occurred_at=now(),
        payload={},
    )
    WebhookDelivery.objects.create(endpoint=endpoint, event=event, subject_id=event.subject_id)


def speak_in_groups(cast: Cast, *numbers: int) -> None:
    """Groups of the school, each with a robot."""
    for number in numbers:
        webhook = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=none-{number}"
        add_chat_group(
            group_id=uuid4(),
            by=cast.office,
            name=f"群 {number}",
            school_id=cast.school.pk,
            robot=RobotGiven(webhook=webhook),
        )


def refuse(by: User) -> None:
    """Something that a phone of this person sent in vain."""
    keep_refused(
        device=device_of(by), format="xml", raw=uuid4().bytes, refusal=Malformed("没有结束")
    )


def enlarge(cast: Cast, conflict: SubmissionConflict) -> None:
    """More of everything that the lists show."""
    follow_outside(cast)
    refuse(cast.bruno)
    escalate(cast)
    speak_in_groups(cast, 2, 3, 4)
    close_days()
    for n in range(4):
        school = add_school(f"东河镇第{n}小学", f"910121010{n}", cast.town)
        inspector = add_person(f"more{n}", f"增{n}", "inspector", area=cast.county)
        appoint(inspector, school)
        visit = Visit.objects.create(activity=conflict.submission.visit.activity, school=school)
        visit.team.set([inspector, cast.ada])
        submission = fill_in(visit, inspector, licence="no", licence_note="无")
        take_care(cast, visit)
        SubmissionConflict.objects.create(
            submission=submission, sender=cast.ada, format="json", raw=b"{}", sha256=f"{n}" * 64
        )
        raise_finding(
            finding_id=uuid4(), by=cast.office, school_id=school.pk, title="问题", due_on=today()
        )
    assert Finding.objects.count() > 8
    assert Device.objects.count() > 4


@pytest.mark.parametrize(
    "path",
    [
        "/admin/activities/visit/?progress=overdue",
        "/admin/activities/visit/?progress=open&period=month",
        "/admin/findings/finding/?standing=unsettled&age=week",
        "/admin/findings/finding/?standing=to_verify",
        "/admin/messaging/delivery/?state__exact=dead",
        "/admin/grid/school/?inspector=without",
        "/admin/grid/user/?role=inspector",
        "/admin/grid/appointment/?term=now",
        "/admin/findings/finding/?standing=nonsense&activity=nonsense&town=nonsense",
    ],
)
def test_filters_live_in_the_address(path, office, made_visit: Visit):
    assert office.get(path).status_code == 200


def test_a_filter_narrows_the_list(office, made_visit: Visit, cast: Cast):
    rows = office.get("/admin/activities/visit/?progress=done").context["cl"].queryset
    assert [visit.school for visit in rows] == [cast.school]


def test_an_empty_list_says_what_will_stand_there_and_a_filtered_one_how_to_widen_it(office):
    empty = office.get("/admin/care/export/").content.decode()
    assert "这里还没有内容" in empty
    assert "在督导活动页面可以把该活动的佐证材料连同清单打包导出" in empty
    assert "清除筛选" not in empty

    filtered = office.get("/admin/care/export/?state__exact=failed").content.decode()
    assert "没有符合条件的内容" in filtered
    assert "清除筛选" in filtered
