"""The formats of an SQL profile store.

The format is recorded in the table `workspace_version`, in four digits. Alembic made it for the stores of the first
format, "0001"; it is kept as it is, so that every Syncer reads the format of every store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.model.upgrades import Formats

if TYPE_CHECKING:
    import sqlalchemy as sa


def _add_fences(connection: sa.Connection) -> None:
    name, number = ('TEXT COLLATE "C"', "BIGINT") if connection.dialect.name == "postgresql" else ("TEXT", "INTEGER")
    connection.exec_driver_sql(
        f"CREATE TABLE sync_fences (ledger {name} NOT NULL, sync {name} NOT NULL, fence {number} NOT NULL, "
        "run_id TEXT NOT NULL, PRIMARY KEY (ledger, sync))"
    )


def _add_moves(connection: sa.Connection) -> None:
    name, number, time = "TEXT", "INTEGER", "TEXT"
    if connection.dialect.name == "postgresql":
        name, number, time = 'TEXT COLLATE "C"', "BIGINT", "TIMESTAMP WITH TIME ZONE"
    connection.exec_driver_sql(
        f"CREATE TABLE identifier_moves (seq {number} NOT NULL, kind TEXT NOT NULL, value {name} NOT NULL, "
        f"moved_at {time} NOT NULL, PRIMARY KEY (seq))"
    )


def _leave_room(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Of pages that are full already nothing is rewritten.
        connection.exec_driver_sql("ALTER TABLE people SET (fillfactor = 50)")
        connection.exec_driver_sql("ALTER TABLE objects SET (fillfactor = 50)")


def _add_suppressions(connection: sa.Connection) -> None:
    name, time, now = "TEXT", "TEXT", "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"
    if connection.dialect.name == "postgresql":
        name, time, now = 'TEXT COLLATE "C"', "TIMESTAMP WITH TIME ZONE", "now()"
    connection.exec_driver_sql(
        f"CREATE TABLE suppressions (kind TEXT NOT NULL, value {name} NOT NULL, since {time} DEFAULT {now} NOT NULL, "
        "PRIMARY KEY (kind, value))"
    )


def _add_merged_people(connection: sa.Connection) -> None:
    name, number, time = "TEXT", "INTEGER", "TEXT"
    if connection.dialect.name == "postgresql":
        name, number, time = 'TEXT COLLATE "C"', "BIGINT", "TIMESTAMP WITH TIME ZONE"
    connection.exec_driver_sql(
        f"CREATE TABLE merged_people (kind TEXT NOT NULL, value {name} NOT NULL, person_id {number} NOT NULL, "
        f"merged_at {time} NOT NULL, PRIMARY KEY (kind, value), "
        "FOREIGN KEY(person_id) REFERENCES people (person_id) ON DELETE CASCADE)"
    )
    connection.exec_driver_sql("CREATE INDEX ix_merged_people_person_id ON merged_people (person_id)")


def _add_devices(connection: sa.Connection) -> None:
    name, number, json, time, now = "TEXT", "INTEGER", "TEXT", "TEXT", "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"
    filled = ""
    if connection.dialect.name == "postgresql":
        name, number, json, time = 'TEXT COLLATE "C"', "BIGINT", "JSONB", "TIMESTAMP WITH TIME ZONE"
        now, filled = "now()", " WITH (fillfactor = 50)"
    connection.exec_driver_sql(
        f"CREATE TABLE devices (token {name} NOT NULL, person_id {number} NOT NULL, platform TEXT NOT NULL, "
        f"last_used {time}, attributes {json} NOT NULL, created_at {time} DEFAULT {now} NOT NULL, "
        f"updated_at {time} DEFAULT {now} NOT NULL, PRIMARY KEY (token), "
        f"FOREIGN KEY(person_id) REFERENCES people (person_id) ON DELETE CASCADE){filled}"
    )
    connection.exec_driver_sql("CREATE INDEX devices_of_person ON devices (person_id)")


def _add_events(connection: sa.Connection) -> None:
    name, number, json, time, now = "TEXT", "INTEGER", "TEXT", "TEXT", "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"
    if connection.dialect.name == "postgresql":
        name, number, json, time, now = 'TEXT COLLATE "C"', "BIGINT", "JSONB", "TIMESTAMP WITH TIME ZONE", "now()"
    for statement in (
        f"CREATE TABLE events (event_id {name} NOT NULL, person_id {number}, anonymous_id {name}, "
        f"name {name} NOT NULL, kind TEXT NOT NULL, occurred_at {time} NOT NULL, "
        f"received_at {time} DEFAULT {now} NOT NULL, data {json} NOT NULL, PRIMARY KEY (event_id), "
        "FOREIGN KEY(person_id) REFERENCES people (person_id) ON DELETE CASCADE)",
        "CREATE UNIQUE INDEX events_once ON events (name, substr(event_id, 11))",
        "CREATE INDEX events_of_person ON events (person_id, occurred_at)",
        "CREATE INDEX events_by_name ON events (name, occurred_at)",
        f"CREATE TABLE event_starts (name {name} NOT NULL, key_columns {name} NOT NULL, start_at {time} NOT NULL, "
        "PRIMARY KEY (name, key_columns))",
    ):
        connection.exec_driver_sql(statement)


def _add_visitors(connection: sa.Connection) -> None:
    name, number, time, now = "TEXT", "INTEGER", "TEXT", "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"
    if connection.dialect.name == "postgresql":
        name, number, time, now = 'TEXT COLLATE "C"', "BIGINT", "TIMESTAMP WITH TIME ZONE", "now()"
    for statement in (
        f"CREATE TABLE visitors (anonymous_id {name} NOT NULL, person_id {number} NOT NULL, "
        f"claimed_at {time} DEFAULT {now} NOT NULL, PRIMARY KEY (anonymous_id), "
        "FOREIGN KEY(person_id) REFERENCES people (person_id) ON DELETE CASCADE)",
        "CREATE INDEX visitors_of_person ON visitors (person_id)",
        "CREATE INDEX events_of_visitor ON events (anonymous_id) WHERE anonymous_id IS NOT NULL",
        "CREATE INDEX events_unclaimed_since ON events (person_id, received_at) WHERE person_id IS NULL",
    ):
        connection.exec_driver_sql(statement)


def _add_phones(connection: sa.Connection) -> None:
    # No row is written anew. An index comes where the store's identity knows people by it: see `widening`.
    name = 'TEXT COLLATE "C"' if connection.dialect.name == "postgresql" else "TEXT"
    connection.exec_driver_sql(f"ALTER TABLE people ADD COLUMN phone {name}")


def _add_takes(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ALTER TABLE sync_fences ADD COLUMN taken BIGINT DEFAULT 0 NOT NULL")
        return
    # SQLite would put the column behind the key.
    for statement in (
        "ALTER TABLE sync_fences RENAME TO former_fences",
        "CREATE TABLE sync_fences (ledger TEXT NOT NULL, sync TEXT NOT NULL, fence INTEGER NOT NULL, "
        "run_id TEXT NOT NULL, taken INTEGER DEFAULT 0 NOT NULL, PRIMARY KEY (ledger, sync))",
        "INSERT INTO sync_fences (ledger, sync, fence, run_id) SELECT ledger, sync, fence, run_id FROM former_fences",
        "DROP TABLE former_fences",
    ):
        connection.exec_driver_sql(statement)


#: The tables in `schema` are those of the newest format: an upgrade changes both.
FORMATS: Formats[sa.Connection] = Formats(
    (
        *(_add_fences, _add_moves, _leave_room, _add_suppressions, _add_merged_people, _add_devices, _add_events),
        *(_add_visitors, _add_phones, _add_takes),
    )
)

#: The formats from which on the store remembers which run wrote last, which identifiers people lost, which are
#: suppressed, and which were merged, and from which on it has devices, events, visitors, people with a phone, and the
#: runs that it refuses.
WITH_FENCES, WITH_MOVES, _, WITH_SUPPRESSIONS, WITH_MERGES, WITH_DEVICES, WITH_EVENTS, WITH_VISITORS, *_LATER = range(
    2, FORMATS.newest + 1
)
WITH_PHONES, WITH_TAKES = _LATER
