"""Browsers of the office and of the town group, and a visit with something to see on it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.activities.models import Submission, Visit
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.deriving import derive
from server.activities.services.documents import document_from_json
from server.activities.services.visits import Place, check_in, complete_visit
from server.core import clock, work
from server.grid.models import User
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import kitchen_answers
from tests.media_storage.pictures import jpeg

admin.autodiscover()  # the site waits with it for its first request

Browser = Callable[[User], Client]


@pytest.fixture
def browser(db: None) -> Browser:
    def logged_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return logged_in


@pytest.fixture
def office(browser: Browser, cast: Cast) -> Client:
    return browser(cast.office)


@pytest.fixture
def group(browser: Browser, cast: Cast) -> Client:
    return browser(cast.town_group)


def fill_in(visit: Visit, sender: User, *, photo: bool = True, **answers: object) -> Submission:
    """A kitchen form on the visit, stored and derived."""
    version = visit.activity.instruments.get(form_id="kitchen").current
    assert version
    if photo:
        answers["licence_photo"] = "licence.jpg"
    document = document_from_json(
        submission_id=uuid4(),
        form_id="kitchen",
        version=version.version,
        answers=kitchen_answers(**answers),
        raw=b"{}",
        visit_id=visit.pk,
        started_at=None,
        ended_at=None,
        device_time=None,
    )
    files = [BroughtFile("licence.jpg", _picture(sender), fresh=True)] if photo else []
    accept_submission(document=document, device=device_of(sender), files=files)
    submission = Submission.objects.get(pk=document.id)
    derive(submission)
    return submission


def _picture(owner: User) -> MediaObject:
    stored = store_stream(
        filename="licence.jpg", content_type="image/jpeg", chunks=[jpeg(640, 480)]
    )
    values = new_media_values(
        media_id=uuid4(),
        owner_id=owner.pk,
        filename="licence.jpg",
        stored=stored,
        taken_at=clock.now(),
    )
    return MediaObject(**values)


@pytest.fixture
def made_visit(visit: Visit, cast: Cast) -> Visit:
    """Ada was there, found a licence missing, and is done."""
    place = Place(33.0005, 108.0005, 20.0)
    check_in(visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=clock.now(), place=place)
    fill_in(visit, cast.ada, licence="no", licence_note="证件在柜子里")
    complete_visit(
        visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=clock.now(), summary="总体规范"
    )
    work.drain_all()
    return Visit.objects.get(pk=visit.pk)
