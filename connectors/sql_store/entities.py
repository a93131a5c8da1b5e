"""Objects, relationships, collections and devices, as SQL over a batch in the temporary table `batch`."""

from __future__ import annotations

from collections.abc import Collection

from connectors.sql_store import people
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.upgrades import (
    WITH_DEVICES,
    WITH_EVENTS,
    WITH_FENCES,
    WITH_MERGES,
    WITH_MOVES,
    WITH_SUPPRESSIONS,
    WITH_VISITORS,
)
from syncer.model.types import PersonKey

#: Every table that runs write, and the columns that they give.
_WRITTEN = {
    "people": "id, email, attributes",
    "objects": "object_type, object_id, attributes",
    "relationships": "person_id, object_type, object_id, attributes",
    "devices": "token, person_id, platform, last_used, attributes",
    "collections": "name",
    "collection_rows": "collection, key, data",
    "identifier_moves": "seq, kind, value, moved_at",
    "suppressions": "kind, value, since",
    "merged_people": "kind, value, person_id, merged_at",
    "sync_fences": "ledger, sync, fence, run_id",
    "events": "event_id, person_id, anonymous_id, name, kind, occurred_at, received_at, data",
    "event_starts": "name, key_columns, start_at",
    "visitors": "anonymous_id, person_id, claimed_at",
}
#: The format that each of them came with, where it is not the first.
_SINCE = {
    "sync_fences": WITH_FENCES,
    "identifier_moves": WITH_MOVES,
    "suppressions": WITH_SUPPRESSIONS,
    "merged_people": WITH_MERGES,
    "devices": WITH_DEVICES,
    "events": WITH_EVENTS,
    "event_starts": WITH_EVENTS,
    "visitors": WITH_VISITORS,
}


def apply_objects(execute: Execute, dialect: SQLDialect, object_type: str, *, create: bool) -> None:
    """Bring the objects of one type in line with the batch."""
    stored = "t.object_type = :object_type AND t.object_id = b.object_id"
    execute(
        "DELETE FROM objects WHERE object_type = :object_type "
        "AND object_id IN (SELECT object_id FROM batch WHERE action = 'delete')",
        object_type=object_type,
    )
    if not create:
        execute(
            "UPDATE batch AS b SET verdict = 'absent' "
            f"WHERE b.action = 'put' AND NOT EXISTS (SELECT 1 FROM objects AS t WHERE {stored})",
            object_type=object_type,
        )
    _put(execute, dialect, "objects", {"object_type": ":object_type", "object_id": "b.object_id"}, object_type)


def apply_relationships(
    execute: Execute,
    dialect: SQLDialect,
    key: PersonKey,
    object_type: str,
    columns: Collection[str],
    *,
    create: bool,
) -> None:
    """Bring the relationships of people to objects of one type in line with the batch, which has these *columns*."""
    people.find(execute, key, columns)
    execute(
        "DELETE FROM relationships WHERE object_type = :object_type AND (person_id, object_id) IN "
        "(SELECT person_id, object_id FROM batch WHERE action = 'delete' AND person_id IS NOT NULL)",
        object_type=object_type,
    )
    people.reject_missing(execute, "the person does not exist yet", create=create)
    verdict = "verdict = 'rejected', reason = 'the object does not exist yet'" if create else "verdict = 'absent'"
    execute(
        f"UPDATE batch AS b SET {verdict} WHERE b.action = 'put' AND b.verdict IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM objects AS o WHERE o.object_type = :object_type AND o.object_id = b.object_id)",
        object_type=object_type,
    )
    columns = {"person_id": "b.person_id", "object_type": ":object_type", "object_id": "b.object_id"}
    _put(execute, dialect, "relationships", columns, object_type)


def _put(execute: Execute, dialect: SQLDialect, table: str, key: dict[str, str], object_type: str) -> None:
    """Merge the batch's rows without a verdict into *table*, by its key's columns and their values."""
    stored = " AND ".join(f"t.{column} = {value}" for column, value in key.items())
    execute(
        f"UPDATE {table} AS t SET attributes = {dialect.merged}, updated_at = {dialect.now} FROM batch AS b "
        f"WHERE {stored} AND b.verdict IS NULL",
        object_type=object_type,
    )
    execute(
        f"INSERT INTO {table} ({', '.join(key)}, attributes) SELECT {', '.join(key.values())}, b.attributes "
        "FROM batch AS b WHERE b.action = 'put' AND b.verdict IS NULL "
        f"AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {stored})",
        object_type=object_type,
    )


def apply_collection(execute: Execute, dialect: SQLDialect, collection: str) -> None:
    """Bring the rows of one collection in line with the batch; the collection is made with its first row."""
    touch_collection(execute, dialect, collection, where="EXISTS (SELECT 1 FROM batch WHERE action = 'put')")
    execute(
        "DELETE FROM collection_rows WHERE collection = :name "
        "AND key IN (SELECT key FROM batch WHERE action = 'delete')",
        name=collection,
    )
    execute(
        "INSERT INTO collection_rows (collection, key, data) SELECT :name, key, attributes FROM batch "
        "WHERE action = 'put' ON CONFLICT (collection, key) DO UPDATE SET data = excluded.data",
        name=collection,
    )


def touch_collection(execute: Execute, dialect: SQLDialect, collection: str, *, where: str = "true") -> None:
    """Let the collection be changed now; one that does not exist is made if the SQL *where* is true."""
    if not execute(f"UPDATE collections SET updated_at = {dialect.now} WHERE name = :name", name=collection):
        execute(f"INSERT INTO collections (name) SELECT :name WHERE {where}", name=collection)


def apply_devices(
    execute: Execute, dialect: SQLDialect, key: PersonKey, columns: Collection[str], *, create: bool
) -> None:
    """Bring the devices of people in line with the batch, which has these *columns*.

    A token that somebody else has moves with its row, and nothing else of the device does.
    """
    people.find(execute, key, columns)
    execute(
        "DELETE FROM devices WHERE (person_id, token) IN "
        "(SELECT person_id, token FROM batch WHERE action = 'delete' AND person_id IS NOT NULL)"
    )
    if create and key is not PersonKey.CIO_ID:
        made = f"INSERT INTO people ({key}, attributes) SELECT DISTINCT {key}, {dialect.nothing} FROM batch "
        if execute(f"{made}WHERE action = 'put' AND person_id IS NULL"):
            people.find(execute, key, columns)
    people.reject_missing(execute, people.NO_CIO_ID, create=create)
    execute(
        "DELETE FROM devices WHERE EXISTS (SELECT 1 FROM batch AS b WHERE b.action = 'put' AND b.verdict IS NULL "
        "AND b.token = devices.token AND b.person_id <> devices.person_id)"
    )
    used = "last_used = CASE WHEN b.clears_last_used = 1 THEN NULL ELSE coalesce(b.last_used, t.last_used) END"
    execute(
        f"UPDATE devices AS t SET platform = b.platform, {used}, attributes = {dialect.merged}, "
        f"updated_at = {dialect.now} FROM batch AS b WHERE t.token = b.token AND b.action = 'put' AND b.verdict IS NULL"
    )
    execute(
        "INSERT INTO devices (token, person_id, platform, last_used, attributes) "
        "SELECT b.token, b.person_id, b.platform, b.last_used, b.attributes FROM batch AS b "
        "WHERE b.action = 'put' AND b.verdict IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM devices AS t WHERE t.token = b.token)"
    )


def write_nothing(execute: Execute, number: int) -> None:
    """Change no row of every table that runs write, and a store of this format has: it is refused where this login may
    not.
    """
    for table, columns in _WRITTEN.items():
        if _SINCE.get(table, 1) > number:
            continue
        first = columns.partition(",")[0]
        execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE 1 = 0")
        execute(f"UPDATE {table} SET {first} = {first} WHERE 1 = 0")
        execute(f"DELETE FROM {table} WHERE 1 = 0")
