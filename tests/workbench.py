"""One sync on the bench: a real snapshot between a table in memory and a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from syncer.model.errors import StoreError, SyncerError
from syncer.model.protocols import Interruptible
from syncer.model.types import Entity, PersonKey, Removed, SyncDefinition, Target
from syncer.snapshot.opening import addresses, opened
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.flow import SyncRun, compare, run_sync
from syncer.sync.progress import CancelToken, HeldError, Progress, RunOptions, StoppedError
from syncer.sync.window import window
from tests.servers.fake_store import FakeStore
from tests.servers.table_warehouse import Table
from tests.sync.equations import check_rows

PERSON = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
COUPON = Target(entity=Entity.COLLECTION, collection="coupons", key_columns=("code",))


def definition(**fields: Any) -> SyncDefinition:
    """A definition with the given fields; a person by `id` unless told otherwise."""
    defaults: dict[str, Any] = {
        "name": "customers",
        "path": Path("customers.sql"),
        "sql": "SELECT",
        "sql_line": 1,
        "target": PERSON,
    }
    return SyncDefinition(**(defaults | fields))


def table(columns: dict[str, list[Any] | pa.Array | pa.ChunkedArray]) -> pa.Table:
    """A result, from lists or arrays by column."""
    return pa.table(columns)


@dataclass
class Alone:
    """The coordination of a sync that no other run concerns."""

    run_id: str = ""
    sync: str = "customers"
    log_id: str = "a log"
    #: The sets that were announced; the key is `key`.
    announced: list[pa.Table] = field(default_factory=list)

    def at_one_moment(self) -> AbstractContextManager[object]:
        return nullcontext()

    def at_once(self) -> AbstractContextManager[object]:
        return nullcontext()

    def newest_claim(self) -> str:
        return ""

    def claim(self, *, after: str) -> bool:
        return True

    def confirm(self) -> bool:
        return True

    def writers(self, things: str) -> dict[str, tuple[frozenset[str], str]]:
        return {}

    def removed_since(self, seq: int) -> AbstractContextManager[Removed]:
        return nullcontext(Removed())

    def attributes_of_others(self, things: str, attributes: Collection[str] | None) -> set[str]:
        return set()

    def announce(self, write: Callable[[Path, str], int]) -> None:
        with TemporaryDirectory() as folder:
            write(path := Path(folder) / "set.parquet", "key")
            self.announced.append(parquet.read_table(path))

    def close_removals(self) -> None: ...


@dataclass
class Workbench:
    """Runs one sync over results that the test gives."""

    folder: Path
    definition: SyncDefinition = field(default_factory=definition)
    store: FakeStore = field(default_factory=lambda: FakeStore(batch_rows=10_000))
    clock: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    alone: Alone = field(default_factory=Alone)
    #: Whether to stop the run.
    stopping: Callable[[], bool] = lambda: False

    def adjust(self, **fields: Any) -> None:
        """Edit the definition."""
        self.definition = replace(self.definition, **fields)

    @contextmanager
    def opened(self, *, record: bool = True) -> Any:
        path = self.folder / f"{self.definition.name}.duckdb"
        address = addresses(self.store)
        with opened(path, self.definition, self.store.store_id, address=address, record=record) as snapshot:
            yield snapshot

    def run(self, result: pa.Table, **options: Any) -> Progress:
        """Run to the end or to the error; the clock goes on by an hour."""
        self.clock += timedelta(hours=1)
        self.progress = Progress(token=CancelToken(lambda: "stopped" if self.stopping() else ""))
        try:
            self._run(result, RunOptions(**options))
        except (SyncerError, HeldError, StoppedError) as exc:
            check_rows(self.progress, exc)
            raise
        check_rows(self.progress)
        return self.progress

    def _run(self, result: pa.Table, ran: RunOptions) -> None:
        wake = self.store.interrupt if isinstance(self.store, Interruptible) else lambda: None
        with self.opened() as snapshot, self.progress.token.waking(wake):
            incremental = self.definition.incremental
            asked = window(self.definition, snapshot.known, ran, at=self.clock, query="").asked if incremental else None
            run_sync(
                SyncRun(
                    definition=self.definition,
                    sql="SELECT",
                    warehouse=Table(result),
                    snapshot=snapshot,
                    store=self.store,
                    options=ran,
                    progress=self.progress,
                    asked=asked,
                ),
                coordination=self.alone,
                started_at=self.clock,
            )

    def lose_the_answer(self, result: pa.Table) -> None:
        """Run once; the store takes the first batch, and its answer is lost."""
        self.store.strikes_at, self.store.fault = 0, "after"
        with pytest.raises(StoreError):
            self.run(result)
        self.store.strikes_at = None

    def plan(self, result: pa.Table) -> tuple[Progress, dict[str, int], list[tuple[str, str, str | None, str | None]]]:
        """Counts, changed attributes and samples of a plan."""
        progress = Progress()
        with self.opened(record=False) as snapshot:
            run = SyncRun(
                definition=self.definition,
                sql="SELECT",
                warehouse=Table(result),
                snapshot=snapshot,
                store=self.store,
                options=RunOptions(),
                progress=progress,
            )
            _, difference = compare(run)
            return progress, difference.changed_attributes(), difference.sample(10)

    def rejections(self) -> dict[str, str]:
        """What is refused now: key to reason."""
        snapshot: Snapshot
        with self.opened() as snapshot:
            return {r.key: r.reason for r in snapshot.rejections(1000)[0]}
