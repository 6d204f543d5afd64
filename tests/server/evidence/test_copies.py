"""The same photo twice: in two visits, in an edit, in a rectification; the same bytes or nearly."""

from __future__ import annotations

from uuid import uuid4

import pytest

from media_storage.models import Facts, MediaObject
from server.activities.models import Submission
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.attaching import attach_submission
from server.activities.services.documents import document_from_xml
from server.evidence import fingerprints
from server.evidence.models import Flag
from server.evidence.queries import every_flag_shown_to
from server.evidence.sentences import sentence
from tests.activities import device_of
from tests.evidence import NEAR, codes, flag
from tests.forms import kitchen_xml

HASH = 0x0F1E_2D3C_4B5A_6978
OTHER_SCHOOL = (33.01, 108.0)


def hashed(day, bits: int) -> dict[str, object]:
    """Facts of a photo whose hash differs from HASH in these bits; signed, as it is stored."""
    value = HASH ^ bits
    signed = value - (1 << 64) if value >> 63 else value
    return {"exif_at": day.at(1), "perceptual_hash": signed}


@pytest.fixture
def made(day, visit, cast):
    day.check_in(visit, cast.ada)
    return visit


@pytest.fixture
def bruno_made(day, bruno_visit, cast):
    day.check_in(bruno_visit, cast.bruno, place=OTHER_SCHOOL)
    return bruno_visit


# ---- the same file ----------------------------------------------------------------------------


def test_the_same_file_in_two_visits_is_flagged_in_both(day, cast, made, bruno_made, record):
    one = day.photo(cast.ada, content="kitchen")
    record(one, made)
    day.work()
    assert codes() == []
    two = day.photo(cast.bruno, content="kitchen", place=OTHER_SCHOOL)
    record(two, bruno_made)
    day.work()
    assert codes(one) == codes(two) == ["reused"]
    first, second = flag("reused", one), flag("reused", two)
    assert (first.other_media, first.other_visit) == (two, bruno_made)
    assert (second.other_media, second.other_visit) == (one, made)
    assert (first.severity, first.visit) == ("warn", made)


def test_one_file_that_is_named_in_two_visits_is_flagged_in_both(
    day, cast, made, bruno_made, record
):
    bruno_made.team.add(cast.ada)
    photo = day.photo(cast.ada)
    record(photo, made)
    record(photo, bruno_made)
    day.work()
    assert codes(visit=made) == ["reused"]
    assert "reused" in codes(visit=bruno_made)


def test_two_records_of_one_visit_may_share_a_photo(day, cast, made, record):
    one, two = day.photo(cast.ada, content="gate"), day.photo(cast.ada, content="gate")
    record(one, made)
    record(two, made)
    record(one, made)
    day.work()
    assert codes() == []


def test_an_edit_may_bring_the_photo_again(day, cast, made, kitchen):
    device = device_of(cast.ada)
    first, photo = uuid4(), day.photo(cast.ada, content="gate")
    for instance, old in ((first, ""), (uuid4(), str(first))):
        xml = kitchen_xml(
            kitchen.version,
            instance=str(instance),
            old=old,
            visit_id=str(made.pk),
            licence_photo="photo.jpg",
        )
        files = [BroughtFile("photo.jpg", photo)]
        accept_submission(document=document_from_xml(xml), device=device, files=files)
    day.work()
    assert Submission.objects.filter(root_id=first).count() == 2
    assert codes() == []


def test_what_is_sent_again_is_no_second_use(day, cast, made, record):
    photo, id = day.photo(cast.ada), uuid4()
    device = device_of(cast.ada)
    record(photo, made, id=id, device=device)
    record(photo, made, id=id, device=device)
    day.work()
    assert codes() == []


def test_a_document_that_is_used_again_is_a_hint(day, cast, made, bruno_made, record):
    kind = {"content_type": "application/pdf", "content": "licence", "filename": "证.pdf"}
    record(day.photo(cast.ada, **kind), made)
    record(day.photo(cast.bruno, place=OTHER_SCHOOL, **kind), bruno_made)
    day.work()
    assert {found.severity for found in Flag.objects.filter(code="reused")} == {"hint"}


def test_a_photo_of_a_record_that_stands_alone_is_flagged_as_a_hint_until_it_is_attached(
    day, cast, made, bruno_made, record
):
    bruno_made.team.add(cast.ada)
    record(day.photo(cast.bruno, content="kitchen", place=OTHER_SCHOOL), bruno_made)
    photo = day.photo(cast.ada, content="kitchen")
    alone = record(None, None, sender=cast.ada)
    Submission.objects.filter(pk=alone.pk).update(visit=None)
    alone.attachments.update(media=photo)
    Submission.objects.filter(pk=alone.pk).update(work_due_at=day.moment)
    day.work()
    found = flag("reused", photo)
    assert (found.root_id, found.visit_id, found.severity) == (alone.pk, None, "hint")
    assert codes(visit=bruno_made) == ["reused"]
    attach_submission(submission_id=alone.pk, visit_id=made.pk, by=cast.ada)
    day.work()
    assert codes(photo) == ["reused"]
    assert flag("reused", photo).visit == made
    assert flag("reused", visit=bruno_made).other_visit == made
    assert Flag.objects.filter(media=photo, cleared_at__isnull=False).count() == 1


def test_many_uses_of_one_photo_name_the_first_few(
    day, cast, made, bruno_made, activity, record, settings
):
    settings.EVIDENCE_NAMED_OTHERS = 1
    far = activity.visits.get(school=cast.far_school)
    day.check_in(far, cast.carla, place=None)
    for visit, owner in ((made, cast.ada), (bruno_made, cast.bruno), (far, cast.carla)):
        record(day.photo(owner, content="gate", place=None), visit)
    day.work()
    assert codes(visit=made) == codes(visit=bruno_made) == codes(visit=far) == ["reused"]
    first, second = sorted([made.pk, bruno_made.pk, far.pk], key=str)[:2]
    named = {found.visit_id: found.other_visit_id for found in Flag.objects.all()}
    assert {pk: named[pk] for pk in named if pk != first} == dict.fromkeys(
        set(named) - {first}, first
    )
    assert named[first] == second


# ---- nearly the same --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "found"),
    [(0, True), (0b1, True), (1 << 63 | 1 << 31 | 1, True), (0b1111, False), (0xF << 40, False)],
)
def test_photos_that_look_the_same_are_flagged_up_to_three_bits(
    day, cast, made, bruno_made, record, bits, found
):
    one = day.photo(cast.ada, facts=hashed(day, 0))
    two = day.photo(cast.bruno, place=OTHER_SCHOOL, facts=hashed(day, bits))
    record(one, made)
    record(two, bruno_made)
    day.work()
    expected = ["similar"] if found else []
    assert codes(one) == codes(two) == expected
    if found:
        assert flag("similar", one).details["bits"] == bits.bit_count()


def test_the_distance_is_a_setting(day, cast, made, bruno_made, record, settings):
    settings.EVIDENCE_SIMILAR_BITS = 1
    record(day.photo(cast.ada, facts=hashed(day, 0)), made)
    record(day.photo(cast.bruno, place=OTHER_SCHOOL, facts=hashed(day, 0b11)), bruno_made)
    day.work()
    assert codes() == []


def test_the_same_bytes_are_told_as_such_and_not_as_similar_too(
    day, cast, made, bruno_made, record
):
    record(day.photo(cast.ada, content="gate", facts=hashed(day, 0)), made)
    two = day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL, facts=hashed(day, 0))
    record(two, bruno_made)
    day.work()
    assert codes(two) == ["reused"]


def test_empty_walls_all_look_the_same_and_are_not_compared(day, cast, made, bruno_made, record):
    for value in (0b11, -1):
        wall = {"exif_at": day.at(1), "perceptual_hash": value}
        record(day.photo(cast.ada, facts=wall), made)
        record(day.photo(cast.bruno, place=OTHER_SCHOOL, facts=wall), bruno_made)
    day.work()
    assert codes() == []


def test_three_shots_of_one_scene_in_one_visit_are_in_order(day, cast, made, record):
    for bits in (0, 1, 3):
        record(day.photo(cast.ada, facts=hashed(day, bits)), made)
    day.work()
    assert codes() == []


def test_a_hash_that_comes_later_flags_both(day, cast, made, bruno_made, record):
    one = day.photo(cast.ada, facts=hashed(day, 0))
    two = day.photo(cast.bruno, place=OTHER_SCHOOL)
    record(one, made)
    record(two, bruno_made)
    day.work()
    assert codes() == []
    facts = Facts.objects.get(media=two)
    facts.perceptual_hash = hashed(day, 0b10)["perceptual_hash"]
    facts.save()
    day.work()
    assert codes(one) == codes(two) == ["similar"]


def test_a_photo_that_is_rejected_after_all_takes_its_flags_with_it(
    day, cast, made, bruno_made, record
):
    one = day.photo(cast.ada, content="gate")
    two = day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL)
    record(one, made)
    record(two, bruno_made)
    day.work()
    MediaObject.objects.filter(pk=two.pk).update(state="rejected", reject_code="broken")
    from server.evidence.marking import mark_photos

    mark_photos([two.pk])
    day.work()
    assert codes() == []
    assert Flag.objects.filter(cleared_at=None).count() == 0
    assert Flag.objects.count() == 2


def test_what_is_everywhere_is_told_without_asking_all_of_them_again(
    day, cast, made, bruno_made, record, monkeypatch
):
    monkeypatch.setattr(fingerprints, "CROWD", 3)
    for _ in range(5):
        record(day.photo(cast.bruno, content="logo", place=OTHER_SCHOOL), bruno_made)
    day.work()
    one = day.photo(cast.ada, content="logo")
    record(one, made)
    day.work()
    assert codes(one) == ["reused"]
    assert codes(visit=bruno_made) == []


def test_a_picture_that_looks_like_a_crowd_is_compared_with_none(
    day, cast, made, bruno_made, record, monkeypatch
):
    monkeypatch.setattr(fingerprints, "CROWD", 3)
    for bits in (0, 0, 0, 1, 2):
        record(day.photo(cast.bruno, place=OTHER_SCHOOL, facts=hashed(day, bits)), bruno_made)
    for bits in (0, 4):
        record(day.photo(cast.ada, facts=hashed(day, bits)), made)
    day.work()
    assert codes() == []
    monkeypatch.setattr(fingerprints, "CROWD", 8)
    record(day.photo(cast.ada, facts=hashed(day, 0)), made)
    day.work()
    assert "similar" in codes(visit=made)


# ---- the rectification ------------------------------------------------------------------------


def test_a_school_that_answers_with_an_old_photo_is_flagged(day, cast, made):
    finding = day.find(made, cast.ada)
    old = day.photo(cast.principal, taken=-30, place=None)
    new = day.photo(cast.principal, taken=6, place=None)
    day.mend(finding, cast.principal, old, new)
    day.work()
    assert codes(new) == []
    found = flag("before_finding", old)
    assert codes(old) == ["before_finding"]
    assert (found.finding, found.visit_id, found.internal) == (finding, None, False)
    assert sentence(found) == (
        "整改照片拍摄于 2026-11-22 03:00（EXIF），比督学到校签到（2026-11-23 09:00）早 1 天 6 小时。"
    )


def test_without_a_visit_the_photo_is_held_against_the_moment_of_the_finding(day, cast, made):
    finding = day.find(made, cast.ada)
    type(finding).objects.filter(pk=finding.pk).update(visit=None)
    old = day.photo(cast.principal, taken=1, place=None)
    day.mend(finding, cast.principal, old)
    day.work()
    assert "比提出问题（2026-11-23 11:00）早 1 小时" in sentence(flag("before_finding", old))


@pytest.mark.parametrize("bits", [None, 0b101])
def test_a_school_that_answers_with_the_photo_of_the_problem_is_flagged(
    day, cast, made, record, bits
):
    same = {"content": "problem"} if bits is None else {}
    problem = day.photo(cast.ada, facts=hashed(day, 0), **same)
    record(problem, made)
    finding = day.find(made, cast.ada)
    facts = hashed(day, bits or 0) | {"exif_at": day.at(6)}
    answer = day.photo(cast.principal, taken=6, place=NEAR, facts=facts, **same)
    day.mend(finding, cast.principal, answer)
    day.work()
    assert codes(problem) == []
    assert codes(answer) == ["problem_photo"]
    found = flag("problem_photo", answer)
    assert (found.severity, found.details["bits"]) == ("warn", bits and bits.bit_count())


def test_an_inspector_who_verifies_with_the_photo_of_the_problem_is_flagged(
    day, cast, made, record
):
    problem = day.photo(cast.ada)
    record(problem, made)
    finding = day.find(made, cast.ada)
    day.mend(finding, cast.principal)
    day.mend(finding, cast.ada, problem, action="verify")
    day.work()
    found = flag("problem_photo", problem)
    assert (found.finding, found.internal) == (finding, True)
    assert codes(visit=made) == []


def test_an_inspector_who_returns_with_the_photo_of_the_problem_is_not(day, cast, made, record):
    problem = day.photo(cast.ada)
    record(problem, made)
    finding = day.find(made, cast.ada)
    day.mend(finding, cast.principal)
    day.mend(finding, cast.ada, problem, action="return")
    day.work()
    assert codes() == []


def test_a_photo_from_elsewhere_is_flagged_in_a_rectification_too(day, cast, made):
    finding = day.find(made, cast.ada)
    answer = day.photo(cast.principal, taken=6, place=(33.1, 108.0))
    day.mend(finding, cast.principal, answer)
    day.work()
    assert codes(answer) == ["other_place"]


def test_an_answer_that_was_returned_may_bring_its_photo_again(day, cast, made):
    finding = day.find(made, cast.ada)
    answer = day.photo(cast.principal, taken=6, place=None)
    day.mend(finding, cast.principal, answer)
    day.mend(finding, cast.ada, action="return")
    day.mend(finding, cast.principal, answer)
    day.work()
    assert codes() == []


def test_two_findings_of_one_visit_may_share_the_photo_of_what_was_mended(day, cast, made):
    answer = day.photo(cast.principal, taken=6, place=None)
    for _ in range(2):
        day.mend(day.find(made, cast.ada), cast.principal, answer)
    day.work()
    assert codes() == []


def test_a_photo_of_another_visit_s_rectification_is_flagged(day, cast, made, bruno_made, record):
    one = day.photo(cast.principal, taken=6, place=None, content="fridge")
    two = day.photo(cast.other_principal, taken=6, place=None, content="fridge")
    day.mend(day.find(made, cast.ada), cast.principal, one)
    day.mend(day.find(bruno_made, cast.bruno), cast.other_principal, two)
    day.work()
    assert codes(one) == codes(two) == ["reused"]


def test_an_inspector_s_photo_may_show_in_a_later_visit_and_in_the_verification(
    day, cast, made, activity, kitchen, record
):
    from tests.activities import planned, publish_activity

    finding = day.find(made, cast.ada)
    later = publish_activity(activity_id=planned(cast, cast.school).pk, by=cast.office)
    again = later.visits.get()
    day.check_in(again, cast.ada, at=5)
    photo = day.photo(cast.ada, taken=6)
    record(photo, again)
    day.mend(finding, cast.principal)
    day.mend(finding, cast.ada, photo, action="verify")
    day.work()
    assert codes() == []


# ---- who is told what -------------------------------------------------------------------------


@pytest.fixture
def reused(day, cast, made, bruno_made, record):
    """The same photo at both schools of the town."""
    one = day.photo(cast.ada, content="gate")
    two = day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL)
    record(one, made)
    record(two, bruno_made)
    day.work()
    return one


def test_the_other_visit_is_named_only_to_who_may_see_it(cast, reused, bruno_made):
    def told(person) -> str:
        return sentence(every_flag_shown_to(person).get(media=reused))

    assert "任务“食品安全督导周 · 东河镇第二小学”" in told(cast.office)
    assert "任务“食品安全督导周 · 东河镇第二小学”" in told(cast.town_group)
    assert "另一个任务（您无权查看）" in told(cast.ada)
    assert "第二小学" not in told(cast.ada)


@pytest.mark.parametrize("stranger", ["carla", "principal", "other_principal", "expert"])
def test_the_flags_of_a_visit_are_between_team_and_office(cast, reused, stranger):
    assert not every_flag_shown_to(getattr(cast, stranger)).filter(media=reused).exists()


def test_a_school_sees_the_flags_of_what_it_has_sent_itself(day, cast, made):
    finding = day.find(made, cast.ada)
    old = day.photo(cast.principal, taken=-30, place=None)
    day.mend(finding, cast.principal, old)
    day.work()
    for person in (cast.principal, cast.ada, cast.office, cast.town_group):
        assert every_flag_shown_to(person).filter(media=old).exists(), person
    for person in (cast.other_principal, cast.bruno, cast.carla):
        assert not every_flag_shown_to(person).filter(media=old).exists(), person
