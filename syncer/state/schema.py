"""The tables of the state database, SQLite or PostgreSQL, and the upgrades of older ones."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from syncer.model.types import Counts, Finding, FindingKind, Run, RunStatus, Trigger
from syncer.model.upgrades import Formats


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

metadata = sa.MetaData()

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
    sa.Index("syncer_runs_by_sync", "sync", "id", "status"),
    # A tick gets one run, however many services see it.
    sa.Index("syncer_runs_by_tick", "sync", "due_at", unique=True),
    sa.Index("syncer_runs_by_status", "status"),
)


def run_of(row: sa.Row[tuple[object, ...]]) -> Run:
    """A row of `runs`."""
    values = dict(row._mapping)
    counts = Counts(**{name: values.pop(name) for name in COUNTS})
    findings = tuple(Finding(**{**found, "kind": FindingKind(found["kind"])}) for found in row.findings)
    return Run(**values | {"counts": counts, "notes": tuple(row.notes), "findings": findings})


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

#: Which run last sent from a snapshot of each sync, on whatever machine: another snapshot than its own is out of date.
newest_snapshots = sa.Table(
    "syncer_newest_snapshots",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
)

#: One row once a service has led: which one led last, counted from 1.
terms = sa.Table(
    "syncer_terms",
    metadata,
    sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("holder", ShownText, nullable=False),
    sa.Column("began_at", AwareDateTime, nullable=False),
)

#: What callers of the API called their requests, so that one that is repeated is known again.
requests = sa.Table(
    "syncer_requests",
    metadata,
    sa.Column("key", ShownText, primary_key=True),
    sa.Column("sync", sa.Text, nullable=False),
    #: The options of the order: words, separated by blanks.
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("requested_at", AwareDateTime, nullable=False),
)

#: Who did what by way of the page and the API.
audit = sa.Table(
    "syncer_audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", AwareDateTime, nullable=False),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("address", ShownText, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("sync", ShownText, nullable=False),
    sa.Column("run_id", ShownText, nullable=False),
)

#: Who is logged in on the page.
sessions = sa.Table(
    "syncer_sessions",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("expires_at", AwareDateTime, nullable=False),
)

#: The open alerts; no row: all is well.
alerts = sa.Table(
    "syncer_alerts",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("since", AwareDateTime, nullable=False),
)

removals = sa.Table(
    "syncer_removals",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("entity", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    #: When it got its number, by the database's clock.
    sa.Column("at", AwareDateTime, default=sa.func.now()),
)
sa.Index("syncer_removals_by_seq", removals.c.store_id, removals.c.seq, unique=True)
# As text: an Index with a condition would import SQLAlchemy's dialect for PostgreSQL at every start.
sa.event.listen(
    removals,
    "after_create",
    sa.DDL("CREATE INDEX syncer_removals_open ON syncer_removals (store_id, sync) WHERE open"),  # type: ignore[no-untyped-call]
)


#: For each store, the greatest number of an entry of `removals` that was deleted for its age.
forgotten_removals = sa.Table(
    "syncer_forgotten_removals",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)


#: Which attributes each sync of a store writes.
written_attributes = sa.Table(
    "syncer_written_attributes",
    metadata,
    sa.Column("store_id", sa.Text, primary_key=True),
    #: What they are attributes of, as `Target.things`.
    sa.Column("things", sa.Text, primary_key=True),
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("attribute", sa.Text, primary_key=True),
)


def _know_the_service(connection: sa.Connection) -> None:
    """Format 2: who ordered a run and when it was due, and what a service remembers."""
    for column in ("actor TEXT NOT NULL DEFAULT ''", f"due_at {_zoned(connection)}", "term BIGINT"):
        connection.exec_driver_sql(f"ALTER TABLE syncer_runs ADD COLUMN {column}")
    connection.exec_driver_sql("CREATE UNIQUE INDEX syncer_runs_by_tick ON syncer_runs (sync, due_at)")
    connection.exec_driver_sql("CREATE INDEX syncer_runs_by_status ON syncer_runs (status)")
    for table in (newest_snapshots, terms, requests, audit, sessions, alerts):
        table.create(connection)


def _date_removals(connection: sa.Connection) -> None:
    """Format 3: removals have an age, and go when they are old."""
    connection.exec_driver_sql(f"ALTER TABLE syncer_removals ADD COLUMN at {_zoned(connection)}")
    connection.execute(removals.update().values(at=sa.func.now()))
    forgotten_removals.create(connection)


def _record_findings(connection: sa.Connection) -> None:
    """Format 4: runs say what they found out about what other syncs use too, and which attributes each sync writes."""
    connection.exec_driver_sql("ALTER TABLE syncer_runs ADD COLUMN findings JSON NOT NULL DEFAULT '[]'")
    written_attributes.create(connection)


def _zoned(connection: sa.Connection) -> str:
    return runs.c.due_at.type.compile(connection.dialect)


FORMATS: Formats[sa.Connection] = Formats((_know_the_service, _date_removals, _record_findings))


def read_state(connection: sa.Connection) -> tuple[int, str]:
    """The format and the id of the database; 0 and nothing where it is empty."""
    if not connection.dialect.has_table(connection, state.name):
        return 0, ""
    row = connection.execute(sa.select(state.c.schema_version, state.c.log_id)).one()
    return row.schema_version, row.log_id


def bring_up_to_date(transaction: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
    """Create the tables, or upgrade them; see `Formats.bring_up_to_date`."""
    FORMATS.bring_up_to_date(transaction, read=lambda found: read_state(found)[0], create=_create, record=_record)


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection)
    connection.execute(state.insert().values(schema_version=FORMATS.newest, log_id=str(uuid.uuid4())))


def _record(connection: sa.Connection, number: int) -> None:
    connection.execute(state.update().values(schema_version=number))
