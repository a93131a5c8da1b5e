"""The snapshot of one sync, open: the steps of a run begin here with `stage`.

Each step returns the value that the next one is called on: `Snapshot.stage`, `Staged.diff`, `Difference.open_outbox`,
then `Outbox.batches` and `Outbox.record` in turn, and `Outbox.settle`. A run that died after any of them is settled
when its ledger is opened again: see `opening`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from syncer.definitions.columns import attribute_columns
from syncer.model.errors import DefinitionError
from syncer.model.protocols import DEFAULT_CASE
from syncer.model.types import Rejection, SyncDefinition
from syncer.snapshot import devices, events, quarantine
from syncer.snapshot.columns import ColumnMap, ResultSchema, column_case, layout_of, whole_row, written_names
from syncer.snapshot.diff import Difference, compare
from syncer.snapshot.incoming import repeats_a_matched_row
from syncer.snapshot.ledger import Known, Ledger, Sharing, Workspace, kept_elsewhere
from syncer.snapshot.result_stream import Progress, ResultStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What the query returned, in the temporary tables `staged`, `gone` and `quarantined`.

    Rows are counted as the query returned them.

    Shapes:
        staged: k…, c… of the result's columns, fingerprint; a key once.
        gone: k…; what the snapshot has and the result lacks; empty for an incremental query.
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

    def diff(
        self,
        *,
        is_whole: bool = True,
        full: bool = False,
        only: tuple[str, ...] | None = None,
        whereabouts: Callable[[pa.Table], pa.Table] | None = None,
        event_start: datetime | None = None,
    ) -> Difference:
        """Compare with what was acknowledged, is in doubt, or was rejected.

        *is_whole*: the query was asked for its whole result, so that what it lacks has left it; as most are.
        *full* sends every row again; *only* looks at the row of one key. Both need every row staged.
        *whereabouts* as `NumbersPeople` has it, for the target: by it removals find the people who got the rows.
        *event_start*: from when on events count, aware, where the ledger does not know it yet.
        """
        if self.schema.event is not None:
            return events.compare(self._work, is_whole=is_whole, full=full, only=only, start=event_start)
        return compare(self._work, same=self.same, is_whole=is_whole, full=full, only=only, whereabouts=whereabouts)

    def has(self, key: tuple[str, ...]) -> bool:
        """Whether the result has a row of this key that can be sent."""
        session = self._work.session
        return session.any(f"SELECT 1 FROM staged WHERE {session.is_key(key)}")

    def quarantine_reason(self, key: tuple[str, ...]) -> str | None:
        """Why the row of *key* is in quarantine; None where it is not."""
        session = self._work.session
        rows = session.rows(f"SELECT reason FROM quarantined WHERE {session.is_key(key)}")
        return rows[0][0] if rows else None

    def values(self, key: tuple[str, ...]) -> dict[str, str | None] | None:
        """Each attribute of the row of *key* as JSON that the store takes, None for NULL; None without such a row."""
        session, columns = self._work.session, self._work.layout.fed
        sent = [f"CASE WHEN {c.physical} IS NOT NULL THEN {c.sent(c.physical)} END" for c in columns]
        rows = session.rows(f"SELECT {', '.join(['k1', *sent])} FROM staged WHERE {session.is_key(key)}")
        return dict(zip((c.name for c in columns), rows[0][1:], strict=True)) if rows else None

    def json_bytes(self) -> int:
        """Bytes of JSON that all staged rows make together."""
        return self._measured[0]

    def row_bytes(self) -> int:
        """Bytes of JSON of a staged row, on average; 0 without rows."""
        size, rows = self._measured
        return size // rows if rows else 0

    @property
    def _measured(self) -> tuple[int, int]:
        """Bytes of UTF-8 JSON of all staged rows as one array, and how many rows they are."""
        row = whole_row(self._work.layout)
        query = f"SELECT coalesce(sum(strlen({row}) + 1), 1) + 1, count(*) FROM staged"
        size, rows = self._work.session.rows(query)[0]
        return int(size), int(rows)


class Snapshot:
    """What one sync's store acknowledged, over any ledger; made by `opening.opened`."""

    def __init__(
        self, ledger: Ledger, *, path: Path | None = None, left: Sequence[Path] = (), address: str = ""
    ) -> None:
        """*left*: a former snapshot that is still where the sync's own is to be; *path*: of a file that is kept."""
        self.ledger = ledger
        #: Where other machines have it too.
        self.sharing: Sharing | None = None
        #: Whether it has all that these wrote down.
        self.is_current = False
        #: Whoever takes the sync after a plan of it began has another one.
        self.fence = 0
        self._address = address
        self._path = path
        self._left = left
        self._staged_layout: ColumnMap | None = None

    @property
    def former(self) -> list[Path]:
        """The files of former snapshots whose rows are to be removed from the store; see `snapshot.former`."""
        return [path for path in (*self._left, *self.ledger.former) if path.exists()]

    @cached_property
    def known(self) -> Known:
        """What a run needs to know of the ledger, once that has caught up with other runs."""
        return self.ledger.known()

    def take_over(self, sync: str, definition: SyncDefinition, store_id: str) -> bool:
        """Take the rows of a sync whose file was renamed, and is this *definition* now, for rows to be removed.

        Those that this sync feeds too stay. False if it was no other name of this one.
        """
        from syncer.snapshot import former

        path = self._path and self._path.with_name(f"{sync}.duckdb")
        if self._path is None or path is None or not path.exists():
            return False
        home = {"store_id": store_id, "address": self._address}
        if not former.adopt(path, sync, beside=self._path, definition=definition, home=home):
            return False
        self.ledger.remember_former(former.beside(self._path, "former"))
        self.ledger.notes.append(f"`{sync}` has this name now; what it sent, and this sync does not, is removed")
        return True

    @property
    def rows(self) -> int:
        """How many rows the store has accepted."""
        return self.ledger.session.count("SELECT count(*) FROM snapshot") + kept_elsewhere(self.ledger)

    @property
    def is_kept_elsewhere(self) -> bool:
        """Whether a warehouse keeps the rows, or did when the file was changed last."""
        return self.ledger.session.any("SELECT 1 FROM meta WHERE name = 'kept_in' AND value <> ''")

    @property
    def has_sent(self) -> bool:
        """Whether a run has sent anything from this snapshot."""
        return self.ledger.session.any("SELECT 1 FROM meta WHERE name IN ('claimed_by', 'last_sync_time')")

    def with_kept_names(self, definition: SyncDefinition, schema: pa.Schema) -> pa.Schema:
        """*schema*, with names that the warehouse folded as it has them, if earlier versions sent them so.

        They stay until the file changes, or the warehouse's URL says what case they have.
        """
        written, known = written_names(schema), self.known
        is_chosen = known.column_case or column_case(schema) not in ("", DEFAULT_CASE)
        if not written or is_chosen or known.settled_definition not in ("", definition.hash):
            return schema
        try:
            before, now = (set(attribute_columns(definition, names)) for names in (written, schema.names))
        except DefinitionError:
            # Whoever reads the schema next reports it.
            return schema
        stored = {name for (name,) in self.ledger.session.rows("SELECT name FROM columns")}
        if not stored & (before - now):
            return schema
        return pa.schema([field.with_name(name) for field, name in zip(schema, written, strict=True)])

    def stage(
        self,
        reader: pa.RecordBatchReader,
        schema: ResultSchema,
        progress: Progress = lambda rows: None,
        *,
        every_row: bool = False,
    ) -> Staged:
        """Read a result to its end; nothing durable changes.

        *every_row*: also those that did not change, for a `diff` with *full* or *only*.

        Raises:
            whatever *reader* raises; the rows read so far are no result.
        """
        layout = layout_of(self.ledger.session, schema)
        work = Workspace(
            ledger=self.ledger, session=self.ledger.session, layout=layout, known=self.known, sharing=self.sharing
        )
        session = work.session
        # A unique identifier is compared with those of all rows, and a collection is measured whole.
        every_row |= bool(schema.unique) or session.target.collection is not None
        # Only so is it known which emails an incremental result has.
        every_row |= schema.previous is not None and schema.definition.incremental
        elsewhere = self.ledger.warehouse_rows
        every_row = every_row or elsewhere is not None or not session.any("SELECT 1 FROM snapshot")
        incoming = ResultStream(
            reader,
            used=[a.position for a in schema.used if a.constant is None],
            remembered=[] if every_row else [key.position for key in schema.keys],
            progress=progress,
        )
        matched = self.ledger.differing(incoming, layout, every_row=every_row)
        staged, nulled, faulty = session.rows("SELECT count(*), coalesce(sum(nulled), 0), count(fault) FROM staged")[0]
        same, stayed = incoming.rows - staged, elsewhere.stayed if elsewhere else 0
        seen = incoming.seen if same and repeats_a_matched_row(session, schema, same, matched) else None
        aside = _set_aside(work, seen, is_any_faulty=faulty > 0)
        self._staged_layout = layout
        # What reading took is of no more use, and would count until the end of the run.
        pa.default_memory_pool().release_unused()
        return Staged(
            queried=incoming.rows + stayed,
            quarantined=aside.quarantined,
            repeated=aside.repeated,
            taken_for_null=int(nulled),
            same=same + stayed - aside.no_longer_same,
            _work=work,
        )

    def rejections(self, limit: int) -> tuple[list[Rejection], int]:
        """Rows that are rejected now, at most *limit* of them, oldest first, and how many there are.

        Values are known of those of the result that was staged last.
        """
        session = self.ledger.session
        total = session.count("SELECT coalesce(sum(rows), 0) FROM rejections")
        if not total:
            return [], 0
        # Most runs need none of it.
        from syncer.snapshot import rejected_rows

        return rejected_rows.found(session, self._staged_layout, limit), total


def _set_aside(work: Workspace, seen: Callable[[], pa.Table] | None, *, is_any_faulty: bool) -> quarantine.SetAside:
    """Make `quarantined`, and fill it where a staged row is faulty or shares its key or another identifier."""
    session, k = work.session, work.session.k
    none = f"SELECT {k}, fault AS reason, CAST(0 AS BIGINT) AS rows FROM staged LIMIT 0"
    session.execute(f"CREATE OR REPLACE TEMP TABLE quarantined AS {none}")
    session.execute("CREATE OR REPLACE TEMP TABLE faulty AS SELECT * FROM staged LIMIT 0")
    # Two keys of one hash are looked at once more.
    is_device = session.target.entity.traits.names_device
    alone = "k2" if is_device else k
    repeats = f"SELECT 1 FROM staged GROUP BY hash({alone}) HAVING count(*) > 1"
    is_alone = not work.layout.schema.unique and not session.any(repeats)
    is_alone = is_alone and not (is_device and devices.may_share(session))
    may_move = "SELECT 1 FROM staged WHERE previous IS NOT NULL"
    is_alone = is_alone and (work.layout.schema.previous is None or not session.any(may_move))
    if is_any_faulty or seen or not is_alone:
        return quarantine.set_aside(session, work.layout, seen)
    return quarantine.SetAside()
