"""The same of syncs whose rows a warehouse keeps: whatever dies, one clean run makes the store equal to the queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from connectors.postgresql.copying import copy_lines
from connectors.postgresql.warehouse import PostgreSQLWarehouse
from syncer.model.protocols import Warehouse
from syncer.model.snapshot_home import SnapshotHome
from syncer.model.types import Column
from syncer.settings import settings
from syncer.settings.settings import Settings
from syncer.snapshot.snapshot import Snapshot
from syncer.sync import kept_rows
from tests.properties.convergence import Life, Mortal, Sync, WithoutOutbox, ended, proven_in
from tests.properties.test_convergence import WithAFakeStore, a_lost_reply_and_a_value_that_goes_back
from tests.servers.kept_rows import KeepingWarehouse, keeping_warehouse
from tests.servers.postgresql import PostgresServer

pytestmark = [pytest.mark.timeout(900), pytest.mark.early]

KEPT = ("people", "values", "accounts", "members")


@dataclass
class Tables:
    """The warehouse's login that reads, and the table that has a sync's result by the time of its query."""

    inner: PostgreSQLWarehouse

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        return self.inner.query(sql, timeout=timeout)

    def columns(self, sql: str) -> tuple[Column, ...]:
        return self.inner.columns(sql)

    def close(self) -> None:
        self.inner.close()


class InWarehouse(WithAFakeStore):
    """Syncs of people, objects and relationships have their rows in PostgreSQL; the others as ever."""

    server: ClassVar[KeepingWarehouse]
    #: What dies next.
    life: Life = Life(None)

    def __init__(self) -> None:
        super().__init__()
        self.settings = made_settings(self.server)
        self.server.execute("DROP SCHEMA IF EXISTS results CASCADE", "CREATE SCHEMA results")
        for (name,) in self.server.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'kept'"):
            self.server.execute(f'DROP TABLE kept."{name}"')
        for name in KEPT:
            sync = self.syncs[name]
            columns = ", ".join(f"{column} text" for column in sync.schema.names)
            self.server.execute(f"CREATE TABLE results.{name} ({columns})")
            sql = f"SELECT * FROM results.{name};"
            sync.definition = replace(sync.definition, sql=sql, snapshot=SnapshotHome.WAREHOUSE)

    @contextmanager
    def opened(self, sync: Sync) -> Iterator[Snapshot]:
        with super().opened(sync) as snapshot, kept_rows.beside(self.settings, sync.definition, snapshot):
            if (rows := snapshot.ledger.warehouse_rows) is not None:
                rows.tables = Mortal(rows.tables, self.life)
            yield snapshot

    @contextmanager
    def warehouse(self, sync: Sync, life: Life) -> Iterator[Warehouse]:
        if sync.definition.name not in KEPT:
            with super().warehouse(sync, life) as found:
                yield found
            return
        with psycopg.connect(self.server.owner_url) as connection, connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE results.{sync.definition.name}")
            with cursor.copy(f"COPY results.{sync.definition.name} FROM STDIN") as copy:
                for lines in copy_lines(sync.result()):
                    copy.write(lines)
        with closing(PostgreSQLWarehouse("default", self.server.reader_url)) as reader:
            yield Tables(reader)

    def _run(self, name: str, *, life: Life | None = None, allow_limits: bool = False) -> None:
        self.life = life or Life(None)
        try:
            super()._run(name, life=self.life, allow_limits=allow_limits)
        finally:
            self.life = Life(None)

    @rule(name=st.sampled_from(KEPT))
    def lose_the_file(self, name: str) -> None:
        """Another machine goes on, which has none."""
        self._path(self.syncs[name]).unlink(missing_ok=True)

    @rule(name=st.sampled_from(KEPT))
    def lose_the_tables(self, name: str) -> None:
        """Somebody puts an old backup of the keeper's schema in its place."""
        for (table,) in self.server.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'kept'"):
            if table == "meta":
                self.server.execute(f"UPDATE kept.meta SET version = 'an old one' WHERE sync = '{name}'")

    @rule(name=st.sampled_from(KEPT), is_kept=st.booleans())
    def move_the_rows(self, name: str, is_kept: bool) -> None:
        """The header, or a command, says where they are to be."""
        sync = self.syncs[name]
        if not is_kept:
            with kept_rows.opened(self.settings, self._path(sync), name) as ledger:
                if ledger is not None:
                    kept_rows.bring_home(self.settings, ledger)
        sync.definition = replace(sync.definition, snapshot=SnapshotHome.WAREHOUSE if is_kept else None)


def made_settings(server: KeepingWarehouse) -> Settings:
    from pathlib import Path

    return settings.load(
        Path("/nonexistent"),
        {
            "SYNCER_WAREHOUSES__DEFAULT__URL": server.reader_url,
            "SYNCER_WAREHOUSES__DEFAULT__KEEPER_URL": server.keeper_url,
            "SYNCER_STORES__DEFAULT__URL": "sqlite:///profiles.db",
        },
    )


@pytest.fixture(scope="module", autouse=True)
def server(postgres: PostgresServer) -> Iterator[KeepingWarehouse]:
    with postgres.new_database() as url, keeping_warehouse(url) as made:
        InWarehouse.server = made
        yield made


TestWarehouseConvergence = InWarehouse.TestCase
TestWarehouseConvergence.settings = proven_in(4)


def test_a_mutant_that_writes_nothing_down_fails() -> None:
    with ended(InWarehouse()) as machine:
        a_lost_reply_and_a_value_that_goes_back(machine)
    mutant: Any = type("Mutant", (WithoutOutbox, InWarehouse), {})
    with ended(mutant()) as machine, pytest.raises(AssertionError):
        a_lost_reply_and_a_value_that_goes_back(machine)
