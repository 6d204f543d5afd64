"""One submission's posts in any order, repeated and split at will: the same remains, nothing is lost."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings

from media_storage.models import MediaObject
from server.activities.models import Submission, SubmissionConflict
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.deriving import PUMP, derive
from server.core import clock, work
from server.core.changes import Change
from server.core.errors import ContentConflict
from server.findings.models import Finding
from server.instruments.models import InstrumentVersion
from server.messaging.models import Delivery, Device, Notice
from tests.activities import device_of
from tests.cast import Cast
from tests.mobile_api.openrosa.conftest import Collector, multipart, xml_part
from tests.properties.posts import (
    PHONES,
    PICTURES,
    Post,
    Remains,
    Step,
    Story,
    Work,
    WorkAgain,
    sha,
    stories,
)

pytestmark = pytest.mark.django_db

XML, JSON = Submission.Format.XML, Submission.Format.JSON
# The database of an example is rolled back; the fixtures are what all of them start from.
EXAMPLES = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)


@settings(EXAMPLES, max_examples=120)
@given(story=stories(formats=[XML, JSON]))
def test_any_order_repetition_and_split_of_posts_leaves_the_same(
    cast: Cast, diary: InstrumentVersion, story: Story
):
    with transaction.atomic():
        phones = [device_of(cast.ada) for _ in range(PHONES)]
        remains = Remains(story, diary.version)
        for step in story.steps:
            if isinstance(step, Post):
                assert _sent(story, step, phones, diary.version) == remains.take(step)
            else:
                _worked(story, step)
        work.drain(PUMP)
        check(remains)
        transaction.set_rollback(True)


@settings(EXAMPLES, max_examples=40)
@given(story=stories(formats=[XML], max_steps=10))
def test_the_same_over_http_as_odk_collect_sends_it(
    cast: Cast, diary: InstrumentVersion, story: Story
):
    with transaction.atomic():
        phones = [Collector(cast.ada) for _ in range(PHONES)]
        remains = Remains(story, diary.version)
        for step in story.steps:
            if not isinstance(step, Post):
                _worked(story, step)
                continue
            outcome, parts = remains.take(step), _parts(story, step, diary.version)
            missing = outcome != "conflict" and remains.missing(step.document)
            status = 409 if outcome == "conflict" else 202 if missing else 201
            phones[step.phone].send_raw(multipart(parts), status=status)
        work.drain(PUMP)
        check(remains)
        transaction.set_rollback(True)


def _sent(story: Story, post: Post, phones: list[Device], version: str) -> str:
    try:
        accepted = accept_submission(
            document=story.document(post, version),
            device=phones[post.phone],
            files=[_brought(photo, variant) for photo, variant in post.files],
        )
    except ContentConflict:
        return "conflict"
    return accepted.outcome.value


def _brought(photo: str, variant: int) -> BroughtFile:
    content = PICTURES[photo, variant]
    media = MediaObject(
        filename=f"{photo}.jpg",
        content_type="image/jpeg",
        size=len(content),
        sha256=sha(content),
        state="stored",
        stored_at=clock.now(),
    )
    return BroughtFile(media.filename, media, fresh=True)


def _parts(story: Story, post: Post, version: str) -> list[tuple[str, str, bytes]]:
    files = [(f"{p}.jpg", "image/jpeg", PICTURES[p, n]) for p, n in post.files]
    document = xml_part(story.raw(post, version))
    return [*files, document] if post.dressing else [document, *files]


def _worked(story: Story, step: Step) -> None:
    if isinstance(step, Work):
        work.drain(PUMP)
    elif isinstance(step, WorkAgain):
        for submission in Submission.objects.filter(pk=story.ids[step.document]):
            derive(submission)


# ---- what is compared ---------------------------------------------------------------------------


def check(remains: Remains) -> None:
    """The database holds what the model says, no more and no less."""
    _check_documents(remains)
    _check_files(remains)
    _check_findings(remains)
    _check_notices(remains)


def _check_documents(remains: Remains) -> None:
    ids = remains.story.ids
    stored = {row.pk: row for row in Submission.objects.all()}
    assert stored.keys() == {ids[number] for number in remains.first}
    for number, raw in remains.raw.items():
        row = stored[ids[number]]
        assert bytes(row.raw) == raw
        assert row.root_id == remains.root(number)
        assert (row.work_due_at, row.work_error, row.work_dead_at) == (None, "", None)
    changed = Change.objects.filter(type="submission").values_list("object_id", flat=True)
    assert set(changed) == stored.keys()


def _check_files(remains: Remains) -> None:
    ids = remains.story.ids
    attached, kept = {}, set()
    used: list[UUID] = []
    for row in Submission.objects.prefetch_related("attachments__media"):
        for each in row.attachments.all():
            attached[row.pk, each.name] = each.media.sha256 if each.media else None
            used += [each.media_id] if each.media else []
    assert attached == {
        (ids[number], name): remains.files.get((number, name))
        for number, content in remains.first.items()
        for name in content.file_names
    }
    for conflict in SubmissionConflict.objects.select_related("media"):
        kept.add((conflict.submission_id, conflict.name, conflict.sha256))
        if conflict.media:
            assert conflict.media.sha256 == conflict.sha256
            used.append(conflict.media_id)
    assert kept == {(ids[number], name, digest) for number, name, digest in remains.conflicts}
    # Each file that is kept has a row of its own, and no file is kept twice.
    assert sorted(used) == sorted(MediaObject.objects.values_list("pk", flat=True))


def _check_findings(remains: Remains) -> None:
    living = Finding.objects.filter(state=Finding.State.OPEN).values_list("source_key", flat=True)
    assert sorted(living) == sorted(f"{root}:{key}" for root, key in remains.living())


def _check_notices(remains: Remains) -> None:
    """One notice each time a finding comes to life, and nobody gets one twice."""
    for finding in Finding.objects.all():
        notices = Notice.objects.filter(event="finding.opened", subject_id=finding.pk)
        assert notices.exists()
        if _never_comes_back(remains):
            assert notices.count() == 1
    inbox = Delivery.objects.filter(channel="inbox").values_list("notice", "recipient")
    assert len(set(inbox)) == len(inbox)


def _never_comes_back(remains: Remains) -> bool:
    """No two edits of one document, and nothing mended that a later edit has again."""
    replaced = [c.replaces for c in remains.first.values() if c.replaces is not None]
    if len(set(replaced)) < len(replaced):
        return False
    return not any(_returns(remains, number) for number in remains.ends())


def _returns(remains: Remains, end: int) -> bool:
    chain, number = [], end
    while number is not None and number in remains.first:
        chain.append(remains.first[number].wrong)
        number = remains.first[number].replaces
    for later, latest in enumerate(chain):
        for middle in range(later + 1, len(chain)):
            mended = latest - chain[middle]
            if any(mended & earliest for earliest in chain[middle + 1 :]):
                return True
    return False
