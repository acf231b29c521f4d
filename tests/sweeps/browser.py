"""A real headless Chromium, driven by Playwright, for tests that look at a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import playwright
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NODE = Path(playwright.__file__).parent / "driver" / "node"
"""The interpreter that Playwright brings along."""
_CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    _CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium; without its sandbox, which root cannot have."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """What a page did.

    Attributes:
        page: It.
        complaints: What it wrote to the console, and its errors.
        requests: Addresses that it asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Seen]:
    """Open a file in a browser of its own; options are those of Playwright's `new_context`."""
    context = browser.new_context(**options)
    try:
        seen = Seen(context.new_page())
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(path.as_uri())
        yield seen
    finally:
        context.close()
