"""Takes the picture of the page that the README shows: `python -m tests.docs.picture`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from syncer.docs.topics import FOLDER
from syncer.starter import write_starter
from tests.web.browser import chromium, window
from tests.web.conftest import Site
from tests.web.shop import wait_for_all, write_history


def take(path: Path) -> None:
    """Run the examples with a history of two days, and photograph the list of syncs."""
    with TemporaryDirectory() as folder:
        write_starter(Path(folder))
        _refuse_some(Path(folder))
        site = Site(path=Path(folder))
        write_history(Path(folder), site.now() - timedelta(minutes=1))
        with site.served() as served, chromium() as browser:
            wait_for_all(served)
            served.service.run_now("coupons", actor="ann")
            wait_for_all(served)
            with window(browser, served.address, device_scale_factor=1.5) as opened:
                opened.page.set_viewport_size({"width": 1180, "height": 800})
                opened.open("/")
                opened.page.screenshot(path=path, full_page=True)


def _refuse_some(folder: Path) -> None:
    """Add memberships of people who do not exist."""
    with (folder / "sync_definitions/sample_data/memberships.csv").open("a") as file:
        file.writelines(f"{number},acc_001,member,2026-11-01,\n" for number in range(2001, 2008))


if __name__ == "__main__":
    take(FOLDER / "page.png")
