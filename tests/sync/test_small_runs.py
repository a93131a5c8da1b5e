"""What a run of few rows, of which none changed, costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from syncer.definitions import folder
from syncer.model.types import Order, Run, RunStatus, SyncDefinition, Trigger
from syncer.settings import settings
from syncer.snapshot import file, session
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner

_QUERY = "/* sync\nentity: person\nperson: {id: id}\n*/\nSELECT i AS id, 'a' || i AS name FROM range(100) AS t (i)\n"


class Project:
    """One sync of 100 people."""

    def __init__(self, path: Path) -> None:
        (path / "sync_definitions").mkdir()
        (path / "sync_definitions/people.sql").write_text(_QUERY)
        with duckdb.connect(str(path / "shop.duckdb")):
            pass
        urls = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{path}/shop.duckdb",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{path}/people.db",
        }
        self.settings = settings.load(path, urls)
        self.settings.state_dir.mkdir()
        self.database = StateDatabase(self.settings.database_url.get_secret_value())
        self.runner = Runner(settings=self.settings, run_log=RunLog(self.database), now=lambda: datetime.now(UTC))

    @property
    def definition(self) -> SyncDefinition:
        of = self.settings
        return folder.load(of.definitions_dir, warehouses=of.warehouses, stores=of.stores).definitions[0]

    def run(self) -> Run:
        return self.runner.run(self.definition, order=Order(trigger=Trigger.MANUAL))


@pytest.fixture(autouse=True)
def anew() -> None:
    """No DuckDB of another test waits for a run."""
    session._idle.clear()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.database.close()


@contextmanager
def transactions() -> Iterator[list[str]]:
    """Those of every run log, meanwhile."""
    begun: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield begun
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_a_run_without_changes_asks_the_run_log_seldom(project: Project) -> None:
    project.run()
    project.run()
    with transactions() as begun:
        ended = project.run()
    assert (ended.status, ended.counts.unchanged) == (RunStatus.SUCCESS, 100)
    assert len(begun) <= 6, begun


def test_a_run_without_changes_writes_no_table_of_the_snapshot_but_one(project: Project) -> None:
    project.run()
    path = project.runner.snapshots.path("people")
    with file.locked(path, sync="people") as connection:
        tables = [name for (name,) in connection.execute("SHOW TABLES").fetchall() if name != "meta"]
        before = {name: connection.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in tables}
    ended = project.run()
    with file.locked(path, sync="people") as connection:
        assert {name: connection.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in tables} == before
        meta = dict(connection.execute("FROM meta").fetchall())
    assert meta["claimed_by"] == ended.id
    assert int(meta["last_sync_time"]) == int(ended.started_at.timestamp())


def test_what_one_run_had_in_memory_is_not_there_for_the_next(tmp_path: Path) -> None:
    with file.locked(tmp_path / "one.duckdb", sync="one") as connection:
        connection.execute("CREATE TEMP TABLE staged AS SELECT 1; CREATE TABLE kept AS SELECT 1")
    with file.locked(tmp_path / "two.duckdb", sync="two") as connection:
        assert connection.execute("SHOW ALL TABLES").fetchall() == []
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    with file.locked(tmp_path / "one.duckdb", sync="one") as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("kept",)]


def test_a_file_is_free_for_other_processes_once_its_run_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "one.duckdb"
    with file.locked(path, sync="one") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
    assert not path.with_name("one.duckdb.wal").exists()
    with duckdb.connect(str(path)) as other:
        assert other.execute("FROM kept").fetchall() == [(1,)]


def _block_size(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return int(connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0][0])


def test_a_snapshot_of_few_rows_is_a_small_file(project: Project) -> None:
    for _ in range(4):
        project.run()
    assert project.runner.snapshots.path("people").stat().st_size <= 131_072


def test_a_snapshot_gets_large_blocks_with_many_rows(project: Project) -> None:
    path = project.runner.snapshots.path("people")
    project.run()
    assert _block_size(path) == file.SMALL_BLOCK
    definition = project.settings.definitions_dir / "people.sql"
    definition.write_text(_QUERY.replace("range(100)", "range(20101)"))
    for left in (".larger", ".larger.wal"):
        path.with_name(path.name + left).write_bytes(b"of a run that died")
    ended = project.run()
    assert (ended.status, ended.counts.added, ended.counts.unchanged) == (RunStatus.SUCCESS, 20_001, 100)
    assert _block_size(path) > file.SMALL_BLOCK
    assert not [one.name for one in path.parent.iterdir() if one != path]
    ended = project.run()
    assert (ended.status, ended.counts.unchanged) == (RunStatus.SUCCESS, 20_101)


def test_a_run_that_needs_another_folder_than_its_duckdb_can_take_gets_a_new_one(tmp_path: Path) -> None:
    with file.locked(tmp_path / "one.duckdb", sync="one"):
        pass
    (idle,) = session._idle
    idle.execute("SET memory_limit = '40MB'; CREATE TABLE many AS SELECT i, hash(i) AS h FROM range(5000000) AS t (i)")
    with file.locked(tmp_path / "two.duckdb", sync="two") as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [
            (str(tmp_path / "two.duckdb.tmp"),)
        ]
