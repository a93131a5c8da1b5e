"""What is old goes: by the service, and at the end of `syncer run`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.snapshot import file
from tests.acceptance.commands import Project
from tests.removals import names_in, people

PERSON = "entity: person\nperson: {id: id}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(path=tmp_path, environment={"SYNCER_KEEP_RUNS": "1"})
    project.table("people", "id,plan", "1,free", "2,pro")
    project.define("people", f"{PERSON}on_removed: delete\nlimits: {{removed: 100%}}", "SELECT id, plan FROM people")
    return project


def _removals(project: Project) -> set[str]:
    """The ids of people who were removed, of two."""
    with closing(sqlite3.connect(project.path / ".syncer/runs.db")) as log:
        sets = log.execute("SELECT id, key FROM syncer_removal_sets").fetchall()
    folder = project.path / ".syncer/runs.db.removals"
    return {value for id_, key in sets for _, _, value in names_in(folder / f"{id_}.parquet", key, people("1", "2"))}


def _make_older(project: Project, days: int) -> None:
    with closing(sqlite3.connect(project.path / ".syncer/runs.db")) as log:
        log.execute(f"UPDATE syncer_removal_sets SET at = datetime(at, '-{days} days')")
        log.commit()


def pruned_at(folder: Path, at: datetime) -> None:
    os.utime(folder / ".syncer/pruned", (at.timestamp(), at.timestamp()))


def test_a_run_deletes_what_is_old_but_only_once_a_day(project: Project) -> None:
    snapshots = project.path / ".syncer/snapshots"
    assert project.syncer("run", "people").code == 0
    project.table("people", "id,plan", "1,free")
    assert project.syncer("run", "people").code == 0
    assert _removals(project) == {"2"}
    stamp = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y%m%dT%H%M%S%f")
    old = [snapshots / f"people.duckdb.{why}-{stamp}{end}" for why in ("previous", "damaged") for end in ("", ".wal")]
    for path in old:
        path.write_bytes(b"rows")
    new = file.move_aside(snapshots / "people.duckdb", "previous")
    _make_older(project, days=2)

    assert project.syncer("run", "people").code == 0
    assert _removals(project) == {"2"}, "a day has not passed"
    pruned_at(project.path, datetime.now(UTC) - timedelta(days=1))
    assert project.syncer("run", "people").code == 0

    assert _removals(project) == set()
    assert not [path for path in old if path.exists()]
    assert new.exists()
    assert (snapshots / "people.duckdb").exists()


@pytest.mark.parametrize("is_renamed", [True, False])
def test_what_a_killed_run_was_removing_is_sent_again_once(project: Project, is_renamed: bool) -> None:
    project.define("plans", PERSON, "SELECT id, plan AS plan2 FROM people")
    assert project.syncer("run", "--all").code == 0
    project.table("people", "id,plan", "1,free")
    assert project.syncer("run", "people").code == 0
    with closing(sqlite3.connect(project.path / ".syncer/runs.db")) as log:
        # As a process that is killed leaves them.
        log.execute("UPDATE syncer_removal_sets SET open = 1, at = datetime(at, '-1 hour')")
        log.commit()
    if is_renamed:
        (project.path / "sync_definitions/people.sql").unlink()
    project.table("people", "id,plan", "1,free", "2,pro")

    sent = [project.syncer("run", "plans", "--json").objects[0]["accepted"] for _ in range(2)]

    assert sent == [1, 0]


def test_a_clock_that_was_ahead_does_not_keep_old_things(project: Project) -> None:
    assert project.syncer("run", "people").code == 0
    project.table("people", "id,plan", "1,free")
    assert project.syncer("run", "people").code == 0
    _make_older(project, days=2)
    pruned_at(project.path, datetime.now(UTC) + timedelta(days=400))

    assert project.syncer("run", "people").code == 0

    assert _removals(project) == set()
