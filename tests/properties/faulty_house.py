"""A house over an SQL store whose processes may die, and whose store may fail or lose an answer, at any step."""

from __future__ import annotations

import enum
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from connectors.postgresql.store import PostgreSQLStore
from connectors.sqlite.store import SQLiteStore
from syncer.model.errors import StoreError, SyncerError
from syncer.model.protocols import NUMBERED_VERDICTS
from syncer.model.types import Identity, Target
from syncer.sync.progress import HeldError, Progress
from tests.properties.convergence import DeathError, Life
from tests.properties.test_moving_identifiers import MortalHouse


class Fault(enum.StrEnum):
    """What a store does with a batch beside taking it."""

    #: It fails, and has taken nothing.
    FAILS = "fails"
    #: It has taken it, and its answer is lost.
    LOSES_THE_ANSWER = "loses the answer"
    #: It has taken it, and answers for half of it.
    HALF_AN_ANSWER = "half an answer"
    #: It has taken nothing, and answers for nothing, but for the batches after it.
    TAKES_NOTHING = "takes nothing"


Apply = Callable[..., pa.Table]


@dataclass
class FaultyHouse(MortalHouse):
    """Its rows may be rejected."""

    identity: Identity = Identity.ID
    may_reject: bool = True
    #: Batches until the fault strikes, counted from 0; None for never.
    strikes_at: int | None = None
    fault: Fault = Fault.FAILS
    #: Is called once, before the store takes the next batch.
    at_apply: Callable[[], None] = lambda: None
    #: Sees each batch that the store took: target, batch, create, verdicts.
    took: Callable[[Target, pa.RecordBatch, bool, pa.Table], None] = lambda *_: None

    def wrapped(self, inner: Any) -> Any:
        if hasattr(inner, "apply"):
            inner.apply = self._faulty(inner.apply)
        return super().wrapped(inner)

    def _faulty(self, apply: Apply) -> Apply:
        def faulty(target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
            before, self.at_apply = self.at_apply, lambda: None
            before()
            strikes = self.strikes_at == 0
            if self.strikes_at is not None:
                self.strikes_at -= 1
            if strikes and self.fault is Fault.FAILS:
                raise StoreError("the store is away")
            if strikes and self.fault is Fault.TAKES_NOTHING:
                return NUMBERED_VERDICTS.empty_table()
            verdicts = apply(target, batch, create=create)
            self.took(target, batch, create, verdicts)
            if strikes and self.fault is Fault.LOSES_THE_ANSWER:
                raise StoreError("the connection was lost")
            return verdicts.slice(0, len(verdicts) // 2) if strikes else verdicts

        return faulty

    def attempt(self, name: str, **options: Any) -> Progress | None:
        """Run a sync; None if the run did not come to its end, whatever ended it."""
        with suppress(SyncerError, HeldError, DeathError):
            return self.run(name, **options)
        return None

    @contextmanager
    def dying(self, steps: int) -> Iterator[None]:
        """Let the next process die after so many steps."""
        self.life = Life(steps)
        yield
        self.life = None

    @contextmanager
    def failing(self, fault: Fault, batches: int) -> Iterator[None]:
        """Let the store fail once it has taken so many batches."""
        self.fault, self.strikes_at = fault, batches
        yield
        self.strikes_at = None

    def lose_the_state(self) -> None:
        """Delete the state folder, but for the definitions."""
        for path in [*self.folder.glob("*.duckdb*"), *self.folder.glob("runs.db*")]:
            # What a run that died spilled is in a folder.
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass
class StoreOfHistories:
    """The SQL store that a machine feeds: a new one for each history, which takes two rows a batch."""

    url: str
    closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        patch = self.closing.enter_context(pytest.MonkeyPatch.context())
        for store in (SQLiteStore, PostgreSQLStore):
            patch.setattr(store, "batch_rows", 2)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query returns; nothing of a store that has not been made yet."""
        if self.url.startswith("sqlite"):
            if not (path := self._file).exists():
                return []
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(sql).fetchall()
        with suppress(psycopg.errors.UndefinedTable):
            return self._session.execute(sql.encode()).fetchall()
        return []

    def delete_people(self, *ids: str) -> None:
        """As somebody does who knows nothing of Syncer."""
        texts = ", ".join(f"'{id_}'" for id_ in ids)
        sql = f"DELETE FROM people WHERE id IN ({texts})"
        if self.url.startswith("sqlite"):
            if self._file.exists():
                with closing(sqlite3.connect(self._file)) as connection, connection:
                    connection.execute("PRAGMA foreign_keys = ON")
                    connection.execute(sql)
            return
        with suppress(psycopg.errors.UndefinedTable):
            self._session.execute(sql.encode())

    def put_back(self, copy: Path) -> bool:
        """Put a file back to how it was when this was called last, if it was; then copy it to *copy*."""
        if not self.url.startswith("sqlite") or not self._file.exists():
            return False
        is_copied = copy.exists()
        if is_copied:
            for suffix in ("", "-wal", "-shm"):
                self._file.with_name(f"{self._file.name}{suffix}").unlink(missing_ok=True)
            copy.rename(self._file)
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return is_copied

    @cached_property
    def _session(self) -> psycopg.Connection:
        return self.closing.enter_context(psycopg.connect(self.url, autocommit=True))

    @property
    def _file(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def close(self) -> None:
        """Let go of what was made for it."""
        self.closing.close()
