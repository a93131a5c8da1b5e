"""The outbox: every change is durably in doubt before it is sent, and acknowledged only by its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from syncer.model.types import Action, OnRemoved, ValueForm, Verdict
from syncer.snapshot import removed, settle
from syncer.snapshot.columns import Layout, StoredColumn, in_file, json_array, json_name, json_object, whole_row
from syncer.snapshot.pipeline import BatchPipeline
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_json, literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Everything that a run is about to send, in the tables `outbox` and `verdicts`; to be closed."""

    #: Rows to send.
    rows: int
    _session: Session = field(repr=False)
    _layout: Layout = field(repr=False)
    _pipeline: BatchPipeline = field(repr=False)
    _only_one: bool = field(repr=False)
    _partial: bool = field(repr=False)

    def removals(self) -> pa.Table:
        """The entities that it deletes: `entity`, `kind`, `value`; and their keys as k…."""
        session = self._session
        names = ", ".join(f"{sql} AS {name}" for name, sql in removed.names(session.target, session.keys).items())
        query = f"SELECT {names}, {session.k} FROM outbox WHERE action = '{Action.DELETE}'"
        return session.connection.sql(query).to_arrow_table()

    def batches(self, rows: int, *, form: ValueForm = ValueForm.EXACT, whole: bool = False) -> Iterator[pa.RecordBatch]:
        """The batches as `ProfileStore.apply` takes them, removals first; the next ones are made meanwhile.

        *form*: how the store takes values. *whole*: all rows of a collection at once.
        """
        if whole:
            return self._pipeline.batches(whole_collection_queries(self._session, self._layout, form=form))
        return self._pipeline.batches(batch_queries(self._session, self._layout, rows=rows, form=form))

    def record(self, verdicts: pa.Table) -> None:
        """Make a batch's verdicts durable, and what was accepted the snapshot, while the next batch is on its way.

        Batches that are answered in quick succession are recorded together; until then their rows are in doubt.

        Raises:
            duckdb.Error: a batch before could not be recorded; its rows are in doubt.
        """
        self._pipeline.record(verdicts)

    def verdicts(self) -> dict[Verdict, int]:
        """How many rows have which verdict so far."""
        self._pipeline.finish()
        rows = self._session.rows("SELECT verdict, count(DISTINCT seq) FROM verdicts GROUP BY verdict")
        return {Verdict(verdict): count for verdict, count in rows}

    def settle(self, *, started_at: datetime, ended_well: bool) -> None:
        """Make the snapshot what the store has acknowledged, in one transaction.

        *started_at*: of the run. *ended_well*: every row had an answer.
        """
        session, complete = self._session, not self._only_one
        self._pipeline.finish()
        with session.transaction():
            settle.settle(session, complete=complete, partial=self._partial, quarantine=complete, at=started_at)
            if complete and ended_well:
                settled = self._layout.schema.definition.hash
                session.meta.set(last_sync_time=str(int(started_at.timestamp())), settled_definition=settled)
        session.execute("CHECKPOINT")

    def close(self) -> None:
        """Let what runs beside the caller's thread come to its end; calling it twice is fine."""
        self._pipeline.close()


def open_outbox(
    session: Session,
    layout: Layout,
    *,
    only_one: bool,
    partial: bool,
    outdated: bool,
    claimed_by: str,
    claimed_after: str,
) -> Outbox:
    """Write down, in one transaction, everything that is about to be sent (see Difference)."""
    schema = layout.schema
    with session.transaction():
        if claimed_by:
            session.meta.set(claimed_by=claimed_by, claimed_after=claimed_after)
        if outdated and schema.definition.incremental:
            _forget_unknown(session)
        if not only_one and not schema.sends_removals:
            _forget_departed(session)
        _reshape(session, layout)
        session.execute(
            "UPDATE snapshot SET fingerprint = r.fingerprint FROM restated r "
            f"WHERE {session.same_keys('snapshot', 'r')}"
        )
        rows = _fill(session, layout, only_one=only_one)
    reshaped = layout.reshaped()
    # While a run sends, only the pipeline's thread uses the connection.
    pipeline = BatchPipeline(
        session.sync,
        make=lambda query: session.connection.sql(query).to_arrow_table().combine_chunks().to_batches()[0],
        record=lambda verdicts: settle.record(session, reshaped, verdicts),
    )
    return Outbox(
        rows=rows, _session=session, _layout=reshaped, _pipeline=pipeline, _only_one=only_one, _partial=partial
    )


def _reshape(session: Session, layout: Layout) -> None:
    """Give the file's tables the columns and types of this run."""
    forgotten = [c for c in layout.columns if _is_forgotten(session, c)]
    for table in ("snapshot", "kept"):
        for c in layout.columns:
            if c in forgotten:
                session.execute(f"ALTER TABLE {table} DROP COLUMN {c.physical}")
            elif c.was is None:
                session.execute(f"ALTER TABLE {table} ADD COLUMN {c.physical} {c.type.storage}")
            elif c.was is not c.type:
                session.execute(
                    f"ALTER TABLE {table} ALTER {c.physical} TYPE {c.type.storage} USING {c.acknowledged()}"
                )
    session.execute("DELETE FROM columns")
    for c in layout.columns:
        if c not in forgotten:
            session.execute("INSERT INTO columns VALUES (?, ?, ?)", [c.name, c.physical, c.type.value])


def _is_forgotten(session: Session, column: StoredColumn) -> bool:
    """Whether no row has a value of a column that left the query, so that none can be unset."""
    if column.fed is not None:
        return False
    query = f"SELECT (SELECT count({column.physical}) FROM snapshot) + (SELECT count(*) FROM in_doubt)"
    return session.count(query) == 0


def _fill(session: Session, layout: Layout, *, only_one: bool) -> int:
    """Write down every row about to be sent, removals first; returns how many.

    The values stay in `staged`, by `row_id`; where the query will not return them again, `kept` takes them too.
    """
    schema, k = layout.schema, session.k
    keys = ", ".join(f"{key} VARCHAR" for key in session.keys)
    session.execute(f"CREATE TABLE outbox (seq BIGINT, action VARCHAR, {keys}, row_id BIGINT, known BOOLEAN)")
    session.execute("CREATE TABLE verdicts (seq BIGINT, verdict VARCHAR, reason VARCHAR)")
    rows = 0
    if schema.sends_removals:
        deletes = schema.definition.on_removed is OnRemoved.DELETE or not session.target.entity.traits.merges
        rows = session.count(
            f"INSERT INTO outbox SELECT row_number() OVER (), '{Action.DELETE if deletes else Action.CLEAR}', "
            f"{k}, NULL, TRUE FROM changes WHERE change = 'removed'"
        )
    rows += session.count(
        f"INSERT INTO outbox SELECT {rows} + row_number() OVER (), '{Action.PUT}', {k}, row_id, known "
        f"FROM (SELECT {k}, row_id, change <> 'added' AS known FROM changes WHERE change <> 'removed' "
        f"UNION ALL SELECT {k}, row_id, TRUE FROM resent)"
    )
    # Nothing but this tells the next run to try them again, where the store rejects them.
    session.execute(f"INSERT INTO in_doubt SELECT {k} FROM resent ANTI JOIN in_doubt USING ({k})")
    if not only_one:
        _forget_kept(session, incremental=schema.definition.incremental)
    if schema.definition.incremental:
        _keep_values(session, layout)
    return rows


def _forget_kept(session: Session, *, incremental: bool) -> None:
    """Drop the values that are not the newest any more: the result has the key, or all there is."""
    k = session.k
    returned = f"(SELECT {k} FROM staged UNION ALL SELECT {k} FROM quarantined)"
    which = f" USING {returned} s WHERE {session.same_keys('kept', 's')}" if incremental else ""
    session.execute(f"DELETE FROM kept{which}")


def _keep_values(session: Session, layout: Layout) -> None:
    session.execute(f"DELETE FROM kept USING outbox o WHERE {session.same_keys('kept', 'o')}")
    columns = session.k + "".join(f", {c.physical}" for c in layout.fed)
    session.execute(
        f"INSERT INTO kept ({columns}) SELECT {columns} FROM staged "
        "SEMI JOIN (SELECT row_id FROM outbox) o ON staged.rowid = o.row_id"
    )


def _forget_departed(session: Session) -> None:
    """Drop rows that left the result where that means nothing to the store."""
    for table in ("snapshot", "in_doubt"):
        same = session.same_keys(table, "d")
        session.execute(f"DELETE FROM {table} USING changes d WHERE d.change = 'removed' AND {same}")


def _forget_unknown(session: Session) -> None:
    """Drop rows that the whole result has not, of which an old value would be all there is to send."""
    for table in ("snapshot", "in_doubt", "kept"):
        same = session.same_keys(table, "s")
        session.execute(f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM staged s WHERE {same})")


def batch_queries(session: Session, layout: Layout, *, rows: int, form: ValueForm) -> list[str]:
    """A query for each batch of at most so many *rows*, in the order to send."""
    removals, total = session.rows(f"SELECT count(*) FILTER (action <> '{Action.PUT}'), count(*) FROM outbox")[0]
    remove, put = _removal_sql(session, layout), _put_sql(session, layout, form)
    return [
        f"{query} WHERE seq BETWEEN {first} AND {min(first + rows - 1, last)} ORDER BY seq"
        for query, begin, last in ((remove, 1, removals), (put, removals + 1, total))
        for first in range(begin, last + 1, rows)
    ]


def whole_collection_queries(session: Session, layout: Layout, *, form: ValueForm) -> list[str]:
    """One query for all rows of a collection, in the order of their keys; none where nothing is in the outbox.

    What is not in the outbox is taken as it was acknowledged: nothing is sent that is not in doubt before.
    """
    if not session.any("SELECT 1 FROM outbox"):
        return []
    k = session.k
    acknowledged = whole_row(layout, form, "acknowledged")
    return [
        f"SELECT o.seq, o.action, {session.keys_of('o')}, "
        f"CASE WHEN o.action = '{Action.PUT}' THEN s.whole ELSE '{{}}' END AS attributes, '[]' AS cleared, "
        "b.acknowledged "
        f"FROM outbox o LEFT JOIN (SELECT rowid AS row_id, {whole_row(layout, form)} AS whole FROM staged) s "
        f"USING (row_id) LEFT JOIN (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) b "
        f"ON {session.same_keys('o', 'b')} "
        f"UNION ALL SELECT NULL, '{Action.PUT}', {k}, acknowledged, '[]', acknowledged "
        f"FROM (SELECT {k}, {acknowledged} AS acknowledged FROM snapshot) ANTI JOIN outbox USING ({k}) ORDER BY {k}"
    ]


def _removal_sql(session: Session, layout: Layout) -> str:
    every = json_array([literal(_json_text(c.name)) for c in in_file(session, layout.compared)])
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in layout.other_identifiers)
    return (
        f"SELECT seq, action, {session.k}, '{{}}' AS attributes, "
        f"CASE WHEN action = '{Action.CLEAR}' THEN {every} ELSE '[]' END AS cleared{own} FROM outbox"
    )


def _put_sql(session: Session, layout: Layout, form: ValueForm) -> str:
    own = layout.other_identifiers
    if not session.target.entity.traits.merges:
        attributes, cleared = whole_row(layout, form), "'[]'"
    else:
        # NULL stays NULL: such members are left out.
        members = [f"{json_name(c.name)} || {c.sent(c.physical, form)}" for c in layout.fed if c not in own]
        attributes = json_object(members)
        cleared = json_array([text for c in in_file(session, layout.compared) if (text := _cleared(layout, c))])
    return (
        f"SELECT seq, action, {session.keys_of('o')}, {attributes} AS attributes, {cleared} AS cleared"
        + "".join(f", {_plain(c)} AS {c.name}" for c in own)
        + " FROM outbox o JOIN staged s ON s.rowid = o.row_id"
    )


def _cleared(layout: Layout, column: StoredColumn) -> str:
    """SQL for the attribute's name as JSON where this row unsets it, else NULL; empty where it never does."""
    name = literal(_json_text(column.name))
    if column.fed is None:
        return name
    return "" if layout.schema.keeps_nulls else f"CASE WHEN {column.physical} IS NULL THEN {name} END"


def _plain(column: StoredColumn) -> str:
    """SQL for the value as bare text, as identifiers are."""
    if column.type is ColumnType.TEXT:
        return column.physical
    return f"json_extract_string({as_json(column.type, column.physical)}, '$')"


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
