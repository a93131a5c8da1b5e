"""How the state database is created, and how those of earlier versions are upgraded."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from io import BytesIO
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from syncer.model.importing import importing
from syncer.model.types import EndedBy, RunStatus
from syncer.model.upgrades import Formats
from syncer.state.newest_runs import newest_runs
from syncer.state.schema import (
    DELIVERY,
    INDEX_WELL,
    event_starts,
    forgotten_removals,
    latest,
    metadata,
    promises,
    rejections,
    removal_parts,
    removal_sets,
    runs,
    snapshot_parts,
    snapshots,
    state,
    written_attributes,
)
from syncer.state.service_schema import (
    alerts,
    audit,
    cancellations,
    job_tables,
    leases,
    mutes,
    rates,
    requests,
    sessions,
    terms,
    workers,
)

#: Seconds between two tries to set what only one process can at a time.
_LOOK_AGAIN = 0.05


def _know_the_service(connection: sa.Connection) -> None:
    """Format 2: who ordered a run and when it was due, and what a service remembers."""
    for column in ("actor TEXT NOT NULL DEFAULT ''", f"due_at {_zoned(connection)}", "term BIGINT"):
        connection.exec_driver_sql(f"ALTER TABLE syncer_runs ADD COLUMN {column}")
    connection.exec_driver_sql("CREATE UNIQUE INDEX syncer_runs_by_tick ON syncer_runs (sync, due_at)")
    connection.exec_driver_sql("CREATE INDEX syncer_runs_by_status ON syncer_runs (status)")
    for table in (snapshots, terms, requests, audit, sessions, alerts):
        table.create(connection)


def _date_removals(connection: sa.Connection) -> None:
    """Format 3: removals have an age, and go when they are old."""
    connection.exec_driver_sql(f"ALTER TABLE syncer_removals ADD COLUMN at {_zoned(connection)}")
    connection.exec_driver_sql("UPDATE syncer_removals SET at = CURRENT_TIMESTAMP")
    forgotten_removals.create(connection)


def _know_runs_better(connection: sa.Connection) -> None:
    """Format 4: runs have findings and an order, one row a sync tells of the newest, and attributes have writers."""
    connection.exec_driver_sql("ALTER TABLE syncer_runs ADD COLUMN findings JSON NOT NULL DEFAULT '[]'")
    written_attributes.create(connection)
    _number_runs(connection)


def _know_how_runs_are_made(connection: sa.Connection) -> None:
    """Format 5: runs have a scope, options and who ended them, and schedules the time from which they count."""
    _add_column(connection, runs.c.scope)
    _add_column(connection, runs.c.options)
    _add_column(connection, runs.c.ended_by)
    _add_column(connection, audit.c.options)
    connection.execute(runs.update().where(runs.c.status == RunStatus.INTERRUPTED).values(ended_by=_ended_by()))
    promises.create(connection)
    # What a service has answered is answered; what it has not is still due.
    known = sa.select(
        latest.c.sync,
        sa.func.coalesce(latest.c.last_due_at, sa.func.now()),
        latest.c.last_due_at.is_(None),
    )
    connection.execute(promises.insert().from_select(["sync", "since", "at_once"], known))


def _know_cancellations(connection: sa.Connection) -> None:
    """Format 6: any process can ask for the end of a run that another one makes."""
    cancellations.create(connection)


def _know_what_was_delivered(connection: sa.Connection) -> None:
    """Format 7: runs tell what they planned from what they delivered."""
    for name in (*DELIVERY, "fruitless"):
        _add_column(connection, runs.c[name])
    connection.exec_driver_sql(INDEX_WELL)


def _know_what_people_know(connection: sa.Connection) -> None:
    """Format 8: rejected rows have values and can be acknowledged, and the alerts of syncs can be muted."""
    for name in ("row_values", "row_digest", "differing"):
        _add_column(connection, rejections.c[name])
    for name in ("by", "why", "at", "until"):
        _add_column(connection, rejections.c[f"acknowledged_{name}"])
    next(iter(rejections.indexes)).create(connection, checkfirst=True)
    mutes.create(connection)


def _know_roles_of_sessions(connection: sa.Connection) -> None:
    """Format 9: sessions keep the role of people whom a provider named."""
    _add_column(connection, sessions.c.role)


#: Bytes of a part of a set.
_PART = 1 << 20


def _know_sets_of_removals(connection: sa.Connection) -> None:
    """Format 10: what a run removed is one set of keyed hashes, where each identifier was a row of its own."""
    removal_sets.create(connection)
    removal_parts.create(connection)
    names = ("store_id", "sync", "open", "at", "seq", "entity", "kind", "value")
    old = sa.table("syncer_removals", *[sa.column(name) for name in names])
    ordered = sa.select(old).order_by(*[old.c[name] for name in names[:5]])
    keys = defaultdict[str, str](lambda: secrets.token_urlsafe(16))
    rows = connection.execute(ordered.execution_options(yield_per=10_000))
    # Rows of one transaction have the same time, and those of one run were numbered and closed in one.
    for (store_id, sync, _, _), of_run in groupby(rows, key=lambda row: row[:4]):
        made, newest, entries = _hashed_names(of_run, keys[store_id])
        set_id = uuid.uuid4().hex
        for number, first in enumerate(range(0, len(made), _PART)):
            part = {"id": set_id, "number": number, "bytes": made[first : first + _PART]}
            connection.execute(removal_parts.insert().values(part))
        row = {"id": set_id, "key": keys[store_id], "entries": entries}
        taken = sa.select(old.c.store_id, old.c.sync, old.c.seq, old.c.open, old.c.at, *map(sa.literal, row.values()))
        which = (old.c.store_id == store_id) & (old.c.sync == sync) & (old.c.seq == newest)
        columns = ["store_id", "sync", "seq", "open", "at", *row]
        connection.execute(removal_sets.insert().from_select(columns, taken.where(which)))
    connection.exec_driver_sql("DROP TABLE syncer_removals")


def _hashed_names(rows: Iterable[sa.Row[Any]], key: str) -> tuple[bytes, int, int]:
    """The file of a RemovedSet of rows of format 9, the greatest number among them, and how many they are."""
    with importing:
        import pyarrow as pa
        from pyarrow import parquet

    entities, kinds, hashes, newest = list[str](), list[str](), bytearray(), 0
    for row in rows:
        entities.append(row.entity)
        kinds.append(row.kind)
        name = "\x1f".join([f"{key}{row.entity}", row.kind, row.value]).encode()
        # DuckDB's number of a digest has its bytes from the last to the first.
        hashes += hashlib.md5(name, usedforsecurity=False).digest()[::-1]
        newest = row.seq
    stored = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(kinds), [None, pa.py_buffer(hashes)])
    values = pa.ExtensionArray.from_storage(pa.uuid(), stored)
    parquet.write_table(pa.table({"entity": entities, "kind": kinds, "value": values}), file := BytesIO())
    return file.getvalue(), newest, len(kinds)


def _ended_by() -> sa.Case[str]:
    """Who ended a run that was interrupted, by the words that earlier versions had for it."""
    return sa.case(
        (runs.c.error.is_(None), EndedBy.CRASH),
        (runs.c.error.startswith("stopped by "), EndedBy.PERSON),
        (runs.c.error.startswith("stopped, as "), EndedBy.TAKEOVER),
        else_=EndedBy.SHUTDOWN,
    )


def _number_runs(connection: sa.Connection) -> None:
    """Runs have the order in which they were recorded, and one row a sync tells of the newest."""
    for name in ("sync", "status", "tick"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS syncer_runs_by_{name}")
    if connection.dialect.name == "postgresql":
        # To write the table twice takes a third of the time of an UPDATE.
        (primary_key,) = connection.exec_driver_sql(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'syncer_runs'::regclass AND indisprimary"
        ).scalars()
        for statement in (
            f"CLUSTER syncer_runs USING {primary_key}",
            "SET LOCAL synchronize_seqscans = off",
            "ALTER TABLE syncer_runs ADD COLUMN seq BIGINT GENERATED BY DEFAULT AS IDENTITY",
        ):
            connection.exec_driver_sql(statement)
    else:
        connection.exec_driver_sql("ALTER TABLE syncer_runs ADD COLUMN seq BIGINT NOT NULL DEFAULT 0")
        connection.exec_driver_sql("UPDATE syncer_runs SET seq = rowid")
    # Indexes, and what finds the newest runs, look at them.
    _add_column(connection, runs.c.scope)
    _add_column(connection, runs.c.fruitless)
    for index in sorted(runs.indexes, key=lambda index: str(index.name)):
        index.create(connection)
    connection.exec_driver_sql(INDEX_WELL)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE syncer_runs")
    latest.create(connection)
    fill_latest(connection)


def _know_altered_events(connection: sa.Connection) -> None:
    """Format 11: how many events changed after they were sent."""
    _add_column(connection, runs.c.altered)


def _know_starts_of_events(connection: sa.Connection) -> None:
    """Format 12: from when on events count, for stores that do not keep it, and how many people were merged."""
    event_starts.create(connection)
    _add_column(connection, runs.c.merged)


def _know_shared_snapshots(connection: sa.Connection) -> None:
    """Format 13: a snapshot may be where several machines reach it, with a row that says of what it is made, and
    workers may make runs, which one did, and how long each run waited, and keep one rate."""
    if sa.inspect(connection).has_table("syncer_newest_snapshots"):
        connection.exec_driver_sql(f"ALTER TABLE syncer_newest_snapshots RENAME TO {snapshots.name}")
    for column in (*snapshots.c, runs.c.ordered_at, runs.c.worker, runs.c.bytes_fetched):
        _add_column(connection, column)
    for table in (snapshot_parts, workers, leases, job_tables, rates):
        table.create(connection, checkfirst=True)


def fill_latest(connection: sa.Connection) -> None:
    """Bring every row of `latest` up to date, and make those that are missing, from the runs."""
    first = sa.select(runs.c.sync, sa.func.min(runs.c.started_at)).group_by(runs.c.sync)
    missing = first.where(runs.c.sync.not_in(sa.select(latest.c.sync)))
    connection.execute(latest.insert().from_select(["sync", "first_started_at"], missing))
    # Who writes a run meanwhile must not be overwritten with what was before.
    connection.execute(sa.select(latest.c.sync).with_for_update())
    newest = newest_runs(latest.alias("each"), is_shared=connection.dialect.name == "postgresql")
    values = {column.name: column for column in newest.c if column.name != "sync"}
    connection.execute(latest.update().where(latest.c.sync == newest.c.sync).values(values))


def take_in_earlier(connection: sa.Connection) -> None:
    """Take in what a service of an earlier version, which was running during the upgrade, has recorded since."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("UPDATE syncer_runs SET seq = rowid WHERE seq = 0")
    fill_latest(connection)


def _add_column(connection: sa.Connection, column: sa.Column[Any]) -> None:
    """Add a column of a later format, unless the table was created with it."""
    if column.name not in {known["name"] for known in sa.inspect(connection).get_columns(column.table.name)}:
        described = str(sa.schema.CreateColumn(column).compile(dialect=connection.dialect))
        connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {described}")


def _zoned(connection: sa.Connection) -> str:
    return runs.c.due_at.type.compile(connection.dialect)


FORMATS: Formats[sa.Connection] = Formats(
    (
        _know_the_service,
        _date_removals,
        _know_runs_better,
        _know_how_runs_are_made,
        _know_cancellations,
        _know_what_was_delivered,
        _know_what_people_know,
        _know_roles_of_sessions,
        _know_sets_of_removals,
        _know_altered_events,
        _know_starts_of_events,
        _know_shared_snapshots,
    )
)


def keep_log(engine: sa.Engine, *, seconds: float) -> None:
    """Let SQLite's readers wait for no writer, which its file keeps.

    Where another process sets it at the same moment, SQLite fails at once: it is set again then, for so many *seconds*.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with engine.connect() as connection:
                # No transaction may set it.
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
        except sa.exc.OperationalError as error:
            is_busy = getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            if not is_busy or time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_AGAIN)


def bring_up_to_date(
    transaction: Callable[[], AbstractContextManager[sa.Connection]], *, read: Callable[[sa.Connection], int]
) -> None:
    """Create the tables, or upgrade them; see `Formats.bring_up_to_date`."""
    FORMATS.bring_up_to_date(transaction, read=read, create=_create, record=_record)


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection)
    connection.execute(state.insert().values(schema_version=FORMATS.newest, log_id=str(uuid.uuid4())))


def _record(connection: sa.Connection, number: int) -> None:
    connection.execute(state.update().values(schema_version=number))
