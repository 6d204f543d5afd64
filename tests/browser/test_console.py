"""The console in Chromium, at the desk and on the phone, with the demo county.

Every page is opened and photographed (var/screenshots); none may scroll sideways, complain on the
console, or ask an outside host for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db.models import Count
from django.urls import reverse
from playwright.sync_api import Browser, Page, sync_playwright

from server.activities.models import Activity, Visit
from server.core import work
from server.findings.models import Finding

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
SCREENSHOTS = Path(settings.BASE_DIR) / "var" / "screenshots"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def addresses() -> dict[str, str]:
    """The demo county with its pictures, and the pages to look at."""
    call_command("load_demo", verbosity=0)
    work.drain_all()
    draft = Activity.objects.get(state="draft")
    visit = Visit.objects.annotate(n=Count("submissions__attachments")).order_by("-n")[0]
    finding = Finding.objects.filter(state="answered")[0]
    return {
        "landing": "/",
        "overview": "/admin/",
        "preview": reverse("admin:activities_activity_preview", args=[draft.pk]),
        "plan": reverse("admin:activities_activity_add"),
        "visit": reverse("admin:activities_visit_change", args=[visit.pk]),
        "findings": reverse("admin:findings_finding_changelist") + "?standing=overdue",
        "finding": reverse("admin:findings_finding_change", args=[finding.pk]),
        "schools": reverse("admin:grid_school_changelist"),
        "import": reverse("admin:grid_school_import"),
        "compose": reverse("admin:messaging_notice_add"),
        "storage": reverse("admin:care_deletion_storage"),
        "retention": reverse("admin:care_deletion_retention", args=[visit.activity_id]),
        "export": reverse("admin:care_export_request", args=[visit.activity_id]),
        "log": reverse("admin:core_auditentry_changelist"),
    }


@pytest.fixture
def chrome(chromium: str, addresses: dict[str, str], monkeypatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; what the test asks the database is settled.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that remembers what went wrong on it."""

    def __init__(self, browser: Browser, base: str, size: str) -> None:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale="zh-CN", has_touch=size == "phone"
        )
        self.page: Page = context.new_page()
        self.base = base
        self.size = size
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.wrong.append(f"outside: {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")

    def open(self, path: str, name: str) -> Page:
        self.page.goto(self.base + path)
        self.look(name)
        return self.page

    def look(self, name: str) -> None:
        """Photograph the page and hold it to the rules."""
        self.page.wait_for_load_state("networkidle")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.size}.png", full_page=True)
        beyond = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{name} scrolls sideways by {beyond} px at {self.size}"
        assert self.wrong == [], name

    def log_in(self) -> None:
        self.open("/admin/", "login")
        self.page.fill("[name=username]", "office")
        self.page.fill("[name=password]", settings.DEMO_PASSWORD)
        self.page.click("#login-form button[type=submit]")
        self.page.wait_for_url("**/admin/")


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
    see_the_photos(watched, addresses["visit"])
    find_a_school(watched, addresses["plan"])
    follow_a_number(watched)


def see_the_photos(watched: Watched, path: str) -> None:
    """Full screen by a click, on by a key, closed by another."""
    page = watched.open(path, "visit")
    square = page.locator("a.dx-photo").first
    square.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('a.dx-photo img')].every(each => each.naturalWidth > 0)"
    )
    square.click()
    lightbox = page.locator("dialog.dx-lightbox")
    assert lightbox.is_visible()
    first = lightbox.locator("img").get_attribute("src")
    page.keyboard.press("ArrowRight")
    assert lightbox.locator("img").get_attribute("src") != first
    watched.look("photo")
    page.keyboard.press("Escape")
    assert not lightbox.is_visible()


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
