"""What the snapshot of one sync has of single rows, read for a moment; whatever its format, nothing is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from syncer.model.errors import SnapshotError
from syncer.model.json_text import members
from syncer.model.types import Target, ValueForm
from syncer.snapshot import devices, event_rows, file
from syncer.snapshot.cells import AttributeColumn, columns_of, own_text, visitor_of
from syncer.snapshot.session import Session, target_of
from syncer.snapshot.values import as_sent, literal

Key = tuple[str, ...]

#: Tables that files of earlier formats lack, and the one that only a run has that sends.
_NOT_ALWAYS = ("left_rows", "absent_rows", "outbox")

#: Columns to what they hold: parts of a key, or the number of a `person`; see `Ledger`.
Place = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that is rejected now."""

    reason: str
    since: datetime
    #: When it was rejected last.
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRun:
    """A run that sent something."""

    run_id: str
    #: Aware UTC; None where it is not known.
    began_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRow:
    """A row that left the result."""

    #: As `KnownRow.accepted`.
    accepted: Mapping[str, str | None]
    #: The run that found that it had left.
    by: SentRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRow:
    """One row, as far as a snapshot knows it."""

    key: Key
    #: Attribute to the JSON text that the store accepted; None for NULL. None where it accepted no such row.
    accepted: Mapping[str, str | None] | None = None
    #: The same of the values that an incremental query will not return again, and that the store did not accept so far.
    kept: Mapping[str, str | None] | None = None
    #: The run that added it, and the one that sent it last; None where they are not known.
    first: SentRun | None = None
    last: SentRun | None = None
    #: Set if it left the result, and is not in the snapshot any more.
    left: LeftRow | None = None
    #: The run that sent it to nobody, as the store has none.
    absent: SentRun | None = None
    refused: Refused | None = None
    #: Whether it was sent, and the store's answer is not known.
    in_doubt: bool = False
    #: The attributes that it holds back, as another sync's values count more.
    held: frozenset[str] = frozenset()
    #: Whether it is an event that is not sent again: it was sent, or is past, as `start` says.
    is_over: bool = False

    @property
    def text(self) -> str:
        """The key as people type it."""
        return self.key[0] if len(self.key) == 1 else json.dumps(self.key, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRows:
    """What a look found."""

    target: Target
    store_id: str
    #: Whether a run has ended well.
    is_settled: bool
    #: By key.
    rows: list[KnownRow] = field(default_factory=list)
    #: Whether there are more than were to be found.
    is_cut: bool = False
    #: Whether a warehouse keeps the rows, so that none can be found here.
    is_elsewhere: bool = False


@contextmanager
def reading_snapshots(*, form: ValueForm, most: int) -> Iterator[SnapshotReader]:
    """What looks into one snapshot after the other, for one thread.

    *form*: how the store takes values. *most*: rows of one snapshot.
    """
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield SnapshotReader(connection, form=form, most=most)


class SnapshotReader:
    """See `reading_snapshots`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, form: ValueForm, most: int) -> None:
        self._connection = connection
        self._form = form
        self._most = most

    def find(self, path: Path, places: Callable[[Target], Sequence[Place]]) -> KnownRows | None:
        """The rows that are at one of the *places* for the target of a snapshot; None where nothing was ever sent.

        Raises:
            RunInProgressError: a run or a plan has it open.
            SnapshotError: it cannot be read.
        """
        try:
            return self._found(path, places)
        except duckdb.Error as exc:
            raise SnapshotError(f"the snapshot of `{path.stem}` cannot be read: {type(exc).__name__}") from None

    def _found(self, path: Path, places: Callable[[Target], Sequence[Place]]) -> KnownRows | None:
        with file.attached(self._connection, path, sync=path.stem) as other:
            self._connection.execute(f"USE {other}")
            try:
                session = self._session(path)
                if session is None:
                    return None
                memory = dict(session.rows("SELECT name, value FROM meta"))
                store_id, wanted = memory.get("store_id", ""), places(session.target)
                keys = self._keys(session, wanted)
                rows = self._rows(session, keys[: self._most])
                if session.target.event is not None:
                    rows = _events(session, store_id, wanted, rows)
                return KnownRows(
                    target=session.target,
                    store_id=store_id,
                    is_settled=bool(memory.get("settled_definition")),
                    rows=rows,
                    is_cut=len(keys) > self._most,
                    is_elsewhere=bool(memory.get("kept_version")),
                )
            finally:
                self._connection.execute("USE memory")

    def _session(self, path: Path) -> Session | None:
        try:
            found = self._connection.sql("SELECT value FROM meta WHERE name = 'target'").fetchall()
        except duckdb.CatalogException:
            return None
        keys = sum(bool(re.fullmatch("k[0-9]+", name)) for name in self._connection.table("snapshot").columns)
        if not found:
            return None
        return Session(connection=self._connection, sync=path.stem, target=target_of(found[0][0], keys))

    def _keys(self, session: Session, places: Sequence[Place]) -> list[Key]:
        found = []
        for table in ("snapshot", "in_doubt", "kept", "rejections", *_NOT_ALWAYS):
            if table not in _NOT_ALWAYS or session.has_table(table):
                columns = session.connection.table(table).columns
                found += [
                    f"SELECT {session.k} FROM {table} WHERE "
                    + " AND ".join(f"{name} = {literal(value)}" for name, value in place.items())
                    for place in places
                    if place.keys() <= {*columns}
                ]
        return session.rows(f"{' UNION '.join(found)} ORDER BY ALL LIMIT {self._most + 1}") if found else []

    def _rows(self, session: Session, keys: list[Key]) -> list[KnownRow]:
        if not keys:
            return []
        listed = ", ".join(f"({', '.join(map(literal, key))})" for key in keys)
        session.execute(f"CREATE OR REPLACE TEMP TABLE sought AS SELECT * FROM (VALUES {listed}) t ({session.k})")
        columns = (*columns_of(session, ""), *visitor_of(session))
        accepted, kept = (self._values(session, table, columns) for table in ("snapshot", "kept"))
        query = (
            f"SELECT {session.k}, reason, first_seen, last_seen FROM rejections SEMI JOIN sought USING ({session.k})"
        )
        refused = {
            tuple(key): Refused(reason=reason, since=first.replace(tzinfo=UTC), at=last.replace(tzinfo=UTC))
            for *key, reason, first, last in session.rows(query)
        }
        doubted = {*session.rows(f"SELECT {session.k} FROM in_doubt SEMI JOIN sought USING ({session.k})")}
        if session.has_table("outbox"):
            unanswered = f"(SELECT * FROM outbox ANTI JOIN verdicts USING (seq)) SEMI JOIN sought USING ({session.k})"
            doubted |= {*session.rows(f"SELECT {session.k} FROM {unanswered}")}
        history = _history(session) if session.has_table("sent_runs") else {}
        held: dict[Key, frozenset[str]] = {}
        if session.has_table("held"):
            found = session.rows("SELECT k1, attributes FROM held SEMI JOIN sought USING (k1)")
            held = {(key,): frozenset(names) for key, names in found}
        return [
            KnownRow(
                key=key,
                accepted=accepted.get(key),
                kept=kept.get(key),
                refused=refused.get(key),
                in_doubt=key in doubted,
                held=held.get(key, frozenset()),
                **history.get(key, {}),
            )
            for key in keys
        ]

    def _values(
        self, session: Session, table: str, columns: tuple[AttributeColumn, ...]
    ) -> dict[Key, dict[str, str | None]]:
        """The rows of a table that are sought: each attribute as the store takes it."""
        width, sent = len(session.keys), [self._sent(column) for column in columns]
        query = f"SELECT {', '.join([session.k, *sent])} FROM {table} SEMI JOIN sought USING ({session.k})"
        names = [column.name for column in columns]
        return {row[:width]: dict(zip(names, row[width:], strict=True)) for row in session.rows(query)}

    def _sent(self, column: AttributeColumn) -> str:
        if column.is_of_device:
            return devices.sent_json(column.kind, column.physical, self._form)
        if column.is_own:
            # A store has it as text.
            return f"CAST(to_json({own_text(column, self._form)}) AS VARCHAR)"
        sent = as_sent(column.kind, column.physical, self._form)
        return f"CASE WHEN {column.physical} IS NOT NULL THEN {sent} END"


def _events(session: Session, store_id: str, places: Sequence[Place], rows: list[KnownRow]) -> list[KnownRow]:
    """The rows of events, and those at the *places* of which a snapshot knows that they are over."""
    found = {row.key: row for row in rows}
    for place in places:
        key = tuple(place[name] for name in session.keys)
        high, low, _ = event_rows.known_by(session.target, store_id, key)
        if session.any(f"SELECT 1 FROM sent_events WHERE high = {high} AND low = {low}"):
            found[key] = replace(found.get(key, KnownRow(key=key)), is_over=True)
    return [*found.values()]


def _history(session: Session) -> dict[Key, dict[str, Any]]:
    """By key: `first`, `last`, `left` and `absent` of the rows that are sought."""
    runs: dict[int | None, SentRun] = {
        number: SentRun(run_id=run_id, began_at=began_at and began_at.replace(tzinfo=UTC))
        for number, run_id, began_at in session.rows("SELECT number, run_id, began_at FROM sent_runs")
    }
    sought = f"SEMI JOIN sought USING ({session.k})"
    found: dict[Key, dict[str, Any]] = {}
    for *key, run in session.rows(f"SELECT {session.k}, run FROM absent_rows {sought}"):
        found[tuple(key)] = {"absent": runs.get(run)}
    left = f"SELECT {session.k}, attributes, first_run, last_run, left_run FROM left_rows {sought}"
    for *key, attributes, first, last, by in session.rows(left):
        accepted = {name: None if text == "null" else text for name, text in members(attributes).items()}
        row = LeftRow(accepted=accepted, by=runs.get(by))
        found[tuple(key)] = {"left": row, "first": runs.get(first), "last": runs.get(last)}
    for *key, first, last in session.rows(f"SELECT {session.k}, first_run, last_run FROM snapshot {sought}"):
        found[tuple(key)] = {"first": runs.get(first), "last": runs.get(last)}
    return found
