"""How a database becomes a profile store, and an older store a newer one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql_store import database, schema, upgrades
from syncer.model.errors import StoreError
from syncer.model.protocols import TriesWriting
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.contracts import batches
from tests.contracts.batches import PEOPLE, apply, person, put
from tests.fixtures.earlier_versions import VERSIONS, unpack

OPENING = """
import sys
from syncer.settings.registry import open_store
from syncer.model.errors import RunInProgressError
from syncer.model.protocols import TriesWriting
from syncer.model.types import Entity, Identity
from tests.contracts.batches import made
url, with_note, making = sys.argv[1:]
if with_note:
    from connectors.sql_store import database, schema
    from tests.connectors.test_store_upgrades import WITH_NOTE
    schema.FORMATS = database.FORMATS = WITH_NOTE
print("ready", flush=True)
sys.stdin.readline()
opened = open_store("default", url, identity=Identity.ID)
if making:
    try:
        made(opened)
    except RunInProgressError:
        # Another process made it: so the next run.
        opened.close()
        opened = open_store("default", url, identity=Identity.ID)
        made(opened)
print(opened.store_id, *sorted({"sqlalchemy"} & sys.modules.keys()))
"""


def add_note(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE objects ADD COLUMN note text")


def fail(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE objects ADD COLUMN colour text")
    connection.exec_driver_sql("SELECT nonsense")


#: What a next version of Syncer may know.
WITH_NOTE = replace(upgrades.FORMATS, upgrades=(*upgrades.FORMATS.upgrades, add_note))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/people.db"
    return str(request.getfixturevalue("postgres_url"))


def made(url: str) -> str:
    """Make or open the store; returns its id."""
    with closing(open_store("default", url, identity=Identity.ID)) as opened:
        return batches.made(opened).store_id


def engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def opened_at_once(url: str, processes: int, with_note: str = "", making: str = "making") -> list[str]:
    """What that many processes print that open the store at the same moment, and make or upgrade it if *making*: its
    id, and what they imported."""
    command = [sys.executable, "-c", OPENING, url, with_note, making]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return answers


def structure(url: str) -> set[tuple[Any, ...]]:
    """Everything that makes up the tables."""
    sqlite = [
        "SELECT name, replace(replace(sql, char(10), ''), char(9), '') FROM sqlite_master "
        "WHERE tbl_name NOT LIKE 'syncer%'"
    ]
    postgresql = [
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, "
        "collation_name, is_identity FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name NOT LIKE 'syncer%'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'syncer%'",
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'syncer%'",
        "SELECT relname, reloptions::text FROM pg_class WHERE reloptions IS NOT NULL AND relkind = 'r'",
    ]
    with engine(url).connect() as connection:
        queries = sqlite if connection.dialect.name == "sqlite" else postgresql
        return {tuple(row) for query in queries for row in connection.execute(sa.text(query))}


def columns_of_objects(url: str) -> list[str]:
    return [column["name"] for column in sa.inspect(engine(url)).get_columns("objects")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_an_earlier_version_becomes_like_a_new_one(url: str, tmp_path: Path, version: str) -> None:
    folder = unpack(version, tmp_path, url if url.startswith("postgresql:") else "")
    store_id = made(folder.store)
    earlier = structure(folder.store)
    with engine(folder.store).begin() as connection:
        schema.metadata.drop_all(connection)

    assert made(folder.store) != store_id
    assert structure(folder.store) == earlier


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_an_earlier_version_can_be_looked_at_before_it_is_upgraded(
    url: str, tmp_path: Path, version: str
) -> None:
    folder = unpack(version, tmp_path, url if url.startswith("postgresql:") else "")

    with closing(open_store("default", folder.store, identity=Identity.ID)) as opened:
        assert isinstance(opened, TriesWriting)
        assert opened.write_fault() == ""
        people = [opened.show(Entity.PERSON, "cio_id", str(number)) for number in range(1, 50)]

    assert any(people)
    numbers = {one["event_id"] for found in people if found for one in found["events"]}
    assert len(numbers) == (3 if version in ("format_11", "format_12") else 0)


def test_processes_that_start_at_once_make_one_store(url: str) -> None:
    answers = opened_at_once(url, 3)

    assert {answer.split()[0] for answer in answers} == {made(url)}


def test_what_looks_at_a_new_store_leaves_no_trace_and_finds_that_it_can_be_made(url: str) -> None:
    opened = open_store("default", url, identity=Identity.ID)

    opened.check(PEOPLE)
    assert opened.show(Entity.PERSON, "id", "ann") is None
    probe = opened.probe()  # type: ignore[attr-defined]

    assert probe.can_write is True
    assert probe.note == "It is made, with the identity `id`, when a run sends the first row."
    assert not sa.inspect(engine(url)).get_table_names()
    opened.close()


def test_a_new_store_that_was_closed_is_not_made(url: str) -> None:
    opened = open_store("default", url, identity=Identity.ID)
    opened.close()

    with pytest.raises(StoreError):
        batches.made(opened)

    assert not sa.inspect(engine(url)).get_table_names()


def test_opening_a_store_that_is_up_to_date_does_not_import_sqlalchemy(url: str) -> None:
    store_id = made(url)

    assert opened_at_once(url, 1, making="") == [store_id]


def test_processes_that_start_at_once_upgrade_an_older_store_once(url: str) -> None:
    old = open_store("default", url, identity=Identity.ID)
    apply(old, PEOPLE, put("ann", attributes={"a": 1}))
    old.close()

    answers = opened_at_once(url, 3, "with note")

    assert {answer.split()[0] for answer in answers} == {old.store_id}
    assert columns_of_objects(url)[-1] == "note"


def test_an_upgrade_that_fails_leaves_the_store_as_the_one_before_it_made_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_store("default", url, identity=Identity.ID)
    apply(old, PEOPLE, put("ann", attributes={"a": 1}))
    old.close()

    with monkeypatch.context() as newer:
        failing = replace(WITH_NOTE, upgrades=(*WITH_NOTE.upgrades, fail))
        newer.setattr(schema, "FORMATS", failing)
        newer.setattr(database, "FORMATS", failing)
        with pytest.raises(StoreError, match=r"store `default`: .*nonsense"):
            made(url)

    assert columns_of_objects(url)[-1] == "note"
    with monkeypatch.context() as newer:
        newer.setattr(database, "FORMATS", WITH_NOTE)
        again = open_store("default", url, identity=Identity.ID)
        assert person(again, "ann")["attributes"] == {"a": 1}
        again.close()


def test_a_store_of_a_newer_program_is_refused_and_left_alone(url: str) -> None:
    made(url)
    with engine(url).begin() as connection:
        connection.execute(sa.text("UPDATE workspace_version SET version_num = '0999'"))

    for _ in range(2):
        with pytest.raises(StoreError, match=f"is 999, this Syncer knows {upgrades.FORMATS.newest}$") as raised:
            made(url)
        assert "newer Syncer" in raised.value.hint


def test_tables_of_another_program_are_left_alone(url: str) -> None:
    with engine(url).begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (name text)"))

    with pytest.raises(StoreError, match=r"people.* already exists") as raised:
        made(url)

    assert "SYNCER_STORES__DEFAULT__URL" in raised.value.hint
    assert sa.inspect(engine(url)).get_table_names() == ["people"]


def test_a_new_store_is_another_store(url: str) -> None:
    first = made(url)
    with engine(url).begin() as connection:
        schema.metadata.drop_all(connection)

    assert made(url) != first
    opened = open_store("default", url, identity=Identity.ID)
    assert opened.show(Entity.PERSON, "id", "ann") is None
    opened.close()
