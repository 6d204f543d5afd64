"""Originals: who may open them, that each hand-out is in the log, and that grants widen nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.care.originals import end_grant, grant_originals, open_original
from server.care.queries import originals_open_to
from server.core import clock
from server.core.audit import AuditEntry
from server.core.errors import Conflict, Gone, Invalid, NotAllowed, NotFound
from server.findings.models import Finding
from server.findings.queries import media_visible_to
from tests.cast import Cast, add_person
from tests.server.care.conftest import add_photo, answer_with

pytestmark = pytest.mark.django_db

BASE = "http://testserver"


def may_open(cast: Cast, media: MediaObject) -> set[str]:
    names = (
        "ada",
        "bruno",
        "carla",
        "principal",
        "other_principal",
        "town_group",
        "office",
        "expert",
    )
    return {
        name
        for name in names
        if originals_open_to(getattr(cast, name)).filter(pk=media.pk).exists()
    }


def test_a_visits_photo_opens_to_its_taker_its_team_and_the_office(
    cast: Cast, photo: MediaObject, made_visit: Visit
) -> None:
    assert may_open(cast, photo) == {"ada", "office"}
    made_visit.team.add(cast.bruno)
    assert may_open(cast, photo) == {"ada", "bruno", "office"}


def test_evidence_opens_to_the_school_that_took_it_and_to_who_verifies_it(
    cast: Cast, photo: MediaObject, finding: Finding
) -> None:
    evidence = add_photo(cast.principal)
    answer_with(finding, cast.principal, evidence)
    assert may_open(cast, evidence) == {"principal", "ada", "office"}


def test_what_one_opens_one_may_also_see(cast: Cast, photo: MediaObject) -> None:
    for person in (cast.ada, cast.office, cast.town_group, cast.carla, cast.expert):
        visible = media_visible_to(person).values("pk")
        assert not originals_open_to(person).exclude(pk__in=visible).exists()


def test_each_hand_out_is_one_entry_in_the_log(cast: Cast, photo: MediaObject) -> None:
    opened = open_original(media_id=photo.pk, by=cast.office, base_url=BASE, reason="家长投诉")
    assert opened.url.startswith(f"{BASE}/store/")
    assert opened.expires_at > clock.now()
    open_original(media_id=photo.pk, by=cast.ada, base_url=BASE)
    second, first = AuditEntry.objects.filter(action="media.original_opened")
    assert (first.by, first.object_id, first.school_id) == (cast.office, photo.pk, cast.school.pk)
    assert first.details["reason"] == "家长投诉"
    assert second.by == cast.ada


def test_who_sees_a_photo_without_the_right_is_told_whom_to_ask(
    cast: Cast, photo: MediaObject
) -> None:
    with pytest.raises(NotAllowed, match="教育督导办"):
        open_original(media_id=photo.pk, by=cast.town_group, base_url=BASE)
    with pytest.raises(NotFound):
        open_original(media_id=photo.pk, by=cast.carla, base_url=BASE)
    assert not AuditEntry.objects.filter(action="media.original_opened").exists()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"state": "deleted"}, Gone),
        ({"state": "rejected", "reject_code": "broken"}, Conflict),
        ({"state": "declared", "stored_at": None}, Conflict),
    ],
)
def test_what_is_not_there_is_not_handed_out(
    cast: Cast, photo: MediaObject, values: dict[str, object], error: type[Exception]
) -> None:
    MediaObject.objects.filter(pk=photo.pk).update(**values)
    with pytest.raises(error):
        open_original(media_id=photo.pk, by=cast.office, base_url=BASE)
    assert not AuditEntry.objects.filter(action="media.original_opened").exists()


def test_a_grant_opens_originals_to_who_sees_the_photo_and_ends(
    cast: Cast, photo: MediaObject
) -> None:
    grant = grant_originals(
        by=cast.office, user_id=cast.town_group.pk, area_id=cast.town.pk, reason="复核照片"
    )
    assert "town_group" in may_open(cast, photo)
    end_grant(grant_id=grant.pk, by=cast.office)
    end_grant(grant_id=grant.pk, by=cast.office)
    assert "town_group" not in may_open(cast, photo)
    actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["grant.given", "grant.ended"]


def test_a_grant_shows_nobody_what_they_did_not_see_before(cast: Cast, photo: MediaObject) -> None:
    grant_originals(by=cast.office, user_id=cast.expert.pk, school_id=cast.school.pk, reason="评估")
    assert "expert" not in may_open(cast, photo)


def test_a_grant_is_over_when_its_term_is(cast: Cast, photo: MediaObject) -> None:
    grant = grant_originals(
        by=cast.office,
        user_id=cast.town_group.pk,
        school_id=cast.school.pk,
        ends=clock.today(),
        reason="复核",
    )
    assert "town_group" in may_open(cast, photo)
    type(grant).objects.update(
        starts=clock.today() - timedelta(days=9), ends=clock.today() - timedelta(days=1)
    )
    assert "town_group" not in may_open(cast, photo)


@pytest.mark.parametrize("who", ["town_group", "ada", "principal", "carla", "expert"])
def test_only_a_county_office_grants(cast: Cast, photo: MediaObject, who: str) -> None:
    with pytest.raises(NotAllowed):
        grant_originals(
            by=getattr(cast, who), user_id=cast.ada.pk, school_id=cast.school.pk, reason="x"
        )


def test_an_office_grants_nothing_outside_its_area_and_to_nobody_unknown(
    cast: Cast, photo: MediaObject
) -> None:
    province = cast.county.parent.parent
    with pytest.raises(NotAllowed):
        grant_originals(by=cast.office, user_id=cast.ada.pk, area_id=province.pk, reason="x")
    stranger = add_person("stranger", "陌生人")
    for changes in (
        {"user_id": stranger.pk},
        {"reason": " "},
        {"ends": clock.today() - timedelta(days=1)},
        {"area_id": cast.town.pk},
    ):
        with pytest.raises(Invalid):
            grant_originals(
                **{
                    "by": cast.office,
                    "user_id": cast.ada.pk,
                    "school_id": cast.school.pk,
                    "reason": "x",
                    **changes,
                }
            )


def test_the_right_costs_the_same_however_many_photos_there_are(
    cast: Cast, photo: MediaObject, django_assert_num_queries
) -> None:
    with django_assert_num_queries(6):
        list(originals_open_to(cast.office).values_list("pk"))
    for _ in range(3):
        add_photo(cast.ada)
    with django_assert_num_queries(6):
        list(originals_open_to(cast.office).values_list("pk"))
