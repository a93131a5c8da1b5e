"""Staging: a result's batches become typed rows, and rows that cannot be sent are quarantined.

A row of which the result says just what it said when the store acknowledged it is known by its fingerprint, and is not
staged at all: most rows of most runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from syncer.model.types import ValueForm
from syncer.snapshot import quarantine
from syncer.snapshot.columns import ResultSchema, whole_row
from syncer.snapshot.diff import Difference, compare
from syncer.snapshot.ledger import Workspace
from syncer.snapshot.result_stream import Progress, ResultStream
from syncer.snapshot.staged_rows import key_sql


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
    _work: Workspace = field(repr=False, compare=False)

    @property
    def schema(self) -> ResultSchema:
        """The result's columns."""
        return self._work.layout.schema

    def diff(self, *, full: bool = False, only: tuple[str, ...] | None = None) -> Difference:
        """Compare with what was acknowledged, is in doubt, or was rejected.

        *full* sends every row again; *only* looks at the row of one key. Both need every row staged.
        """
        return compare(self._work, same=self.same, full=full, only=only)

    def has(self, key: tuple[str, ...]) -> bool:
        """Whether the result has a row of this key that can be sent."""
        session = self._work.session
        return session.any(f"SELECT 1 FROM staged WHERE {session.is_key(key)}")

    def quarantine_reason(self, key: tuple[str, ...]) -> str | None:
        """Why the row of *key* is in quarantine; None where it is not."""
        session = self._work.session
        rows = session.rows(f"SELECT reason FROM quarantined WHERE {session.is_key(key)}")
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
        row = whole_row(self._work.layout, form)
        query = f"SELECT coalesce(sum(strlen({row}) + 1), 1) + 1, count(*) FROM staged"
        size, rows = self._work.session.rows(query)[0]
        return int(size), int(rows)


def stage(work: Workspace, reader: pa.RecordBatchReader, progress: Progress, *, every_row: bool) -> Staged:
    """Read *reader* to its end; nothing durable changes.

    Shapes:
        every_row: whether rows that did not change are staged too.
    Raises:
        whatever *reader* raises; then there is no table `staged`.
    """
    session, schema = work.session, work.layout.schema
    # A unique identifier is compared with those of all rows, and a collection is measured whole.
    every_row |= schema.unique is not None or session.target.collection is not None
    every_row = every_row or not session.any("SELECT 1 FROM snapshot")
    incoming = ResultStream(
        reader,
        used=[a.position for a in (*schema.keys, *schema.attributes)],
        remembered=[] if every_row else [key.position for key in schema.keys],
        progress=progress,
    )
    matched = work.ledger.differing(incoming, work.layout, every_row=every_row)
    staged, nulled = session.rows("SELECT count(*), coalesce(sum(nulled), 0) FROM staged")[0]
    same = incoming.rows - staged
    repeated, no_more = quarantine.settle_repeated_keys(
        session,
        work.layout,
        seen=incoming.seen if same and _repeats_a_matched_row(work, same, matched) else None,
        key_sql=key_sql(schema),
    )
    if schema.unique is not None:
        quarantine.mark_shared_identifiers(session, work.layout, schema.unique)
    # What reading took is of no more use, and would count until the end of the run.
    pa.default_memory_pool().release_unused()
    return Staged(
        queried=incoming.rows,
        quarantined=quarantine.move_faulty_rows(session),
        repeated=repeated,
        taken_for_null=int(nulled),
        same=same - no_more,
        _work=work,
    )


def _repeats_a_matched_row(work: Workspace, same: int, matched: int) -> bool:
    """Whether a row of the result may have the key of one that was left out of `staged`, for it did not change."""
    if work.layout.schema.definition.incremental or same > matched:
        return True
    # The rows of the snapshot that have a staged key are those that matched no row and are not gone, or there are more.
    met, snapshot, gone = work.session.rows(
        f"SELECT (SELECT count(*) FROM snapshot SEMI JOIN staged USING ({work.session.k})), "
        "(SELECT count(*) FROM snapshot), (SELECT count(*) FROM gone)"
    )[0]
    return bool(met > snapshot - matched - gone)
