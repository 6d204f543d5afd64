"""Chromium for the pages' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from playwright.sync_api import Browser, sync_playwright

from tests.browser.watching import FLAGS


@pytest.fixture
def chrome(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; what the test asks the database is settled.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()
        # Where a loop runs, this thread has connections of its own, which nobody else closes.
        connections.close_all()
