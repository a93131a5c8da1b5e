"""Definitions that are edited while the service runs."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncer.service.catalog import Catalog
from tests.service.conftest import PERSON, Bench


def test_it_says_since_when_definitions_are_in_force_and_when_they_were_compared(bench: Bench) -> None:
    moments = iter(datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(5))
    bench.define("people")
    catalog = Catalog(bench.load, now=lambda: next(moments))

    def hours() -> tuple[int, int]:
        return catalog.current.since.hour, catalog.current.compared_at.hour

    catalog.open()
    assert hours() == (0, 0)
    catalog.reload()
    assert hours() == (0, 1)
    bench.define("orders")
    catalog.reload()
    assert hours() == (2, 2)


def test_what_was_added_changed_and_removed_is_told(bench: Bench) -> None:
    bench.define("people")
    bench.define("others")
    catalog = Catalog(bench.load)
    assert catalog.reload() == {"people", "others"}

    bench.define("new")
    bench.define("people", header=f"{PERSON}description: changed")
    (bench.path / "sync_definitions/others.sql").unlink()

    assert catalog.reload() == {"new", "people", "others"}
    assert [*catalog.current.definitions] == ["new", "people"]
    assert catalog.reload() == frozenset()


def test_a_broken_edit_keeps_what_the_file_said_before_and_shows_the_error(bench: Bench) -> None:
    file = bench.define("people")
    bench.define("others")
    catalog = Catalog(bench.load)
    catalog.reload()
    good = file.read_text()

    file.write_text(good.replace("entity: person", "entity: nobody\nschedule: every 2 minutes"))

    assert catalog.reload() == frozenset()
    found = catalog.get("people")
    assert found is not None
    assert (found.path, found.sql) == (file, "SELECT * FROM people")
    assert catalog.current.outdated["people"].path == file
    assert "nobody" in str(catalog.current.errors[0])

    bench.define("others", header=f"{PERSON}description: changed")
    assert catalog.reload() == {"others"}
    assert "people" in catalog.current.outdated

    file.write_text(good.replace("SELECT *", "SELECT id, plan"))
    assert catalog.reload() == {"people"}
    assert (catalog.current.outdated, catalog.current.errors) == ({}, ())


def test_a_file_that_was_broken_from_the_start_is_not_in_force(bench: Bench) -> None:
    bench.define("people", header="entity: nobody")
    catalog = Catalog(bench.load)

    assert catalog.reload() == frozenset()
    assert (catalog.current.definitions, len(catalog.current.errors)) == ({}, 1)


def test_a_folder_that_is_gone_leaves_everything_as_it_was(bench: Bench) -> None:
    bench.define("people")
    catalog = Catalog(bench.load)
    catalog.reload()
    folder = bench.path / "sync_definitions"
    folder.rename(bench.path / "away")

    assert catalog.reload() == frozenset()
    assert "people" in catalog.current.definitions
    assert "there is no folder of sync definitions" in catalog.current.folder_error

    shutil.move(bench.path / "away", folder)
    assert catalog.reload() == frozenset()
    assert catalog.current.folder_error == ""


@pytest.mark.parametrize("unreadable", ["sync_definitions", "sync_definitions/shop"])
def test_a_folder_that_cannot_be_listed_leaves_in_force_what_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, unreadable: str
) -> None:
    bench.define("people")
    (bench.path / "sync_definitions/shop/deep").mkdir(parents=True)
    bench.define("shop/orders")
    bench.define("shop/deep/refunds")
    catalog = Catalog(bench.load)
    catalog.reload()
    before = catalog.current.definitions
    assert set(before) == {"people", "orders", "refunds"}
    listing = os.scandir

    def too_many_open_files(path: str) -> Any:
        if Path(path) == bench.path / unreadable:
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return listing(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", too_many_open_files)
        assert catalog.reload() == frozenset()
        assert catalog.current.definitions == before
        told = [catalog.current.folder_error, *map(str, catalog.current.errors)]
        assert any("Too many open files" in text for text in told)

    assert catalog.reload() == frozenset()
    assert (catalog.current.folder_error, catalog.current.errors, catalog.current.outdated) == ("", (), {})


def test_a_file_that_cannot_be_opened_stays_in_force(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bench.define("people", header=f"{PERSON}name: customers\n")
    catalog = Catalog(bench.load)
    catalog.reload()

    def too_many_open_files(*_: object, **__: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", str(file))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", too_many_open_files)
        assert catalog.reload() == frozenset()
    assert set(catalog.current.definitions) == {"customers"}


def test_a_sync_that_was_renamed_is_another(bench: Bench) -> None:
    file = bench.define("people")
    catalog = Catalog(bench.load)
    catalog.reload()

    file.rename(file.with_name("persons.sql"))

    assert catalog.reload() == {"persons", "people"}
