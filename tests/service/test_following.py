"""How edits of a folder are seen, with the file system's events and without."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from syncer.service import following


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "definitions"
    made.mkdir()
    return made


@contextmanager
def followed(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """Gives what was in the folder at the last look."""
    stopped, seen = threading.Event(), [[""]]

    def look() -> None:
        seen.append(sorted(file.name for file in folder.glob("*")))

    thread = threading.Thread(target=lambda: following.follow(folder, look, stopped=stopped), daemon=True)
    thread.start()
    try:
        yield lambda: seen[-1]
    finally:
        stopped.set()
        thread.join(10)
    assert not thread.is_alive()


def wait_until(seen: Callable[[], list[str]], *names: str) -> None:
    deadline = time.monotonic() + 60
    while seen() != list(names):
        assert time.monotonic() < deadline, seen()
        time.sleep(0.02)


def used_up(*_: Any, **__: Any) -> Iterator[Any]:
    raise OSError(errno.ENOSPC, "no space left on device")


def silent(*_: Any, stop_event: threading.Event, rust_timeout: int = 5_000, **more: Any) -> Iterator[Any]:
    """A file system without events."""
    while not stop_event.wait(rust_timeout / 1000):
        if more.get("yield_on_timeout"):
            yield set()


@pytest.mark.parametrize("watch", [used_up, silent])
def test_edits_are_seen_without_events(folder: Path, monkeypatch: pytest.MonkeyPatch, watch: Any) -> None:
    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.2)

    with followed(folder) as seen:
        (folder / "a.sql").touch()
        wait_until(seen, "a.sql")
        (folder / "b.sql").touch()
        wait_until(seen, "a.sql", "b.sql")


def test_an_edit_is_seen_a_minute_later_at_most() -> None:
    assert following.LOOK_SECONDS <= 60


@pytest.mark.parametrize("events", [True, False], ids=["events", "no events"])
def test_a_folder_that_was_replaced_is_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.5)
    if not events:
        monkeypatch.setattr(watchfiles, "watch", silent)

    with followed(folder) as seen:
        (folder / "old.sql").touch()
        wait_until(seen, "old.sql")
        shutil.copytree(folder, tmp_path / "next")
        folder.rename(tmp_path / "before")
        (tmp_path / "next").rename(folder)
        (folder / "new.sql").touch()
        wait_until(seen, "new.sql", "old.sql")
        (folder / "newer.sql").touch()
        wait_until(seen, "new.sql", "newer.sql", "old.sql")


def test_with_events_an_edit_is_seen_at_once(folder: Path) -> None:
    with followed(folder) as seen:
        time.sleep(0.5)
        began = time.monotonic()
        (folder / "a.sql").touch()
        wait_until(seen, "a.sql")
        assert time.monotonic() - began < 10


def test_the_log_says_once_that_the_folder_cannot_be_watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchfiles, "watch", used_up)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)

    with caplog.at_level(logging.INFO), followed(folder):
        time.sleep(0.5)

    (record,) = caplog.records
    assert "the folder cannot be watched: no space left on device" in record.getMessage()


@pytest.mark.parametrize("watch", [watchfiles.watch, used_up])
def test_an_error_of_a_look_is_not_the_last_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Iterator[Any]]
) -> None:
    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    stopped, looks = threading.Event(), threading.Semaphore(0)

    def look() -> None:
        looks.release()
        raise LookupError

    thread = threading.Thread(target=lambda: following.follow(folder, look, stopped=stopped), daemon=True)
    thread.start()
    try:
        for _ in range(3):
            assert looks.acquire(timeout=60)
    finally:
        stopped.set()
        thread.join(10)
    assert not thread.is_alive()
