"""The console in Chromium, at the desk and on the phone, with the demo county.

Every page is opened and photographed (var/screenshots); none may scroll sideways, complain on the
console, or ask an outside host for anything.
"""

from __future__ import annotations

import pytest

from tests.browser.watching import SIZES, Watched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", SIZES)
def test_the_office_works_through_its_pages(size, chrome, live_server, addresses):
    watched = Watched(chrome, live_server.url, size)
    watched.log_in()
    for name, path in addresses.items():
        page = watched.open(path, name)
        if size == "phone":
            heights = page.eval_on_selector_all(
                ".dx-page .dx-button", "all => all.map(each => each.offsetHeight).filter(Boolean)"
            )
            assert all(height >= 44 for height in heights), name
    find_a_school(watched, addresses["plan"])
    follow_a_number(watched)


def find_a_school(watched: Watched, path: str) -> None:
    """The list of boxes narrows while one types."""
    page = watched.open(path, "plan")
    picks = page.locator(".dx-pick", has=page.locator("[name=schools]"))
    before = picks.locator("label:visible").count()
    picks.locator(".dx-pick-search").fill("中心小学")
    assert 0 < picks.locator("label:visible").count() < before


def follow_a_number(watched: Watched) -> None:
    """The first number of the overview leads to its list."""
    page = watched.open("/admin/", "overview")
    number = page.locator(".dx-numbers a").first
    count = number.locator("b").inner_text()
    number.click()
    page.wait_for_load_state("networkidle")
    assert page.locator("#result_list tbody").count() == int(count)
    watched.look("list")
