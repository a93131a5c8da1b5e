"""The rows of a snapshot that the warehouse keeps while no run needs them.

Between two runs the file has none of its rows; all else that a ledger remembers stays in it. A run asks the warehouse
for what differs, and takes with it the kept rows of the same keys into the file, where its stages work as ever. Once
it has settled, the file's rows go back. What is to be known of all rows, such as after a restore of the store, takes
all of them into the file, and the whole result with them.

In the file's `meta`, of rows that are kept:

    kept_version    the version of the tables as this file left them; empty where the file has all rows
    kept_next       the version that a run was about to leave
    kept_rules      by which the fingerprints were made
    kept_rows       how many rows are kept that the file does not have
    kept_values     to each column, how many of those have a value, as JSON
    kept_in         the warehouse
    kept_as         the name of the tables there

The table `fetched` (k…) has the keys of kept rows that were taken into the file: what is kept of them is out of date.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import pyarrow as pa

from syncer.model.errors import SnapshotError
from syncer.model.kept_rows import KEPT_FORMAT, KeepsRows, KeptState, Question
from syncer.model.protocols import Warehouse
from syncer.snapshot.compared_result import ComparedResult
from syncer.snapshot.kept_data import NUMBERS, as_unsigned, columns_of_attributes, doubts, read, rows_of_file
from syncer.snapshot.session import Session

_ENTRIES = ("kept_next", "kept_rules", "kept_rows", "kept_values", "kept_in", "kept_as")


class Memory(Protocol):
    """The file that has the session; see `Remembering`."""

    notes: list[str]

    @property
    def session(self) -> Session:
        """Of the file."""

    def memory(self) -> Mapping[str, str]:
        """The entries of `meta`; an empty text for what is not among them."""

    def remember(self, **values: str) -> None:
        """Replace entries of `meta`, within a transaction of the session."""

    def forget_what_was_read(self) -> None:
        """Read `meta` again, as a transaction was undone."""


@dataclass(slots=True, kw_only=True)
class WarehouseRows:
    """The kept rows of one sync, beside its open file."""

    file: Memory
    tables: KeepsRows
    #: The name of the warehouse.
    warehouse: str
    _state: KeptState | None = None
    _result: ComparedResult | None = None
    _rules: str = ""
    #: How many rows of the last result stayed in the warehouse, as they are as they are kept.
    stayed: int = 0
    #: Whether a key of the last result may be that of a row that was not returned.
    _needs_all: bool = False
    #: Whether all rows were taken, and the file has not changed them since.
    _has_taken_all: bool = False

    @property
    def has_all(self) -> bool:
        """Whether the file has every row."""
        return not self.file.memory()["kept_version"]

    @property
    def rows(self) -> int:
        """How many rows are kept that the file does not have."""
        return 0 if self.has_all else int(self.file.memory()["kept_rows"] or 0)

    def values(self, physical: str) -> int:
        """How many of those have a value in a column."""
        return 0 if self.has_all else int(json.loads(self.file.memory()["kept_values"] or "{}").get(physical, 0))

    def begin(self) -> bool:
        """Bring the file and the tables together again; returns False where rows are kept that the file did not know.

        Raises:
            SnapshotError: a newer Syncer wrote the tables.
            WarehouseError: the keeper is refused or not answered; nothing has changed.
        """
        memory, state = self.file.memory(), self.tables.state()
        if state is not None and state.format > KEPT_FORMAT:
            raise SnapshotError(
                f"a newer Syncer keeps the rows of `{self.file.session.sync}` in warehouse `{self.warehouse}`",
                hint="Use that version or a newer one.",
            )
        self._state = state
        known = [memory["kept_version"], memory["kept_next"]]
        if state is not None and state.version and state.version == memory["kept_next"]:
            self._put_away(state)
        elif memory["kept_version"] and (state is None or state.version not in known):
            self._take_all()
            self.file.notes.append(
                f"the rows in warehouse `{self.warehouse}` are not as they were left: every row is sent again"
            )
            return False
        elif state is not None and state.version and not any(known) and not self._has_sent():
            self._take_all()
            return False
        elif memory["kept_version"] and self.file.session.any_of("fetched", "snapshot"):
            self.put_back(memory["kept_rules"])
        return True

    def look(self) -> None:
        """Take every row into a file that is a copy, of which nothing goes back.

        Raises:
            SnapshotError: the rows are not those that the file left.
        """
        memory, state = self.file.memory(), self.tables.state()
        if self.has_all:
            return
        if state is None or state.version not in (memory["kept_version"], memory["kept_next"]):
            raise SnapshotError(
                f"the rows of `{self.file.session.sync}` in warehouse `{self.warehouse}` are not as they were left",
                hint="The next run sends every row again.",
            )
        self._state = state
        self._take_all()

    def take_all(self) -> None:
        """Take every row that is kept into the file; part of no transaction."""
        if not self.has_all:
            self._take_all()

    def take_all_at_once(self) -> None:
        """The same, as part of the caller's transaction."""
        if not self.has_all:
            self._take_all_at_once()

    def query(
        self, warehouse: Warehouse, question: Question, *, rules: str, timeout: timedelta
    ) -> pa.RecordBatchReader:
        """What differs from what is kept, or the whole result where the file has all rows, with fingerprints.

        Shapes:
            rules: what, beside the query's columns, decides how a row of the result is stored.
            returns: as the query's, and `kept_rows.PRINT` as the last column.
        """
        self._rules = f"{self.tables.rules(question.columns)} {rules}"
        if not self.has_all and self.file.memory()["kept_rules"] != self._rules:
            self._take_all()
        session = self.file.session
        if not self.has_all:
            doubted = session.connection.sql(doubts(session)).to_arrow_table()
            if len(doubted) or (self._state is not None and self._state.has_doubts):
                self.tables.put_in_doubt(doubted)
        sql = self.tables.reading(question) if self.has_all else self.tables.comparing(question)
        reader = warehouse.query(sql, timeout=timeout)
        self.let_go()
        self._result = ComparedResult(reader, width=len(question.columns), keys=session.keys)
        return self._result.rows()

    def let_go(self) -> None:
        """Let go of the last result; calling it twice is fine."""
        if self._result is not None:
            self._result.close()

    def take_fetched(self) -> None:
        """Take the kept rows that came with the result into the file."""
        result, session = self._result, self.file.session
        self.stayed = 0
        if result is None or self.has_all:
            return
        self.stayed = result.total - result.read
        with result.kept() as kept, self._transaction():
            self._load(kept, is_all=False)
            self._count(sign=-1)
        # Of most keys the warehouse's spelling is the snapshot's; where it is not, another row may have this key.
        new = session.connection.sql(
            f"SELECT DISTINCT {session.k} FROM staged ANTI JOIN snapshot USING ({session.k}) "
            f"WHERE NOT ({session.lacks_key('staged')})"
        ).to_arrow_table()
        self._needs_all = bool(len(new)) and self.rows > 0 and self.tables.knows_any(new)

    def asks_again(self) -> bool:
        """Whether the result has to be asked for as a whole, as it has a key that only Syncer takes for a kept one."""
        if not self._needs_all:
            return False
        self._needs_all = False
        self._take_all()
        return True

    def put_back(self, rules: str = "") -> None:
        """Let the warehouse keep the file's rows, and the file have none.

        Raises:
            WarehouseError, RunInProgressError: the rows stay in the file; the next run begins with this.
        """
        session, memory = self.file.session, self.file.memory()
        fresh = session.rows("SELECT (SELECT count(*) FROM snapshot), (SELECT count(*) FROM fetched)")[0]
        rules = rules or self._rules
        if not self.has_all and fresh == (0, 0) and memory["kept_rules"] == rules:
            return
        state = KeptState(version=secrets.token_hex(8), rules=rules, format=KEPT_FORMAT, has_doubts=False)
        with self._transaction():
            self.file.remember(kept_next=state.version, kept_in=self.warehouse, kept_as=self.tables.name)
        known = {memory["kept_version"], self._state.version if self._state else ""}
        gone = None
        if not self.has_all:
            gone = session.connection.sql(
                f"SELECT {session.k} FROM fetched UNION SELECT {session.k} FROM snapshot"
            ).to_arrow_table()
        self.tables.replace(known, state, gone=gone, rows=rows_of_file(session), sync=session.sync)
        self._put_away(state)

    def put_away_unchanged(self) -> None:
        """Let the file have none of the rows that were only looked at."""
        if self._has_taken_all and self._state is not None:
            self._put_away(self._state)
        elif not self.has_all:
            with self._transaction() as session:
                self._count(sign=1)
                session.execute("DELETE FROM snapshot; DELETE FROM fetched")

    def forget(self) -> None:
        """Keep nothing there any more; the file has every row."""
        self.tables.forget()
        with self._transaction():
            self.file.remember(kept_version="", **dict.fromkeys(_ENTRIES, ""))

    def _has_sent(self) -> bool:
        return self.file.session.any("SELECT 1 FROM meta WHERE name IN ('claimed_by', 'last_sync_time')")

    def _take_all(self) -> None:
        with self._transaction():
            self._take_all_at_once()

    def _take_all_at_once(self) -> None:
        if self._state is not None and self._state.version:
            self._load(self.tables.all_rows(), is_all=True)
        self.file.session.execute("DELETE FROM fetched")
        self.file.remember(kept_rows="0", kept_values="{}", kept_version="", kept_next="", kept_in=self.warehouse)
        self._has_taken_all = True

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with self.file.session.transaction() as session:
                yield session
        except BaseException:
            self.file.forget_what_was_read()
            raise

    def _load(self, rows: pa.RecordBatchReader, *, is_all: bool) -> None:
        """Take kept rows into the file; what it has of a key already is newer."""
        session = self.file.session
        physical = columns_of_attributes(session)
        session.connection.register("incoming", rows)
        types = {**dict.fromkeys(NUMBERS, ""), **physical}
        values = ", ".join(f"{read(name, type_)} AS {name}" for name, type_ in types.items())
        names = ", ".join([session.k, "fingerprint", *types])
        try:
            session.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE loaded AS SELECT {session.k}, "
                f"any_value(fingerprint) AS fingerprint, any_value(data) AS data FROM incoming GROUP BY {session.k}"
            )
        finally:
            session.connection.unregister("incoming")
        session.execute(
            f"INSERT INTO snapshot ({names}) SELECT {session.k}, {as_unsigned('fingerprint')}, {values} "
            f"FROM loaded ANTI JOIN fetched USING ({session.k}) ANTI JOIN snapshot USING ({session.k})"
        )
        if not is_all:
            session.execute(f"INSERT INTO fetched SELECT {session.k} FROM loaded ANTI JOIN fetched USING ({session.k})")
        session.execute("DROP TABLE loaded")

    def _count(self, *, sign: int) -> None:
        """Count the file's rows among those that are elsewhere, or no longer."""
        session, memory = self.file.session, self.file.memory()
        physical = columns_of_attributes(session)
        counts = session.rows(f"SELECT count(*){''.join(f', count({c})' for c in physical)} FROM snapshot")[0]
        before = json.loads(memory["kept_values"] or "{}")
        values = {c: before.get(c, 0) + sign * n for c, n in zip(physical, counts[1:], strict=True)}
        rows = int(memory["kept_rows"] or 0) + sign * counts[0]
        self.file.remember(kept_rows=str(rows), kept_values=json.dumps(values))

    def _put_away(self, state: KeptState) -> None:
        with self._transaction() as session:
            if self.has_all:
                self.file.remember(kept_rows="0", kept_values="{}")
            self._count(sign=1)
            session.execute("DELETE FROM snapshot; DELETE FROM fetched")
            self.file.remember(kept_version=state.version, kept_next="", kept_rules=state.rules, kept_in=self.warehouse)
        self._state = state
