"""The demo county at work: instruments, activities in each state, visits, findings and answers to them.

Everything goes through the services that phones and offices use; only the dates are moved back
afterwards, so that the figures have some age. The first visit of `inspector1` at `school1` is left
untouched: `make phone` and the reader of the README make it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from server.activities.machine import CHECK_IN, COMPLETE
from server.activities.models import Activity, Submission, Visit, VisitAction
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.deriving import derive
from server.activities.services.documents import document_from_json
from server.activities.services.planning import create_activity, publish_activity
from server.activities.services.visits import (
    Place,
    check_in,
    complete_visit,
    return_visit,
    review_visit,
)
from server.console.demo_notices import load_notices
from server.console.demo_talk import load_talk
from server.core import clock
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding
from server.grid.demo import County, demo_id
from server.grid.models import Area, User
from server.grid.queries import contacts_of
from server.instruments.compiled import Field, form_from_json
from server.instruments.library import FORM_IDS, workbook_path
from server.instruments.library.food_safety import PARTS
from server.instruments.library.supervision_week import MATTERS
from server.instruments.models import Instrument, InstrumentVersion
from server.instruments.services import publish_instrument, upload_xlsform
from server.messaging.models import Device

OPEN_FORMS = ("parent_questionnaire",)
WALKS = 7
"""Visits of the supervision week that are made already."""
WEEK = "supervision_week"
SUMMARIES = {
    "food_safety": "食堂管理总体规范，发现的问题已当面反馈学校。",
    WEEK: "校园秩序良好，教学常规落实到位。",
}
FAILING = (0, 1, 1, 2, 2, 3, 4)
LASTS = timedelta(minutes=75)
"""A visit, from check-in to completion."""


def load_work(county: County) -> None:
    """Add the work to the county, once."""
    if Activity.objects.filter(pk=demo_id("activity", "special")).exists():
        return
    with transaction.atomic():
        _publish_instruments(county.office)
        food = _plan(county, "special", "校园食品安全专项督导", "food_safety", county.towns[:4])
        week = _plan(county, "week", "责任督学挂牌督导周", "supervision_week", county.towns[4:])
        _plan(county, "comprehensive", "冬季综合督导", "supervision_week", county.towns)
        for published in (food, week):
            publish_activity(activity_id=published.pk, by=county.office)
        _Story(county).play(food, week)
        load_talk(county.office)
        load_notices(county.office)


def _publish_instruments(office: User) -> None:
    for form_id in FORM_IDS:
        if not Instrument.objects.filter(form_id=form_id, current__isnull=False).exists():
            content = workbook_path(form_id).read_bytes()
            upload_xlsform(by=office, content=content, open=form_id in OPEN_FORMS)
            publish_instrument(by=office, form_id=form_id)


def _plan(county: County, kind: str, title: str, form_id: str, towns: Sequence[Area]) -> Activity:
    """A draft for this week and the next in whole towns."""
    today = clock.today()
    monday = today - timedelta(days=today.weekday())
    return create_activity(
        by=county.office,
        kind=kind,
        title=f"{today.year} 年{title}",
        starts=monday,
        ends=monday + timedelta(days=11),
        instruments=[form_id],
        areas=[town.pk for town in towns],
        activity_id=demo_id("activity", kind),
    )


class _Story:
    """One week of the county: some visits done, some returned, findings at every stage."""

    def __init__(self, county: County) -> None:
        from server.console.demo_photos import (  # late: Pillow, for this alone
            Album,
            moments_of_visits,
        )

        self.county = county
        self.chance = random.Random(24)  # noqa: S311 - the same story everywhere, no secret
        forms = InstrumentVersion.objects.filter(instrument__form_id__in=("food_safety", WEEK))
        self.versions = dict(forms.values_list("instrument__form_id", "version"))
        self.form = form_from_json(forms.get(instrument__form_id="food_safety").form)
        self.names = {field.name for field in self.form.walk()}
        self.devices: dict[UUID, Device] = {}
        self.album = Album(self.chance)
        self.moments = moments_of_visits()

    def play(self, food: Activity, week: Activity) -> None:
        visits = self._visits(food)
        for number, visit in enumerate(visits[: len(visits) * 3 // 4]):
            self._visit(visit, number, "food_safety")
        for number, visit in enumerate(self._visits(week)[:WALKS]):
            self._visit(visit, number, WEEK)
        findings = list(Finding.objects.filter(activity=food).select_related("school", "visit"))
        for number, finding in enumerate(findings):
            self._rectify(finding, number)
        self._move_back(findings)
        # What phones did arrived when it was done.
        VisitAction.objects.filter(action__in=(CHECK_IN, COMPLETE)).update(received_at=F("at"))
        Submission.objects.filter(visit__activity__in=[food, week]).update(
            received_at=F("ended_at")
        )
        self.album.date()

    def _visits(self, activity: Activity) -> list[Visit]:
        mine = self.county.schools[0]
        rows = activity.visits.exclude(school=mine).select_related("school")
        return list(rows.prefetch_related("team").order_by("school__code"))

    def _visit(self, visit: Visit, number: int, form_id: str) -> None:
        inspector = visit.team.all()[0]
        begins = self.moments[-1 - number % len(self.moments)]
        begins += timedelta(minutes=self.chance.randint(0, 12))
        ends = begins + LASTS
        near = self._check_in(visit, inspector, begins)
        if number % 9 == 8:
            return
        self._fill_in(visit, inspector, near, ends, form_id)
        complete_visit(
            visit_id=visit.pk,
            action_id=self._id(visit, "done"),
            by=inspector,
            at=ends,
            summary=SUMMARIES[form_id],
        )
        Visit.objects.filter(pk=visit.pk).update(completed_at=ends)
        if number % 7 == 6:
            return_visit(
                visit_id=visit.pk,
                action_id=self._id(visit, "return"),
                by=self.county.office,
                reason="留样冰箱缺少照片，请补充。",
            )
        elif number % 3:
            review_visit(
                visit_id=visit.pk, action_id=self._id(visit, "review"), by=self.county.office
            )

    def _check_in(self, visit: Visit, inspector: User, at: datetime) -> Place:
        school = visit.school
        near = Place(
            (school.latitude or 0) + self.chance.uniform(-0.0008, 0.0008),
            (school.longitude or 0) + self.chance.uniform(-0.0008, 0.0008),
            self.chance.choice([8.0, 15.0, 32.0]),
        )
        check_in(
            visit_id=visit.pk, action_id=self._id(visit, "in"), by=inspector, at=at, place=near
        )
        Visit.objects.filter(pk=visit.pk).update(checked_in_at=at)
        return near

    def _fill_in(
        self, visit: Visit, inspector: User, place: Place, ends: datetime, form_id: str
    ) -> None:
        answers, names = self._walk() if form_id == WEEK else self._answers(ends)
        files = [self._photo(name, inspector, place, ends) for name in names]
        document = document_from_json(
            submission_id=self._id(visit, form_id),
            form_id=form_id,
            version=self.versions[form_id],
            answers=answers,
            raw=b"{}",
            visit_id=visit.pk,
            started_at=ends - LASTS,
            ended_at=ends,
            device_time=ends,
        )
        accept_submission(document=document, device=self._device(inspector), files=files)
        derive(Submission.objects.get(pk=document.id))

    def _walk(self) -> tuple[dict[str, Any], list[str]]:
        """A record of the supervision week: the campus walk has a photo, a hazard another one."""
        answers = ready_week()
        photos = ["walk.jpg"]
        if self.chance.random() < 1 / 3:
            photos.append("hazard.jpg")
            answers["walk"] |= {
                "hazard": "yes",
                "hazard_note": "校门外隔离墩缺失，车辆可以驶入。",
                "hazard_photo": "hazard.jpg",
            }
        return answers, photos

    def _answers(self, ends: datetime) -> tuple[dict[str, Any], list[str]]:
        """Most items conform; up to three fail, with a remark, and a photo where the form asks."""
        answers = ready_answers()
        items = [field for field in self.form.walk() if field.finding and field.choices]
        answers["disinfection"]["last_disinfection"] = timezone.localdate(ends).isoformat()
        photos = ["kitchen.jpg"]
        answers["conclusion"]["kitchen_photo"] = photos[0]
        # What is photographed fails three times as often.
        asked = [item for item in items if f"{item.name}_photo" in self.names]
        for item in self.chance.sample([*items, *asked, *asked], self.chance.choice(FAILING)):
            if answers[item.path.split("/")[1]][item.name] == "yes":
                photos += self._fail(item, answers)
        return answers, photos

    def _fail(self, item: Field, answers: dict[str, Any]) -> list[str]:
        _root, section, name = item.path.split("/")
        answers[section][name] = "no"
        answers[section][f"{name}_note"] = "现场查看不符合要求，已要求学校立即整改。"
        photo = f"{name}_photo"
        if photo not in self.names:
            return []
        answers[section][photo] = f"{name}.jpg"
        return [f"{name}.jpg"]

    def _photo(self, name: str, owner: User, place: Place, ends: datetime) -> BroughtFile:
        media = self.album.take(
            name,
            owner=owner,
            place=(place.lat, place.lon),
            accuracy=place.accuracy_m or 0,
            ends=ends,
        )
        return BroughtFile(name, media, fresh=True)

    def _rectify(self, finding: Finding, number: int) -> None:
        contact = contacts_of(finding.school).first()
        steps = (0, 1, 2, 2, 3, 0)[number % 6]
        if contact is None or finding.visit is None or not steps:
            return
        school, ends = finding.school, finding.visit.completed_at or clock.now()
        place = (school.latitude or 0, school.longitude or 0)
        answer = Step(
            action="answer",
            measures="已当日整改，明确专人负责，并完善台账。",
            media=[self.album.mended(contact, place, ends).pk],
        )
        self._step(finding, contact, answer)
        inspector = finding.visit.team.all()[0]
        if steps == 2:
            self._step(finding, inspector, Step(action="verify", note="已现场核查。"))
        elif steps == 3:
            self._step(finding, inspector, Step(action="return", note="请补充整改后的照片。"))

    def _step(self, finding: Finding, by: User, step: Step) -> None:
        action_id = self._id(finding, step.action)
        act_on_finding(finding_id=finding.pk, action_id=action_id, by=by, step=step)

    def _move_back(self, findings: list[Finding]) -> None:
        for number, finding in enumerate(findings):
            days = timedelta(days=(2, 5, 9, 16, 24)[number % 5])
            Finding.objects.filter(pk=finding.pk).update(
                created_at=F("created_at") - days, due_on=finding.due_on - days
            )

    def _device(self, user: User) -> Device:
        if user.pk not in self.devices:
            self.devices[user.pk] = Device.objects.create(
                id=demo_id("device", user.pk),
                user=user,
                name="演示手机",
                platform="android",
                token_digest=demo_id("token", user.pk).hex * 2,
                token_expires_at=clock.now(),
                revoked_at=clock.now(),
                last_seen_at=clock.now(),
            )
        return self.devices[user.pk]

    @staticmethod
    def _id(thing: Visit | Finding, name: str) -> UUID:
        return uuid5(thing.pk, name)


def ready_answers() -> dict[str, Any]:
    """A food-safety record in which every item conforms."""
    answers: dict[str, Any] = {
        part.name: {item.name: "yes" for item in part.items} for part in PARTS
    }
    answers["licence"]["licence_expiry"] = (clock.today() + timedelta(days=400)).isoformat()
    answers["staff"] |= {"staff_count": 6, "staff_certified": 6}
    answers["storage"] |= {"fridge_temperature": 4.5, "freezer_temperature": -18.0}
    answers["processing"] |= {"core_temperature": 75.0}
    answers["samples"] |= {"sample_grams": 130, "sample_hours": 48}
    answers["disinfection"]["last_disinfection"] = clock.today().isoformat()
    answers["conclusion"] = {"verdict": "good", "opinion": "继续保持，重点关注留样和消毒记录。"}
    return answers


def ready_week() -> dict[str, Any]:
    """A record of the supervision week in which all is well."""
    return {
        "week": 8,
        "way": "routine",
        "matters": {name: "good" for name, *_rest in MATTERS},
        "documents": {"documents_seen": ["plans", "timetable", "safety_records"]},
        "interviews": [{"person": "teacher", "people": 3, "content": "课后服务安排合理。"}],
        "walk": {
            "places": ["gate", "classrooms", "ground"],
            "hazard": "no",
            "walk_photo": "walk.jpg",
        },
        "lessons": [{"subject": "chinese", "grade": "3", "teacher": "王老师", "lesson_score": 88}],
        "conclusion": {"overall": "good", "suggestions": "继续坚持。", "told_school": "yes"},
    }
