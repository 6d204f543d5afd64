"""Standing queries read as the queryset does, whatever the database keeps ids as."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection
from django.db.models import Exists, OuterRef

from server.core.standing import StandingQuery
from server.grid.models import Area, School
from tests.cast import Cast

SCHOOL = StandingQuery(
    lambda id, code: (
        School.objects.filter(pk=id, code=code)
        .select_related("area")
        .annotate(in_an_area=Exists(Area.objects.filter(pk=OuterRef("area"))))
    ),
    UUID,
    str,
)


@pytest.mark.django_db
def test_a_row_comes_with_its_relations_and_annotations(cast: Cast) -> None:
    found = SCHOOL.first(cast.school.pk, cast.school.code)
    assert found == cast.school
    assert vars(found)["in_an_area"] in (True, 1)
    assert (found.pk, found.area) == (cast.school.pk, cast.school.area)


@pytest.mark.django_db
def test_columns_come_as_the_database_keeps_types(cast: Cast) -> None:
    columns = StandingQuery(
        lambda id: School.objects.filter(pk=id).values_list("area_id", "code", "is_active"), UUID
    )
    found = columns.first_values(cast.school.pk)
    assert found is not None
    assert list(found) == [cast.school.area_id, cast.school.code, True]
    assert columns.first_values(uuid4()) is None


@pytest.mark.django_db
def test_each_call_binds_its_own_values(cast: Cast) -> None:
    assert SCHOOL.first(cast.school.pk, cast.school.code) == cast.school
    assert SCHOOL.first(cast.far_school.pk, cast.far_school.code) == cast.far_school
    assert SCHOOL.first(cast.school.pk, cast.far_school.code) is None
    assert SCHOOL.first(uuid4(), cast.school.code) is None


@pytest.mark.django_db
def test_it_is_one_query(cast: Cast, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        found = SCHOOL.first(cast.school.pk, cast.school.code)
        assert found is not None
        assert found.area.name


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_died_is_replaced_at_the_beginning_of_a_request(cast: Cast) -> None:
    assert SCHOOL.first(cast.school.pk, cast.school.code)
    _lose_connection()
    connection.health_check_done = False  # as at the beginning of a request
    assert SCHOOL.first(cast.school.pk, cast.school.code) == cast.school


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_dies_later_is_an_error(cast: Cast) -> None:
    connection.health_check_done = True
    _lose_connection()
    with pytest.raises(OperationalError):
        SCHOOL.first(cast.school.pk, cast.school.code)
    connection.close()


def _lose_connection() -> None:
    """End the server's side of it, as a restart does."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connection to lose")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()
