"""Staging: a result's batches become typed rows, and rows that cannot be sent are quarantined.

A row of which the result says just what it said when the store acknowledged it is known by its fingerprint, and is not
staged at all: most rows of most runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from syncer.model.types import ValueForm
from syncer.snapshot import quarantine
from syncer.snapshot.columns import Layout, ResultSchema, whole_row
from syncer.snapshot.diff import Difference, compare
from syncer.snapshot.result_stream import Progress, ResultStream
from syncer.snapshot.session import Session
from syncer.snapshot.staged_rows import key_sql, staged_rows_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What the query returned, in the temporary tables `staged`, `gone` and `quarantined`.

    Rows are counted as the query returned them.

    Shapes:
        staged: k…, c… of the result's columns, fingerprint; a key once.
        gone: k…; what the snapshot has and the result has not; empty for an incremental query.
        quarantined: k… (NULL where the row has none), reason, rows.
    """

    queried: int
    #: Rows in quarantine.
    quarantined: int
    #: Equal rows under one key, beyond the first of each.
    repeated: int
    #: Values without a JSON form (NaN, infinity, years of five digits), taken for NULL.
    taken_for_null: int
    #: Rows that are as they were when they were acknowledged, and not in `staged`.
    same: int
    #: Whether rows may have been sent from another snapshot than this since it was settled.
    outdated: bool = field(compare=False)
    #: The newest claim of the sync when the snapshot was opened.
    newest_claim: str = field(compare=False)
    _session: Session = field(repr=False, compare=False)
    _layout: Layout = field(repr=False, compare=False)

    @property
    def schema(self) -> ResultSchema:
        """The result's columns."""
        return self._layout.schema

    def diff(self, *, full: bool = False, only: tuple[str, ...] | None = None) -> Difference:
        """Compare with what was acknowledged, is in doubt, or was rejected.

        *full* sends every row again; *only* looks at the row of one key. Both need every row staged.
        """
        return compare(
            self._session,
            self._layout,
            same=self.same,
            outdated=self.outdated,
            newest_claim=self.newest_claim,
            full=full,
            only=only,
        )

    def has(self, key: tuple[str, ...]) -> bool:
        """Whether the result has a row of this key that can be sent."""
        return self._session.any(f"SELECT 1 FROM staged WHERE {self._is(key)}")

    def quarantine_reason(self, key: tuple[str, ...]) -> str | None:
        """Why the row of *key* is in quarantine; None where it is not."""
        rows = self._session.rows(f"SELECT reason FROM quarantined WHERE {self._is(key)}")
        return rows[0][0] if rows else None

    def json_bytes(self, form: ValueForm = ValueForm.EXACT) -> int:
        """Bytes of JSON that all staged rows make together."""
        return self._measured(form)[0]

    def row_bytes(self, form: ValueForm = ValueForm.EXACT) -> int:
        """Bytes of JSON of a staged row, on average; 0 without rows."""
        size, rows = self._measured(form)
        return size // rows if rows else 0

    def _measured(self, form: ValueForm) -> tuple[int, int]:
        """Bytes of UTF-8 JSON of all staged rows as one array, and how many rows they are."""
        query = f"SELECT coalesce(sum(strlen({whole_row(self._layout, form)}) + 1), 1) + 1, count(*) FROM staged"
        size, rows = self._session.rows(query)[0]
        return int(size), int(rows)

    def _is(self, key: tuple[str, ...]) -> str:
        return quarantine.is_key(self._session, key)


def stage(
    session: Session,
    layout: Layout,
    reader: pa.RecordBatchReader,
    progress: Progress,
    *,
    every_row: bool,
    outdated: bool,
    newest_claim: str,
) -> Staged:
    """Read *reader* to its end; nothing durable changes.

    Shapes:
        every_row: whether rows that did not change are staged too.
    Raises:
        whatever *reader* raises; then there is no table `staged`.
    """
    schema = layout.schema
    acknowledged = session.count("SELECT count(*) FROM snapshot")
    # A unique identifier is compared with those of all rows, and a collection is measured whole.
    every_row |= schema.unique is not None or session.target.collection is not None or acknowledged == 0
    incoming = ResultStream(
        reader,
        used=[a.position for a in (*schema.keys, *schema.attributes)],
        remembered=[] if every_row else [key.position for key in schema.keys],
        progress=progress,
    )
    session.execute("DROP TABLE IF EXISTS staged")
    _read(session, incoming, staged_rows_sql(session, layout, every_row=every_row))
    unmatched = acknowledged if every_row else _split_unmatched(session)
    _find_gone(session, schema, every_row=every_row)
    staged, nulled = session.rows("SELECT count(*), coalesce(sum(nulled), 0) FROM staged")[0]
    same = incoming.rows - staged
    repeated, no_more = quarantine.settle_repeated_keys(
        session,
        layout,
        seen=incoming.seen if same and _repeats_a_matched_row(session, schema, same, unmatched) else None,
        key_sql=key_sql(schema),
    )
    if schema.unique is not None:
        quarantine.mark_shared_identifiers(session, layout, schema.unique)
    # What reading took is of no more use, and would count until the end of the run.
    pa.default_memory_pool().release_unused()
    return Staged(
        queried=incoming.rows,
        quarantined=quarantine.move_faulty_rows(session),
        repeated=repeated,
        taken_for_null=int(nulled),
        same=same - no_more,
        outdated=outdated,
        newest_claim=newest_claim,
        _session=session,
        _layout=layout,
    )


def _read(session: Session, incoming: ResultStream, statement: str) -> None:
    try:
        session.connection.register("incoming", incoming.stream())
        with _joined_as_written(session):
            session.execute(statement)
    except Exception:
        if incoming.failure:
            raise incoming.failure from None
        raise
    finally:
        session.connection.unregister("incoming")


@contextmanager
def _joined_as_written(session: Session) -> Iterator[None]:
    """Let the result stream past the snapshot: DuckDB takes a stream for tiny, and would hold all of it instead."""
    session.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    try:
        yield
    finally:
        session.execute("RESET disabled_optimizers")


def _split_unmatched(session: Session) -> int:
    """Move the ids of snapshot rows that no row matched from `staged` to `unmatched`; returns how many they are."""
    session.execute("CREATE OR REPLACE TEMP TABLE unmatched AS SELECT row_id FROM staged WHERE row_id IS NOT NULL")
    unmatched = session.count("SELECT count(*) FROM unmatched")
    if unmatched:
        session.execute("DELETE FROM staged WHERE row_id IS NOT NULL")
    return unmatched


def _find_gone(session: Session, schema: ResultSchema, *, every_row: bool) -> None:
    k = session.k
    source = "snapshot" if every_row else "snapshot h JOIN unmatched u ON h.rowid = u.row_id"
    none = " LIMIT 0" if schema.definition.incremental else ""
    session.execute(f"CREATE OR REPLACE TEMP TABLE gone AS SELECT {k} FROM {source} ANTI JOIN staged USING ({k}){none}")


def _repeats_a_matched_row(session: Session, schema: ResultSchema, same: int, unmatched: int) -> bool:
    """Whether a row of the result may have the key of one that was left out of `staged`, for it did not change."""
    if schema.definition.incremental or same > session.count("SELECT count(*) FROM snapshot") - unmatched:
        return True
    staged = f"SELECT h.rowid AS row_id FROM snapshot h SEMI JOIN staged USING ({session.k})"
    return session.any(f"SELECT 1 FROM ({staged}) ANTI JOIN unmatched USING (row_id)")
