"""The tables of the state database, SQLite or PostgreSQL."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from syncer.model.types import (
    OPEN,
    Changes,
    Counts,
    Delivery,
    EndedBy,
    Finding,
    FindingKind,
    Run,
    RunScope,
    RunStatus,
    Trigger,
)


class AwareDateTime(TypeDecorator[datetime]):
    """An aware time, kept and given back in UTC to the microsecond."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, which SQLite keeps as text without its offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC again, whatever zone the server's session has."""
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        """For SQLite, one call a value: a page of the overview reads thousands."""
        if dialect.name == "sqlite":
            return lambda text: None if text is None else datetime.fromisoformat(f"{text}+00:00")
        return super().result_processor(dialect, coltype)


class ShownText(TypeDecorator[str]):
    """Text for people; what a database cannot keep (NUL, a lone surrogate) is kept as a sign for it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Text that every database takes."""
        return None if value is None else value.replace("\0", "␀").encode(errors="replace").decode()


def _word(words: type[enum.StrEnum]) -> sa.Enum:
    return sa.Enum(words, native_enum=False, length=20, values_callable=lambda words: [word.value for word in words])


COUNTS = tuple(field.name for field in fields(Counts))
#: Those of a run's Changes, with `planned_` or `delivered_` before them.
CHANGES = tuple(field.name for field in fields(Changes))
#: Whether a run delivered what it found, but for some rejected rows.
WELL = "status IN ('success', 'warning') AND fruitless IS NOT TRUE AND scope <> 'rows'"
#: The columns of a run's Delivery.
DELIVERY = (
    *(f"{side}_{change}" for side in ("planned", "delivered") for change in CHANGES),
    "quarantined",
    "in_doubt",
)

metadata = sa.MetaData()

#: The format that this program creates and reads.
NEWEST = 13

#: One row. `schema_version` is the format.
state = sa.Table(
    "syncer_state",
    metadata,
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("log_id", sa.Text, nullable=False),
)

runs = sa.Table(
    "syncer_runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    #: The order of the log, whatever the clock. SQLite's `rowid`, or 0 of a run that an earlier version recorded since.
    sa.Column("seq", sa.BigInteger, sa.Identity(), nullable=False),
    sa.Column("sync", sa.Text, nullable=False),
    sa.Column("trigger", _word(Trigger), nullable=False),
    sa.Column("status", _word(RunStatus), nullable=False),
    sa.Column("definition_hash", sa.Text, nullable=False),
    sa.Column("actor", ShownText, nullable=False, server_default=""),
    sa.Column("due_at", AwareDateTime),
    sa.Column("term", sa.BigInteger),
    sa.Column("started_at", AwareDateTime, nullable=False),
    sa.Column("finished_at", AwareDateTime),
    *(sa.Column(count, sa.BigInteger, nullable=False, server_default="0") for count in COUNTS),
    sa.Column("phases", sa.JSON, nullable=False),
    sa.Column("error", ShownText),
    sa.Column("hint", ShownText, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    #: Objects with the fields of `Finding`.
    sa.Column("findings", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("scope", _word(RunScope), nullable=False, server_default=RunScope.WHOLE.value),
    #: Words, separated by blanks.
    sa.Column("options", sa.Text, nullable=False, server_default=""),
    sa.Column("ended_by", _word(EndedBy)),
    # NULL in runs of earlier versions.
    *(sa.Column(name, sa.BigInteger) for name in DELIVERY),
    #: As `Run.fruitless`.
    sa.Column("fruitless", sa.Boolean),
    #: NULL where it never waited, and of a run that no worker makes.
    sa.Column("ordered_at", AwareDateTime),
    sa.Column("worker", sa.Text),
    #: NULL in runs of earlier versions.
    sa.Column("bytes_fetched", sa.BigInteger),
    # A tick gets one run, however many services see it.
    sa.Index("syncer_runs_by_tick", "sync", "due_at", unique=True),
    sa.Index("syncer_runs_by_seq", "seq"),
    sa.Index("syncer_runs_by_sync", "sync", "seq"),
    sa.Index("syncer_runs_by_kind", "sync", "status", "seq"),
    sa.Index("syncer_runs_by_status", "status", "seq"),
    sa.Index("syncer_runs_by_start", "started_at"),
)

#: Makes an index that both databases use only where the query has the same literals. As an `Index` it would let
#: SQLAlchemy load its drivers of PostgreSQL, with every start.
INDEX_WELL = f"CREATE INDEX IF NOT EXISTS syncer_runs_well ON {runs.name} (sync, seq) WHERE {WELL}"


@sa.event.listens_for(runs, "after_create")
def _index_well(_table: sa.Table, connection: sa.Connection, **_: Any) -> None:
    connection.exec_driver_sql(INDEX_WELL)


#: One row for each sync that ever had a run, kept up to date by each transaction that writes a run: lists of many syncs
#: look at no run. Every column but the first two follows from the runs; see `newest_runs`.
latest = sa.Table(
    "syncer_latest",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    #: When its first run started, or would have.
    sa.Column("first_started_at", AwareDateTime, nullable=False),
    sa.Column("last_due_at", AwareDateTime),
    # The newest run that has begun, and that is not about single rows.
    sa.Column("last_seq", sa.BigInteger),
    sa.Column("last_id", sa.Text),
    sa.Column("last_status", _word(RunStatus)),
    sa.Column("last_started_at", AwareDateTime),
    sa.Column("last_finished_at", AwareDateTime),
    # The newest of these that has ended.
    sa.Column("ended_status", _word(RunStatus)),
    sa.Column("ended_started_at", AwareDateTime),
    sa.Column("ended_finished_at", AwareDateTime),
    # The newest that shows the state of the sync, and the newest that ended well.
    sa.Column("conclusive_seq", sa.BigInteger),
    sa.Column("well_started_at", AwareDateTime),
)


def run_of(row: sa.Row[tuple[object, ...]]) -> Run:
    """A row of `runs`."""
    values = dict(row._mapping)
    del values["seq"]
    counts = Counts(**{name: values.pop(name) for name in COUNTS})
    findings = tuple(Finding(**{**found, "kind": FindingKind(found["kind"])}) for found in row.findings)
    delivery, fruitless = _delivery(*[values.pop(name) for name in DELIVERY]), bool(values.pop("fruitless"))
    lists = {"notes": tuple(row.notes), "findings": findings, "options": tuple(row.options.split())}
    values["ended_by"] = None if row.status in OPEN else row.ended_by  # There, another run of its sync has begun.
    return Run(**values | {"counts": counts, "delivery": delivery, "fruitless": fruitless, **lists})


def _delivery(*values: int | None) -> Delivery | None:
    if None in values:
        return None
    numbers = [value or 0 for value in values]
    sides = (dict(zip(CHANGES, numbers[first:], strict=False)) for first in (0, len(CHANGES)))
    planned, delivered = (Changes(**side) for side in sides)
    return Delivery(planned=planned, delivered=delivered, quarantined=numbers[-2], in_doubt=numbers[-1])


def delivery_values(delivery: Delivery) -> dict[str, int]:
    """The columns of *delivery* in `runs`."""
    numbers = [getattr(side, change) for side in (delivery.planned, delivery.delivered) for change in CHANGES]
    return dict(zip(DELIVERY, [*numbers, delivery.quarantined, delivery.in_doubt], strict=True))


#: The most rejections of one sync that are kept; beyond them only the number is known.
KEPT_REJECTIONS = 10_000

rejections = sa.Table(
    "syncer_rejections",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", ShownText, nullable=False),
    sa.Column("reason", ShownText, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_seen", AwareDateTime, nullable=False),
    sa.Column("last_seen", AwareDateTime, nullable=False),
    # As RejectedRow has them; `differing` are its columns, a line each.
    sa.Column("row_values", ShownText),
    sa.Column("row_digest", sa.Text, nullable=False, server_default=""),
    sa.Column("differing", ShownText, nullable=False, server_default=""),
    # As Acknowledgement has them; NULL where there is none. One that has expired may still be here.
    sa.Column("acknowledged_by", ShownText),
    sa.Column("acknowledged_why", ShownText),
    sa.Column("acknowledged_at", AwareDateTime),
    sa.Column("acknowledged_until", AwareDateTime),
    sa.Index("syncer_rejections_acknowledged", "sync", "acknowledged_until"),
)

#: How many rows a sync has refused, of which `rejections` holds the first; no row means none.
rejection_totals = sa.Table(
    "syncer_rejection_totals",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
)

pauses = sa.Table(
    "syncer_pauses",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("paused_at", AwareDateTime, nullable=False),
)

#: From when on the ticks of each sync's schedule count; a sync without a row never had one.
promises = sa.Table(
    "syncer_promises",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    #: The schedule that counts; empty while none does, as while the sync is paused; NULL where no service has seen it.
    sa.Column("schedule", sa.Text),
    sa.Column("since", AwareDateTime, nullable=False),
    #: Whether a schedule by interval is due at once, as that of a new sync.
    sa.Column("at_once", sa.Boolean, nullable=False),
)

#: The snapshot of each sync that has sent anything: where it is, what it is made of, and who may change that.
snapshots = sa.Table(
    "syncer_snapshots",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    #: Which run last sent from it, on whatever machine: a local file that does not know it is out of date.
    sa.Column("run_id", sa.Text, nullable=False, server_default=""),
    #: Who took it last has the greatest, and changes the row where it still stands.
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    #: `database` or a URL; NULL for a file in the state folder of a machine.
    sa.Column("place", sa.Text),
    #: The names of its objects there: the base, what changed since, in order, and what else it remembers, by name.
    sa.Column("base", sa.Text),
    sa.Column("deltas", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("files", sa.JSON, nullable=False, server_default="{}"),
    #: Those of the base before, and of what had changed since.
    sa.Column("previous", sa.JSON, nullable=False, server_default="[]"),
    #: Of the objects; see `shared.copies`.
    sa.Column("format", sa.Integer, nullable=False, server_default="0"),
    #: That the store had acknowledged, and the bytes of base and deltas.
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
)

#: The objects of snapshots that are kept in the run log's own database, in parts.
snapshot_parts = sa.Table(
    "syncer_snapshot_parts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    #: By the database's clock.
    sa.Column("at", AwareDateTime, nullable=False, server_default=sa.func.now()),
)

#: What a sync removed, unset or moved in one run: one immutable set of keyed hashes each; see `state.coordination`.
removal_sets = sa.Table(
    "syncer_removal_sets",
    metadata,
    #: Names its file, if that lies beside an SQLite database.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("sync", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    #: When it got its number, by the database's clock.
    sa.Column("at", AwareDateTime, default=sa.func.now()),
    #: Of the hashes.
    sa.Column("key", sa.Text, nullable=False),
    #: How many hashes it has.
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Index("syncer_removal_sets_by_seq", "store_id", "seq", unique=True),
)

#: The Parquet file of a set, in parts, where it lies in the database.
removal_parts = sa.Table(
    "syncer_removal_parts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
)

#: For each store, the greatest number of one of `removal_sets` that was deleted for its age.
forgotten_removals = sa.Table(
    "syncer_forgotten_removals",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)

#: From when on the events of a store count that keeps it nowhere itself, by the event's name and key.
event_starts = sa.Table(
    "syncer_event_starts",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key_columns", sa.Text, primary_key=True),
    sa.Column("start_at", AwareDateTime, nullable=False),
)

#: Which attributes each sync of a store writes.
written_attributes = sa.Table(
    "syncer_written_attributes",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    #: What they are attributes of, as `Target.things`; with `former ` before it for those that it wrote earlier, and
    #: with `renamed ` where the sync has another name now.
    sa.Column("things", sa.Text, primary_key=True),
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("attribute", sa.Text, primary_key=True),
)
