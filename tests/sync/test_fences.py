"""A store that was put back from a backup, or that another state folder feeds, is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from syncer.model.errors import StoreError
from syncer.model.protocols import JSON, ProfileStore
from syncer.model.types import Entity, Finding, FindingKind, Identity, Limit, Limits, OnRemoved
from syncer.settings.registry import open_store
from syncer.snapshot.opening import opened
from syncer.state.coordination import SharedCoordination
from syncer.state.database import StateDatabase
from syncer.sync.coordination import catch_up
from syncer.sync.flow import SyncRun, run_sync
from syncer.sync.progress import Progress, RunOptions
from tests.contracts.batches import made
from tests.servers.table_warehouse import Table
from tests.workbench import definition

RESTORED = "the store is not as it was left, such as after a restore: every row is sent again"
ANY = Limits(removed=Limit(share=1.0), allow_empty=True)


@dataclass
class StateFolder:
    """A state folder that feeds a store with one sync, `customers`."""

    path: Path
    store_url: str
    rows: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    #: The folder whose run log this one uses, as machines that share one do.
    log: Path | None = None
    #: Of the column `plan`.
    metadata: dict[bytes, bytes] | None = None

    @contextmanager
    def store(self) -> Iterator[Any]:
        with closing(open_store("default", self.store_url, identity=Identity.ID)) as store:
            yield store

    def run(self, wrapped: Callable[[Any], ProfileStore] = lambda store: store) -> Progress:
        self.path.mkdir(exist_ok=True)
        self.runs += 1
        progress, made = Progress(), definition(on_removed=OnRemoved.DELETE, limits=ANY)
        database = StateDatabase(f"sqlite:///{self.log or self.path}/runs.db")
        with closing(database), self.store() as real:
            store = wrapped(real)
            coordination = SharedCoordination(
                database=database, sync=made.name, store_id=store.store_id, run_id=f"{self.path.name}-{self.runs}"
            )
            with opened(self.path / "customers.duckdb", made, store.store_id) as snapshot:
                catch_up(snapshot, coordination, real)
                result = {"id": list(self.rows), "plan": list(self.rows.values())}
                run = SyncRun(
                    definition=made,
                    sql="SELECT",
                    warehouse=Table(pa.table(result, schema=self._schema())),
                    snapshot=snapshot,
                    store=store,
                    options=RunOptions(),
                    progress=progress,
                )
                at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.runs)
                run_sync(run, coordination=coordination, started_at=at)
        return progress

    def _schema(self) -> pa.Schema:
        return pa.schema([pa.field("id", pa.string()), pa.field("plan", pa.string(), metadata=self.metadata)])

    def stored(self) -> dict[str, Any]:
        with self.store() as store:
            found = {key: store.show(Entity.PERSON, "id", key) for key in "12345"}
        return {key: person["attributes"]["plan"] for key, person in found.items() if person is not None}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    rows = {"1": "free", "2": "pro", "3": "free"}
    return StateFolder(path=tmp_path / "a", store_url=f"sqlite:///{tmp_path}/people.db", rows=rows)


def test_a_store_that_was_put_back_gets_every_row_again(folder: StateFolder, tmp_path: Path) -> None:
    folder.run()
    assert folder.run().notes == []
    shutil.copy(tmp_path / "people.db", tmp_path / "backup.db")
    folder.rows |= {"1": "pro", "4": "free"}
    del folder.rows["3"]
    folder.run()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"people.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "people.db")

    progress = folder.run()

    assert progress.notes[0] == RESTORED
    assert progress.findings == [Finding(kind=FindingKind.RESTORED, about="store default")]
    assert folder.stored() == folder.rows | {"3": "free"}
    assert (folder.run().notes, folder.run().counts.accepted) == ([], 0)


def test_a_store_that_was_put_back_to_before_the_first_run_gets_every_row_again(
    folder: StateFolder, tmp_path: Path
) -> None:
    with folder.store() as store:
        made(store)
    shutil.copy(tmp_path / "people.db", tmp_path / "backup.db")
    folder.run()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"people.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "people.db")

    assert folder.run().notes[0] == RESTORED
    assert folder.stored() == folder.rows
    assert (folder.run().notes, folder.run().counts.accepted) == ([], 0)


def test_a_row_that_left_while_the_store_was_away_is_removed_at_the_next_run(
    folder: StateFolder, tmp_path: Path
) -> None:
    folder.run()
    shutil.copy(tmp_path / "people.db", tmp_path / "backup.db")
    folder.rows["1"] = "pro"
    folder.run()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"people.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "people.db")
    del folder.rows["3"]

    assert folder.run().counts.removed == 0
    assert folder.run().counts.removed == 1
    assert folder.stored() == folder.rows


def test_two_folders_that_feed_one_store_name_each_other_and_do_not_send_for_ever(
    folder: StateFolder, tmp_path: Path
) -> None:
    other = StateFolder(path=tmp_path / "b", store_url=folder.store_url, rows={"1": "gold", "2": "gold"})
    folder.run()
    assert other.run().notes == []

    first = folder.run()
    assert "run b-1 of this sync is not in the run log" in first.notes[0]
    (found,) = first.findings
    assert (found.kind, found.about) == (FindingKind.SHARED, "store default")
    assert found.detail.endswith(" b-1")
    assert folder.stored() == folder.rows
    accepted = []
    for turn in range(3):
        folder.rows["2"], other.rows["2"] = f"a{turn}", f"b{turn}"
        for each in (other, folder):
            progress = each.run()
            accepted.append(progress.counts.accepted)
            assert any("another state folder feeds this store too" in note for note in progress.notes)
    assert accepted == [1] * 6


def test_machines_that_share_a_run_log_are_no_restore_and_no_other_folder(folder: StateFolder, tmp_path: Path) -> None:
    other = StateFolder(path=tmp_path / "b", store_url=folder.store_url, rows=folder.rows, log=folder.path)
    folder.run()
    other.run()

    for each in (folder, other, folder):
        notes = each.run().notes
        assert notes[0].startswith("the snapshot is out of date: rows were sent from another machine")
        assert len(notes) == 2
    assert folder.run().notes == []


def test_a_run_log_that_was_made_anew_is_no_other_folder(folder: StateFolder) -> None:
    folder.run()
    for suffix in ("", "-wal", "-shm"):
        (folder.path / f"runs.db{suffix}").unlink(missing_ok=True)

    anew = folder.run()

    assert anew.notes[0] == "the run log is a new one: every row is sent again"
    folder.rows["1"] = "pro"
    assert folder.run().notes == []
    with folder.store() as store:
        assert list(store.fences("customers").values()) == ["a-3"]


@pytest.mark.parametrize("arrives", [False, True])
def test_a_run_that_dies_at_its_first_batch_is_no_restore(folder: StateFolder, arrives: bool) -> None:
    folder.run()

    class Dying:
        def __init__(self, store: Any) -> None:
            self.store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

        def apply(self, *arguments: Any, **options: Any) -> pa.Table:
            if arrives:
                self.store.apply(*arguments, **options)
            raise StoreError("the answer is lost")

    for plan in ("pro", "gold"):
        folder.rows["1"] = plan
        with suppress(StoreError):
            folder.run(Dying)

    progress = folder.run()

    assert RESTORED not in progress.notes
    assert folder.stored() == folder.rows
    assert progress.counts.accepted == 1


def test_a_run_whose_rows_are_all_rejected_is_no_restore(folder: StateFolder) -> None:
    folder.metadata, folder.rows = JSON, {"1": "[1]", "2": "[2]"}
    folder.run()
    # SQLite reads no JSON that is nested so deeply, and stores nothing of the batch.
    folder.rows["1"] = "[" * 2_000 + "]" * 2_000

    for _ in range(3):
        progress = folder.run()
        assert RESTORED not in progress.notes
        assert (progress.counts.rejected, progress.counts.accepted) == (1, 0)


def test_the_fence_and_the_rows_are_one_transaction(folder: StateFolder, postgres_url: str) -> None:
    folder.store_url = postgres_url
    folder.run()
    folder.rows["1"] = "pro"
    folder.run()

    with psycopg.connect(postgres_url) as server:
        ((sync, fence, run_id, same),) = server.execute(
            "SELECT f.sync, f.fence, f.run_id, f.xmin = p.xmin FROM sync_fences f, people p WHERE p.id = '1'"
        ).fetchall()
    assert (sync, fence, run_id, same) == ("customers", 2, "a-2", True)
