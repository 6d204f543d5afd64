"""Hiding places of a picture in Chromium: by pointer, by keyboard, and what is saved."""

from __future__ import annotations

import pytest
from django.urls import reverse

from server.core import work
from server.sharing.models import SharedCopy
from tests.browser.watching import SIZES, Watched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_drawn_by_pointer_and_by_keyboard(size, chrome, live_server, addresses):
    watched = Watched(chrome, live_server.url, size)
    watched.log_in()
    copy = SharedCopy.objects.exclude(made_at=None).first()
    path = reverse("admin:media_storage_mediaobject_blur", args=[copy.pk])
    page = watched.open(path, "blur")
    layer = page.locator(".dx-blur-layer")
    area = layer.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return area["x"] + area["width"] * x, area["y"] + area["height"] * y

    page.mouse.move(*at(0.25, 0.25))
    page.mouse.down()
    page.mouse.move(*at(0.5, 0.75), steps=4)
    page.mouse.up()
    page.click('[data-do="add"]')
    for key in ("ArrowRight", "Shift+ArrowDown", "Delete"):
        page.keyboard.press(key)
    page.click('[data-do="add"]')
    page.keyboard.press("ArrowLeft")
    assert page.locator(".dx-blur-box").count() == 2
    watched.look("blur-drawn")
    page.click("#blur button[type=submit]")
    watched.look("blur-saved")
    copy.refresh_from_db()
    drawn, added = sorted(copy.boxes)
    assert drawn == pytest.approx([0.25, 0.25, 0.25, 0.5], abs=0.01)
    assert added == pytest.approx([0.39, 0.35, 0.2, 0.3], abs=0.001)
    assert page.locator(".dx-blur-shared").count() == 0
    work.drain_all()
    page = watched.open(path, "blur-made")
    assert page.locator(".dx-blur-shared").count() == 1
    page.keyboard.press("Tab")
    page.locator(".dx-blur-box").first.focus()
    page.keyboard.press("Delete")
    page.click("#blur button[type=submit]")
    page.wait_for_load_state("networkidle")
    assert len(SharedCopy.objects.get(pk=copy.pk).boxes) == 1
