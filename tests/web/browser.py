"""Debian's Chromium, driven by Playwright, and what is noticed while it shows pages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import is_long

CHROMIUM = Path("/usr/bin/chromium")

#: Nothing that asks the network by itself.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_SOUNDNESS = Path(__file__).with_name("soundness.js").read_text()

#: What Chromium says of an answer that is no success; tests ask for such on purpose.
_EXPECTED = re.compile("the server responded with a status of (4..|502)")

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 390)
_HEIGHT = 900

#: Each scheme and each width once.
PAIRS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 390))

#: Who wants pictures makes it; git ignores it.
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, with nobody's profile."""
    if not CHROMIUM.exists():
        said = "Chromium is not installed: `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(kw_only=True)
class Window:
    """A window of a browser over one service, and what went wrong in it."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a page of the service."""
        self.page.goto(self.address + path)

    def unsound(self) -> list[str]:
        """What is wrong with the page that is shown."""
        found: list[str] = self.page.evaluate(_SOUNDNESS)
        return found

    def inaccessible(self) -> list[str]:
        """What axe-core finds: each rule that the page breaks, with the first place."""
        broken = Axe().run(self.page).response["violations"]
        return [f"axe: {rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]}" for rule in broken]

    def look(self, name: str) -> None:
        """Check the page as it is shown, and keep a picture of it."""
        self._picture(name)
        self.faults += [f"{name}: {fault}" for fault in [*self.unsound(), *self.inaccessible()]]

    def shoot(self, name: str) -> list[str]:
        """Show the page light and dark, wide and narrow, keep pictures of it, and give what is wrong with it."""
        faults = []
        # What axe-core looks at takes longest, so that pages take turns.
        looked_at = PAIRS if is_long() else (PAIRS[sum(name.encode()) % 2],)
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": _HEIGHT})
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                faults += [f"{name}, {scheme}, {width}: {fault}" for fault in self.unsound()]
                if (scheme, width) in looked_at:
                    faults += [f"{name}, {scheme}, {width}: {fault}" for fault in self.inaccessible()]
                if (scheme, width) in PAIRS:
                    self._picture(f"{name}-{scheme}-{width}")
        self.page.set_viewport_size({"width": WIDTHS[0], "height": _HEIGHT})
        self.page.emulate_media(color_scheme="light")
        return faults

    def _picture(self, name: str) -> None:
        if SCREENSHOTS.is_dir():
            self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextmanager
def window(browser: Browser, address: str, **options: Any) -> Iterator[Window]:
    """A window in which nothing may go wrong: no error, nothing blocked, no script of others, no other host asked."""
    context = browser.new_context(**{"viewport": {"width": WIDTHS[0], "height": _HEIGHT}, **options})
    context.set_default_timeout(20_000)
    opened = Window(page=context.new_page(), address=address)
    _watch(context, opened)
    try:
        yield opened
        assert opened.page.evaluate("window.pwned === undefined")
    finally:
        context.close()
    assert opened.faults == []


def _watch(context: BrowserContext, opened: Window) -> None:
    host = urlsplit(opened.address).netloc
    faults, page = opened.faults, opened.page
    context.on("request", lambda asked: _note(faults, urlsplit(asked.url).netloc != host, f"asked: {asked.url}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda said: _note(
            faults, said.type in ("error", "warning") and not _EXPECTED.search(said.text), f"console: {said.text}"
        ),
    )


def _note(faults: list[str], is_fault: bool, text: str) -> None:
    if is_fault:
        faults.append(text)
