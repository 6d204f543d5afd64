"""The demo county at work: instruments, activities in each state, visits, findings and answers to them.

Everything goes through the services that phones and offices use; only the dates are moved back
afterwards, so that the figures have some age. The first visit of `inspector1` at `school1` is left
untouched: `make phone` and the reader of the README make it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import F

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.activities.models import Activity, Submission, Visit
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
from server.core import clock
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding
from server.grid.demo import County, demo_id
from server.grid.models import Area, User
from server.grid.queries import contacts_of
from server.instruments.compiled import Field, form_from_json
from server.instruments.library import FORM_IDS, workbook_path
from server.instruments.library.food_safety import PARTS
from server.instruments.models import Instrument, InstrumentVersion
from server.instruments.services import publish_instrument, upload_xlsform
from server.messaging.models import Device

OPEN_FORMS = ("parent_questionnaire",)
PHOTOS = 12
"""Drawn pictures in the store; findings share them out."""


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
        _Story(county).play(food)


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
        self.county = county
        self.chance = random.Random(24)  # noqa: S311 - the same story everywhere, no secret
        version = InstrumentVersion.objects.get(instrument__form_id="food_safety")
        self.version = version.version
        self.form = form_from_json(version.form)
        self.devices: dict[UUID, Device] = {}
        from server.console.pictures import draw_kitchen  # late: Pillow, for this alone

        self.photos = [draw_kitchen(n, taken_at=clock.now()) for n in range(PHOTOS)]

    def play(self, activity: Activity) -> None:
        visits = list(activity.visits.select_related("school").prefetch_related("team"))
        mine = self.county.schools[0]
        visits = sorted((v for v in visits if v.school != mine), key=lambda v: v.school.code)
        for number, visit in enumerate(visits[: len(visits) * 3 // 4]):
            self._visit(visit, number)
        findings = list(Finding.objects.filter(activity=activity).select_related("school", "visit"))
        for number, finding in enumerate(findings):
            self._rectify(finding, number)
        self._move_back(findings)

    def _visit(self, visit: Visit, number: int) -> None:
        inspector = visit.team.all()[0]
        school = visit.school
        near = Place(
            (school.latitude or 0) + self.chance.uniform(-0.0008, 0.0008),
            (school.longitude or 0) + self.chance.uniform(-0.0008, 0.0008),
            self.chance.choice([8.0, 15.0, 32.0]),
        )
        check_in(
            visit_id=visit.pk,
            action_id=self._id(visit, "in"),
            by=inspector,
            at=clock.now(),
            place=near,
        )
        if number % 9 == 8:
            return
        self._fill_in(visit, inspector, near)
        complete_visit(
            visit_id=visit.pk,
            action_id=self._id(visit, "done"),
            by=inspector,
            at=clock.now(),
            summary="食堂管理总体规范，发现的问题已当面反馈学校。",
        )
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

    def _fill_in(self, visit: Visit, inspector: User, place: Place) -> None:
        answers, names = self._answers()
        files = [self._photo(name, inspector, place) for name in names]
        document = document_from_json(
            submission_id=self._id(visit, "food"),
            form_id="food_safety",
            version=self.version,
            answers=answers,
            raw=b"{}",
            visit_id=visit.pk,
            started_at=clock.now() - timedelta(minutes=50),
            ended_at=clock.now(),
            device_time=clock.now(),
        )
        accept_submission(document=document, device=self._device(inspector), files=files)
        derive(Submission.objects.get(pk=document.id))

    def _answers(self) -> tuple[dict[str, Any], list[str]]:
        """Most items conform; up to three fail, with a remark, and a photo where the form asks."""
        answers = ready_answers()
        items = [field for field in self.form.walk() if field.finding and field.choices]
        photos = ["kitchen.jpg"]
        answers["conclusion"]["kitchen_photo"] = photos[0]
        for item in self.chance.sample(items, self.chance.choice([0, 1, 1, 2, 2, 3])):
            photos += self._fail(item, answers)
        return answers, photos

    def _fail(self, item: Field, answers: dict[str, Any]) -> list[str]:
        _root, section, name = item.path.split("/")
        answers[section][name] = "no"
        answers[section][f"{name}_note"] = "现场查看不符合要求，已要求学校立即整改。"
        photo = f"{name}_photo"
        if not any(field.name == photo for field in self.form.walk()):
            return []
        answers[section][photo] = f"{name}.jpg"
        return [f"{name}.jpg"]

    def _photo(self, name: str, owner: User, place: Place) -> BroughtFile:
        content = self.chance.choice(self.photos)
        stored = store_stream(filename=name, content_type="image/jpeg", chunks=[content])
        media_id = UUID(int=self.chance.getrandbits(128), version=4)
        values = new_media_values(
            media_id=media_id,
            owner_id=owner.pk,
            filename=name,
            stored=stored,
            taken_at=clock.now() - timedelta(minutes=self.chance.randint(5, 45)),
        )
        values |= {"latitude": place.lat, "longitude": place.lon, "accuracy_m": place.accuracy_m}
        return BroughtFile(name, MediaObject(**values), fresh=True)

    def _rectify(self, finding: Finding, number: int) -> None:
        contact = contacts_of(finding.school).first()
        steps = (0, 1, 2, 2, 3, 0)[number % 6]
        if contact is None or finding.visit is None or not steps:
            return
        answer = Step(action="answer", measures="已当日整改，明确专人负责，并完善台账。")
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
