"""What people say to flags: who may, once for each id, kept as it was said."""

from __future__ import annotations

from uuid import uuid4

import pytest

from server.core.changes import Change
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound
from server.evidence.models import FlagNote
from server.evidence.queries import flags_of
from server.evidence.services import explain_flag
from tests.evidence import FAR, flag


@pytest.fixture
def flagged(day, visit, cast, record):
    """A photo of Ada's visit that was taken elsewhere."""
    day.check_in(visit, cast.ada)
    photo = day.photo(cast.ada, place=FAR)
    record(photo, visit)
    day.work()
    return flag("other_place", photo)


@pytest.mark.parametrize("who", ["ada", "office", "town_group"])
def test_inspectors_and_offices_explain(cast, flagged, who):
    by = getattr(cast, who)
    explain_flag(flag_id=flagged.pk, note_id=uuid4(), by=by, text=" 在分校区拍摄 ")
    note = FlagNote.objects.get()
    assert (note.by, note.text, note.flag) == (by, "在分校区拍摄", flagged)


@pytest.mark.parametrize("who", ["carla", "bruno", "principal", "expert"])
def test_others_do_not_even_see_it(cast, flagged, who):
    with pytest.raises(NotFound):
        explain_flag(flag_id=flagged.pk, note_id=uuid4(), by=getattr(cast, who), text="不是")


def test_a_school_sees_the_flag_of_its_own_photo_and_cannot_explain_it(day, cast, visit):
    day.check_in(visit, cast.ada)
    finding = day.find(visit, cast.ada)
    old = day.photo(cast.principal, taken=-30, place=None)
    day.mend(finding, cast.principal, old)
    day.work()
    found = flag("before_finding", old)
    with pytest.raises(NotAllowed):
        explain_flag(flag_id=found.pk, note_id=uuid4(), by=cast.principal, text="拍错了")
    explain_flag(flag_id=found.pk, note_id=uuid4(), by=cast.ada, text="已要求学校重拍")


def test_the_same_again_is_one_note_and_other_words_are_a_conflict(cast, flagged):
    note_id = uuid4()
    for _ in range(2):
        explain_flag(flag_id=flagged.pk, note_id=note_id, by=cast.ada, text="在分校区拍摄")
    assert FlagNote.objects.count() == 1
    with pytest.raises(ContentConflict):
        explain_flag(flag_id=flagged.pk, note_id=note_id, by=cast.ada, text="别的")
    with pytest.raises(ContentConflict):
        explain_flag(flag_id=flagged.pk, note_id=note_id, by=cast.office, text="在分校区拍摄")


@pytest.mark.parametrize("text", ["", "  \n", "长" * 2001])
def test_an_explanation_says_something_and_not_too_much(cast, flagged, text):
    with pytest.raises(Invalid):
        explain_flag(flag_id=flagged.pk, note_id=uuid4(), by=cast.ada, text=text)


def test_phones_learn_of_an_explanation(cast, flagged):
    Change.objects.all().delete()
    explain_flag(flag_id=flagged.pk, note_id=uuid4(), by=cast.ada, text="在分校区拍摄")
    assert Change.objects.filter(type="submission").count() == 1


def test_flags_of_many_photos_cost_three_queries(
    day, cast, flagged, visit, record, django_assert_num_queries
):
    for _ in range(3):
        record(day.photo(cast.ada, place=FAR, origin="gallery"), visit)
    day.work()
    from media_storage.models import MediaObject

    ids = list(MediaObject.objects.values_list("pk", flat=True))
    with django_assert_num_queries(3):
        found = flags_of(cast.office, ids)
        told = {pk: [(each.code, len(each.notes.all())) for each in of] for pk, of in found.items()}
    assert len(told) == 4
    assert told[flagged.media_id] == [("other_place", 0)]
    assert sum(len(each) for each in told.values()) == 7
    assert flags_of(cast.carla, ids) == {}
