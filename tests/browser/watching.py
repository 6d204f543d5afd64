"""A page that is watched: it may not complain, ask an outside host for anything, or scroll sideways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from playwright.sync_api import Browser, Page

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


class Watched:
    """A page that remembers what went wrong on it."""

    def __init__(self, browser: Browser, base: str, size: str, **options: Any) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            locale="zh-CN",
            has_touch=size == "phone",
            **options,
        )
        self.page: Page = self.context.new_page()
        self.base = base
        self.size = size
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if (
            message.type == "error" and "/ws/v1/" not in message.text
        ):  # a test server has no sockets
            self.wrong.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.wrong.append(f"outside: {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 400 and "/ws/v1/" not in response.url:
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
