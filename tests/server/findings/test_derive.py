"""Findings from answers: exactly once, through repeats, edits and corrections."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections

from server.activities.models import Submission, Visit
from server.activities.services.accepting import accept_submission
from server.activities.services.deriving import PUMP, derive
from server.activities.services.documents import document_from_xml
from server.core import clock, work
from server.findings.models import Finding
from server.messaging.models import Notice
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import kitchen_xml

pytestmark = pytest.mark.django_db


def send(cast: Cast, version: str, **answers: str) -> str:
    instance = answers.pop("instance", str(uuid4()))
    raw = kitchen_xml(version, instance=instance, **answers)
    accept_submission(document=document_from_xml(raw), device=device_of(cast.ada))
    return instance


def test_an_answer_that_is_a_finding_becomes_one_at_the_school(cast: Cast, kitchen, visit: Visit):
    send(cast, kitchen.version, licence="no", licence_note="未见")
    assert work.drain(PUMP) == 1
    finding = Finding.objects.get()
    assert (finding.school, finding.visit, finding.raised_by) == (cast.school, visit, cast.ada)
    assert (finding.title, finding.severity) == ("未公示食品经营许可证", "major")
    assert finding.due_on == clock.today() + timedelta(days=7)
    assert Notice.objects.filter(event="finding.opened").count() == 1


def test_deriving_again_adds_nothing(cast: Cast, kitchen, visit: Visit):
    send(cast, kitchen.version, licence="no", licence_note="未见")
    submission = Submission.objects.get()
    for _ in range(3):
        derive(submission)
    assert Finding.objects.count() == 1
    assert Notice.objects.filter(event="finding.opened").count() == 1


def test_an_answer_in_order_is_no_finding(cast: Cast, kitchen, visit: Visit):
    send(cast, kitchen.version)
    work.drain(PUMP)
    assert not Finding.objects.exists()


def test_an_edit_withdraws_the_open_finding_that_it_mends(cast: Cast, kitchen, visit: Visit):
    first = send(cast, kitchen.version, licence="no", licence_note="未见")
    work.drain(PUMP)
    send(cast, kitchen.version, old=first)
    work.drain(PUMP)
    assert Finding.objects.get().state == Finding.State.WITHDRAWN


def test_an_edit_that_keeps_the_answer_keeps_the_one_finding(cast: Cast, kitchen, visit: Visit):
    first = send(cast, kitchen.version, licence="no", licence_note="未见")
    work.drain(PUMP)
    send(cast, kitchen.version, old=first, licence="no", licence_note="仍未见")
    work.drain(PUMP)
    assert Finding.objects.get().state == Finding.State.OPEN


def test_an_edit_derived_before_its_original_leaves_no_stale_finding(
    cast: Cast, kitchen, visit: Visit
):
    first = send(cast, kitchen.version, licence="no", licence_note="未见")
    second = send(cast, kitchen.version, old=first)
    derive(Submission.objects.get(pk=second))
    derive(Submission.objects.get(pk=first))
    assert not Finding.objects.exists()


CHAIN = [str(UUID(int=n)) for n in (1, 2, 3)]
"""Three documents, each an edit of the one before; the second alone is in order."""


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_chain_ends_the_same_in_whatever_order_it_arrives(
    cast: Cast, kitchen, visit: Visit, order: tuple[int, ...]
):
    wrong = {"licence": "no", "licence_note": "未见"}
    for number in order:
        old = CHAIN[number - 1] if number else ""
        answers = {} if number == 1 else wrong
        send(cast, kitchen.version, instance=CHAIN[number], old=old, **answers)
        work.drain(PUMP)
    assert set(Submission.objects.values_list("root_id", flat=True)) == {UUID(CHAIN[0])}
    [living] = Finding.objects.exclude(state=Finding.State.WITHDRAWN)
    assert living.school == cast.school


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_what_the_last_edit_mends_is_mended_in_whatever_order_it_arrives(
    cast: Cast, kitchen, visit: Visit, order: tuple[int, ...]
):
    wrong = {"licence": "no", "licence_note": "未见"}
    for number in order:
        old = CHAIN[number - 1] if number else ""
        send(
            cast, kitchen.version, instance=CHAIN[number], old=old, **({} if number == 2 else wrong)
        )
        work.drain(PUMP)
    assert not Finding.objects.exclude(state=Finding.State.WITHDRAWN).exists()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_of_two_edits_of_one_document_both_speak(
    cast: Cast, kitchen, visit: Visit, order: tuple[int, ...]
):
    wrong = {"licence": "no", "licence_note": "未见"}
    for number in order:
        old = CHAIN[0] if number else ""
        send(
            cast, kitchen.version, instance=CHAIN[number], old=old, **({} if number == 2 else wrong)
        )
        work.drain(PUMP)
    assert Finding.objects.exclude(state=Finding.State.WITHDRAWN).count() == 1


def test_a_document_that_claims_to_replace_itself_speaks_for_itself(
    cast: Cast, kitchen, visit: Visit
):
    send(cast, kitchen.version, instance=CHAIN[0], old=CHAIN[0], licence="no", licence_note="未见")
    work.drain(PUMP)
    assert Finding.objects.get().state == Finding.State.OPEN


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer: nothing is derived at once"
)
def test_documents_of_a_chain_that_are_derived_at_once_find_each_other(
    cast: Cast, kitchen, visit: Visit
):
    wrong = {"licence": "no", "licence_note": "未见"}
    chain = [str(uuid4()) for _ in range(6)]
    for number, instance in reversed(list(enumerate(chain))):
        old = chain[number - 1] if number else ""
        send(cast, kitchen.version, instance=instance, old=old, **({} if number == 5 else wrong))
    rows = list(Submission.objects.all())
    start = threading.Barrier(len(rows))

    def derive_one(row: Submission) -> None:
        start.wait(10)
        work.run(replace(PUMP, backoff_seconds=0), row)
        connections.close_all()

    threads = [threading.Thread(target=derive_one, args=[row]) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work.drain(replace(PUMP, backoff_seconds=0))  # those that stood in each other's way
    assert set(Submission.objects.values_list("root_id", flat=True)) == {UUID(chain[0])}
    assert not Finding.objects.exclude(state=Finding.State.WITHDRAWN).exists()


def test_a_submission_without_a_visit_makes_no_finding(cast: Cast, kitchen):
    send(cast, kitchen.version, licence="no", licence_note="未见")
    work.drain(PUMP)
    assert not Finding.objects.exists()
