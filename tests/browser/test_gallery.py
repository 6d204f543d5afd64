"""The gallery in Chromium: by mouse, by keys alone, by fingers; with much, with a broken link, offline."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from media_storage.models import MediaObject, Rendition
from media_storage.stores import get_store
from server.activities.models import Submission, Visit
from tests.browser.watching import Watched
from tests.cast import Cast
from tests.media_storage.pictures import encoded
from tests.server.console.conftest import fill_in
from tests.server.console.gallery import add_photos

pytestmark = pytest.mark.django_db(transaction=True)

GALLERY = "/admin/media_storage/mediaobject/gallery/"
Opened = Callable[..., Watched]


def picture(number: int, width: int, height: int) -> bytes:
    """One hue for each number, so that what is shown can be told apart."""
    from PIL import Image

    hue = colorsys.hsv_to_rgb(number * 0.13 % 1, 0.5, 0.9)
    red, green, blue = (round(each * 255) for each in hue)
    return encoded(Image.new("RGB", (width, height), (red, green, blue)))


def photographed(record: Submission, count: int, **fields: Any) -> Sequence[MediaObject]:
    """Photos whose renditions lie in the store."""
    photos = add_photos(record, count, **fields)
    for number, photo in enumerate(photos):
        for rendition in Rendition.objects.filter(media=photo):
            size = (rendition.width, rendition.height)
            get_store().write(rendition.key, [picture(number, *size)])
    return photos


@pytest.fixture
def record(visit: Visit, cast: Cast) -> Submission:
    """Ada's, at the school: a licence is missing."""
    Visit.objects.filter(pk=visit.pk).update(latitude=33.0004, longitude=108.0, accuracy_m=20)
    return fill_in(visit, cast.ada, photo=False, licence="no", licence_note="证件在柜子里")


@pytest.fixture
def photos(record: Submission) -> Sequence[MediaObject]:
    return photographed(record, 7)


@pytest.fixture
def opened(chrome: Browser, live_server: Any, cast: Cast) -> Opened:
    """A page of the office's browser, which is logged in."""

    def open_(path: str = GALLERY, size: str = "desk", **options: Any) -> Watched:
        client = Client()
        client.force_login(cast.office, backend="django.contrib.auth.backends.ModelBackend")
        watched = Watched(chrome, live_server.url, size, **options)
        name, value = settings.SESSION_COOKIE_NAME, client.cookies["sessionid"].value
        watched.context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
        watched.open(path, f"gallery-{path.strip('/').rpartition('/')[2]}")
        return watched

    return open_


def counter(page: Page) -> str:
    return page.locator('.dx-viewer [data-part="counter"]').inner_text()


def expect_open(page: Page) -> None:
    expect(page.locator("dialog.dx-viewer")).to_be_visible()


def expect_closed(page: Page) -> None:
    """Soon: the browser goes back in its history first."""
    expect(page.locator("dialog.dx-viewer")).to_be_hidden()


def focused(page: Page) -> str:
    """The id of the photo whose square has the focus."""
    return page.evaluate("document.activeElement.dataset.shows || ''")


def shown(page: Page) -> str:
    return page.evaluate("location.hash.slice(1)")


def scale(page: Page) -> float:
    return page.locator(".dx-frame").evaluate(
        "each => new DOMMatrix(getComputedStyle(each).transform).a"
    )


def ids_of(page: Page) -> list[str]:
    return page.eval_on_selector_all(
        ".dx-squares .dx-open", "all => all.map(each => each.dataset.shows)"
    )


# ---- keys --------------------------------------------------------------------------------------


def test_everything_is_done_by_keys(opened: Opened, photos):
    watched = opened()
    page, order = watched.page, ids_of(watched.page)
    page.locator(".dx-open").first.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page) == order[1]
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect_open(page)
    assert (counter(page), shown(page)) == ("1 / 7", order[0])
    for key, place in [("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 7)]:
        page.keyboard.press(key)
        assert counter(page) == f"{place} / 7"
    page.keyboard.press("ArrowRight")
    assert counter(page) == "7 / 7"  # the end is an end
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect_closed(page)
    assert focused(page) == order[1]
    assert shown(page) == ""
    page.keyboard.press("Space")
    assert counter(page) == "2 / 7"
    expect(page.locator(".dx-evidence h2")).to_be_visible()
    watched.look("photo")


def test_arrows_move_between_rows(opened: Opened, record, photos):
    photographed(record, 9)
    page = opened(GALLERY).page
    page.locator(".dx-open").nth(1).focus()
    page.keyboard.press("ArrowDown")
    where = "document.activeElement.getBoundingClientRect()"
    below = page.evaluate(f"{where}.left") - page.locator(".dx-open").nth(1).bounding_box()["x"]
    assert below == pytest.approx(0, abs=1)
    assert focused(page) == ids_of(page)[7]  # six squares stand in a row
    page.keyboard.press("ArrowUp")
    assert focused(page) == ids_of(page)[1]


def test_a_grid_is_one_stop_of_the_tab_key(opened: Opened, photos):
    page = opened().page
    assert page.locator('.dx-squares .dx-open[tabindex="0"]').count() == 1
    page.locator(".dx-open").nth(3).focus()
    page.keyboard.press("Tab")
    assert focused(page) == ""


def test_the_picture_is_enlarged_and_moved_by_keys_and_by_a_double_click(opened: Opened, photos):
    page = opened().page
    page.locator(".dx-open").first.click()
    expect(page.locator(".dx-frame.dx-sharp")).to_be_attached()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_timeout(250)
    assert scale(page) == pytest.approx(2.25, abs=0.01)
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(250)
    moved = page.locator(".dx-frame").evaluate(
        "each => new DOMMatrix(getComputedStyle(each).transform).f"
    )
    assert moved > 0
    page.keyboard.press("-")
    page.wait_for_timeout(250)
    assert scale(page) == pytest.approx(1.5, abs=0.01)
    page.keyboard.press("0")
    page.wait_for_timeout(250)
    assert scale(page) == 1
    page.locator(".dx-stage").dblclick()
    page.wait_for_timeout(250)
    assert scale(page) == pytest.approx(2.5, abs=0.01)
    page.keyboard.press("ArrowRight")
    assert scale(page) == 1  # the next one begins whole


def test_the_focus_stays_inside_and_the_notes_fold_away(opened: Opened, photos):
    page = opened().page
    page.locator(".dx-open").first.click()
    expect(page.locator(".dx-evidence")).to_be_visible()
    inside = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        inside.add(
            page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        )
    assert inside == {True}
    page.locator(".dx-stage").focus()
    page.keyboard.press("i")
    assert not page.locator(".dx-beside").is_visible()
    assert page.locator('[data-part="about"]').get_attribute("aria-expanded") == "false"
    page.keyboard.press("i")
    assert page.locator(".dx-beside").is_visible()


def test_a_screen_reader_is_told_which_photo_it_is(opened: Opened, photos):
    page = opened().page
    page.locator(".dx-open").first.click()
    says = page.locator('.dx-viewer [data-part="says"]')
    expect(says).to_contain_text("1 / 7")
    expect(says).to_contain_text("食品经营许可证是否公示")
    for button in page.locator(".dx-viewer button").all():
        assert button.get_attribute("aria-label") or button.inner_text().strip()


# ---- what stands beside it, links ----------------------------------------------------------------


def test_beside_the_picture_stands_the_answer_that_it_proves(opened: Opened, photos):
    page = opened().page
    page.locator(".dx-open").nth(2).click()
    side = page.locator(".dx-beside")
    for words in ("不符合", "证件在柜子里", "手机拍摄", "距学校"):
        expect(side).to_contain_text(words)
    side.get_by_role("link", name="食品安全督导周 · 东河镇中心小学").click()
    page.wait_for_url("**/activities/visit/**")


def test_a_link_opens_its_photo_and_the_way_back_closes_it(opened: Opened, photos):
    wanted = str(photos[4].pk)
    watched = opened(f"{GALLERY}#{wanted}")
    page = watched.page
    expect_open(page)
    assert shown(page) == wanted
    page.keyboard.press("Escape")
    page.locator(f'.dx-open[data-shows="{wanted}"]').click()
    page.keyboard.press("ArrowRight")
    page.go_back()
    expect_closed(page)
    assert page.url.endswith(GALLERY)


def test_a_link_to_a_photo_of_another_page_opens_it_too(opened: Opened, photos, visit, activity):
    empty = activity.visits.exclude(pk=visit.pk)[0]
    page = opened(f"{GALLERY}?visit={empty.pk}#{photos[0].pk}").page
    expect(page.locator(".dx-evidence")).to_contain_text("证件在柜子里")
    expect(page.locator(".dx-frame.dx-sharp")).to_be_attached()


def test_a_link_to_nothing_says_so(opened: Opened, photos):
    watched = opened()
    page = watched.page
    page.evaluate("location.hash = '00000000-0000-7000-8000-000000000000'")
    expect(page.locator(".dx-beside")).to_contain_text("找不到这张照片")
    page.keyboard.press("Escape")
    expect_closed(page)


def test_the_large_picture_comes_over_the_small_one(opened: Opened, photos):
    watched = opened()
    page = watched.page
    address = watched.base + str(page.locator(".dx-open").first.get_attribute("data-large"))
    held: list[Any] = []
    page.route(address, lambda route: held.append(route))  # noqa: PLW0108 - it wants a function
    page.locator(".dx-open").first.click()
    small, large = page.locator(".dx-frame .dx-small"), page.locator(".dx-frame .dx-large")
    expect(small).to_have_js_property("naturalWidth", 320)
    assert large.evaluate("each => getComputedStyle(each).opacity") == "0"
    held[0].continue_()
    expect(page.locator(".dx-frame.dx-sharp")).to_be_attached()
    expect(large).to_have_js_property("naturalWidth", 1600)


def test_the_map_and_the_squares_light_each_other(opened: Opened, photos, visit):
    page = opened(f"{GALLERY}?visit={visit.pk}").page
    mark = page.locator(".dx-taken")
    assert mark.count() == 1  # all were taken at one place
    mark.hover()
    assert page.locator(".dx-square.dx-lit").count() == 7
    page.locator(".dx-title").hover()
    assert page.locator(".dx-square.dx-lit").count() == 0
    page.locator(".dx-open").first.focus()
    assert page.locator(".dx-taken.dx-lit").count() == 1
    mark.focus()
    page.keyboard.press("Enter")
    expect_open(page)


def test_a_filter_is_in_the_address_and_nothing_else(opened: Opened, photos):
    page = opened().page
    page.select_option("[name=kind]", "picture")
    page.wait_for_url("**/gallery/?**")
    page.wait_for_load_state("networkidle")
    assert "kind=picture" in page.url
    assert "town" not in page.url
    page.locator(".dx-narrowed a").first.click()
    page.wait_for_load_state("networkidle")
    assert "kind" not in page.url


# ---- fingers -------------------------------------------------------------------------------------


class Fingers:
    """What a hand does on the glass."""

    def __init__(self, watched: Watched) -> None:
        self.devtools = watched.context.new_cdp_session(watched.page)
        self.page = watched.page

    def drag(self, *fingers: tuple[tuple[int, int], tuple[int, int]], steps: int = 8) -> None:
        """Each finger from one point to another, together."""
        self._touch("touchStart", [begin for begin, _end in fingers])
        for step in range(1, steps + 1):
            part = step / steps
            points = [
                (round(x + (u - x) * part), round(y + (v - y) * part)) for (x, y), (u, v) in fingers
            ]
            self._touch("touchMove", points)
        self._touch("touchEnd", [])
        self.page.wait_for_timeout(300)

    def _touch(self, kind: str, points: list[tuple[int, int]]) -> None:
        touches = [{"x": x, "y": y, "id": nth} for nth, (x, y) in enumerate(points)]
        self.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_a_phone_leafs_enlarges_and_closes_by_fingers(opened: Opened, photos):
    watched = opened(size="phone", is_mobile=True)
    page, fingers = watched.page, Fingers(watched)
    page.locator(".dx-open").nth(1).tap()
    assert counter(page) == "2 / 7"
    fingers.drag(((300, 300), (90, 310)))
    assert counter(page) == "3 / 7"
    fingers.drag(((90, 300), (300, 310)))
    fingers.drag(((90, 300), (300, 310)))
    assert counter(page) == "1 / 7"
    fingers.drag(((90, 300), (300, 310)))
    assert counter(page) == "1 / 7"
    fingers.drag(((300, 300), (280, 302)))
    assert (counter(page), scale(page)) == ("1 / 7", 1)  # too short to be meant
    fingers.drag(((180, 300), (80, 300)), ((210, 300), (310, 300)))
    enlarged = scale(page)
    assert enlarged > 3
    fingers.drag(((300, 300), (150, 300)))
    assert (counter(page), scale(page)) == ("1 / 7", enlarged)  # it moves, it does not leaf
    watched.look("photo-large")
    fingers.drag(((80, 300), (185, 300)), ((310, 300), (205, 300)))
    assert scale(page) == 1
    fingers.drag(((195, 200), (195, 480)))
    expect_closed(page)


def test_a_phone_shows_three_in_a_row_with_targets_for_a_thumb(opened: Opened, photos, visit):
    watched = opened(f"{GALLERY}?visit={visit.pk}", size="phone")
    page = watched.page
    tops = page.eval_on_selector_all(
        ".dx-open", "all => all.map(each => each.getBoundingClientRect().top)"
    )
    assert len({round(top) for top in tops[:3]}) == 1
    assert tops[3] > tops[0]
    targets = ".dx-open, .dx-narrowed a, .dx-tally a, .dx-switch a, .dx-tools .dx-button, .dx-more, .dx-map summary"
    small = page.eval_on_selector_all(
        targets,
        "all => all.filter(each => each.offsetParent && each.offsetHeight < 44).map(each => each.outerHTML)",
    )
    assert small == []
    assert not page.locator(".dx-filter-fields").is_visible()
    page.locator(".dx-more").click()
    assert (
        page.locator(".dx-filter-fields select").first.evaluate("each => each.offsetHeight") >= 44
    )
    page.locator(".dx-open").first.tap()
    expect(page.locator(".dx-evidence")).to_be_visible()
    buttons = page.eval_on_selector_all(
        ".dx-viewer-bar button",
        "all => all.filter(each => each.offsetParent).map(each => [each.offsetWidth, each.offsetHeight])",
    )
    assert all(width >= 44 and height >= 44 for width, height in buttons)
    brief = page.locator(".dx-beside").bounding_box()["height"]
    page.locator('[data-part="about"]').click()
    assert page.locator(".dx-beside").bounding_box()["height"] > brief
    watched.look("photo-notes")


# ---- much, nothing, and when something is wrong ---------------------------------------------------


def test_500_photos_load_as_one_comes_to_them_and_nothing_jumps(
    opened: Opened, record, media_folder: Path
):
    photos = add_photos(record, 500)
    small = picture(3, 320, 240)
    for photo in photos:
        path = media_folder / "objects" / f"{photo.key}-small.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small)
    watched = opened("/admin/")
    page = watched.page
    asked: list[str] = []
    page.on("request", lambda request: "/store/" in request.url and asked.append(request.url))
    page.add_init_script(
        "window.jumped = 0; new PerformanceObserver(list => { for (const each of list.getEntries())"
        " if (!each.hadRecentInput) window.jumped += each.value })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    watched.open(GALLERY, "gallery-500")
    # The screenshot of the whole page has asked for more than one sees: once more, looking only.
    asked.clear()
    page.goto(f"{watched.base}{GALLERY}?order=old")
    page.wait_for_load_state("networkidle")
    assert page.locator(".dx-square").count() == 500
    assert 0 < len(set(asked)) < 150
    page.locator(".dx-open").last.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    expect(page.locator(".dx-open img").last).to_have_js_property("naturalWidth", 320)
    assert page.evaluate("window.jumped") < 0.01
    assert watched.wrong == []


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_with_nothing_to_show_the_page_has_a_way_on(size, opened: Opened, cast: Cast):
    page = opened(size=size).page
    expect(page.locator(".dx-nothing")).to_contain_text("还没有收到照片和文件")
    page.get_by_role("link", name="看入校任务").click()
    page.wait_for_url("**/activities/visit/")


def test_pictures_whose_addresses_have_run_out_come_again(opened: Opened, photos):
    watched = opened("/admin/")
    page = watched.page
    refused = []

    def gate(route: Any) -> None:
        if len(refused) < 7:
            refused.append(route.request.url)
            route.fulfill(status=403)
        else:
            route.continue_()

    page.route("**/store/**", gate)
    page.goto(watched.base + GALLERY)
    page.wait_for_function(
        "[...document.querySelectorAll('.dx-open img')].every(each => each.naturalWidth > 0)"
    )
    assert len(refused) == 7
    assert page.locator(".dx-failed").count() == 0
    assert not page.locator("#dx-toast").is_visible()


def test_without_a_network_the_page_says_so_and_goes_on_when_it_is_back(opened: Opened, photos):
    watched = opened()
    page = watched.page
    page.locator(".dx-open").first.click()
    expect(page.locator(".dx-evidence")).to_be_visible()
    page.keyboard.press("Escape")
    watched.context.set_offline(True)
    expect(page.locator("#dx-toast")).to_contain_text("网络已断开")
    page.locator(".dx-open").nth(5).click()
    expect(page.locator(".dx-beside")).to_contain_text("网络已断开")
    page.keyboard.press("Home")
    expect(page.locator(".dx-beside")).to_contain_text("证件在柜子里")  # was read before
    page.keyboard.press("End")
    watched.context.set_offline(False)
    expect(page.locator(".dx-beside")).to_contain_text("证件在柜子里")
    expect(page.locator("#dx-toast")).not_to_be_visible()


def test_what_could_not_be_read_is_tried_again(opened: Opened, photos):
    watched = opened()
    page = watched.page
    page.route("**/side/", lambda route: route.fulfill(status=500))
    page.locator(".dx-open").first.click()
    expect(page.locator(".dx-beside")).to_contain_text("没有丢失")
    page.unroute("**/side/")
    page.get_by_role("button", name="重试").click()
    expect(page.locator(".dx-beside")).to_contain_text("证件在柜子里")


def test_a_file_without_a_picture_says_why_and_one_that_is_ready_is_opened(opened: Opened, record):
    add_photos(record, state="rejected", reject_code="broken")
    ready = add_photos(record, content_type="application/pdf", filename="方案.pdf")[0]
    Rendition.objects.filter(media=ready).delete()
    page = opened(f"{GALLERY}?state=rejected").page
    page.locator(".dx-open").click()
    expect(page.locator(".dx-other")).to_contain_text("文件已损坏")
    assert page.locator(".dx-other a").count() == 0
    page = opened(f"{GALLERY}?kind=pdf").page
    page.locator(".dx-open").click()
    expect(page.locator(".dx-other")).to_contain_text("方案.pdf")
    # The original is opened from the file's own page, which asks why and writes it into the log.
    link = page.get_by_role("link", name="单独的页面")
    assert f"/{ready.pk}/change/" in (link.get_attribute("href") or "")


def test_who_wants_no_motion_gets_none(opened: Opened, photos):
    page = opened(reduced_motion="reduce").page
    page.locator(".dx-open").first.click()
    page.keyboard.press("+")
    moves = page.locator(".dx-frame").evaluate("each => getComputedStyle(each).transitionDuration")
    assert moves == "0s"
