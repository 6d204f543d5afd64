"""The grid's first nodes, by command."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from server.grid.models import Area

pytestmark = pytest.mark.django_db


def test_areas_are_added_from_the_top_and_renamed_in_place():
    call_command("add_area", "91", "江岭省", "province")
    call_command("add_area", "9101", "云州", "city", parent="91")
    call_command("add_area", "9101", "云州市", "city", parent="91")
    assert [(area.path, area.name) for area in Area.objects.all()] == [
        ("91/", "江岭省"),
        ("91/9101/", "云州市"),
    ]


@pytest.mark.parametrize(
    ("code", "parent", "why"),
    [("9101", "92", "add it first"), ("abc", "", "数字"), ("91", "91", "elsewhere")],
)
def test_an_area_out_of_place_is_refused(code: str, parent: str, why: str):
    call_command("add_area", "91", "江岭省", "province")
    with pytest.raises(CommandError, match=why):
        call_command("add_area", code, "某地", "city", parent=parent)
