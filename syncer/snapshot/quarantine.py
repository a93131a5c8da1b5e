"""Rows that are not sent: repeated ones, and those that are refused before any store sees them."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa

from syncer.snapshot.columns import StoredColumn
from syncer.snapshot.keys import same_keys
from syncer.snapshot.result_schema import ResultSchema
from syncer.snapshot.values import ColumnType, as_key, json_said, literal


def settle_repeated_keys(
    connection: duckdb.DuckDBPyConnection,
    keys: list[str],
    columns: tuple[StoredColumn, ...],
    *,
    seen: Callable[[], pa.Table] | None,
    key_sql: list[str],
) -> tuple[int, int]:
    """Let equal rows count once, and refuse those that differ under one key.

    Shapes:
        seen: gives the keys of every row of the result, for *key_sql*; None where no row that `stage` lacks can have
            the key of another one.
        returns: how many rows count no more, and how many of those that `stage` lacked it lacks no more, or count
            no more.
    """
    k = ", ".join(keys)
    _find_repeated(connection, keys, seen() if seen else None, key_sql)
    if not _any(connection, "repeated"):
        return 0, 0
    put, unseen = _complete(connection, keys, columns) if seen else (0, 0)
    _find_ambiguous(connection, keys, columns)
    connection.execute(
        f"UPDATE stage SET refusal = coalesce(refusal, 'rows that differ share this key') FROM ambiguous a "
        f"WHERE {same_keys('stage', 'a', keys)}"
    )
    among_repeated = f"FROM stage s SEMI JOIN repeated USING ({k})"
    dropped = connection.execute(
        f"DELETE FROM stage WHERE refusal IS NULL AND rowid IN (SELECT s.rowid {among_repeated}) "
        f"AND rowid NOT IN (SELECT min(s.rowid) {among_repeated} GROUP BY {k})"
    ).fetchall()[0][0]
    return int(dropped) + unseen, put + unseen


def _find_repeated(
    connection: duckdb.DuckDBPyConnection, keys: list[str], seen: pa.Table | None, key_sql: list[str]
) -> None:
    """Fill `repeated` (k…, rows): the keys that stand in the result more than once."""
    k, usable = ", ".join(keys), " AND ".join(f"{key} IS NOT NULL" for key in keys)
    source = "stage"
    if seen is not None:
        connection.register("seen", seen)
        source = f"(SELECT {', '.join(f'{sql} AS {key}' for sql, key in zip(key_sql, keys, strict=True))} FROM seen)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {k}, count(*) AS rows FROM {source} "
        f"WHERE {usable} GROUP BY {k} HAVING count(*) > 1"
    )
    if seen is not None:
        connection.unregister("seen")


def _find_ambiguous(connection: duckdb.DuckDBPyConnection, keys: list[str], columns: tuple[StoredColumn, ...]) -> None:
    """Fill `ambiguous` (k…): the repeated keys whose rows do not all say the same."""
    k = ", ".join(keys)
    differing = f"SELECT {k} FROM ({{rows}}) GROUP BY {k} HAVING count(*) > 1"
    rows = f"SELECT DISTINCT * EXCLUDE (lost, fingerprint) FROM stage SEMI JOIN repeated USING ({k})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE ambiguous AS {differing.format(rows=rows)}")
    texts = [c.physical for c in columns if c.fed is not None and c.kind is ColumnType.JSON]
    if not texts or not _any(connection, "ambiguous"):
        return
    # One row a column, so that the look into the JSON is planned once, however many columns there are.
    spelled = ", ".join(f"{{'number': {i}, 'text': {text}}}" for i, text in enumerate(texts))
    unnested = f"SELECT rowid AS row, unnest([{spelled}], recursive := true) FROM stage SEMI JOIN ambiguous USING ({k})"
    valid = f"SELECT *, CASE WHEN json_valid(text) THEN text END AS valid FROM ({unnested})"
    said = f"{{'said': {json_said('valid')}, 'invalid': CASE WHEN valid IS NULL THEN text END}}"
    rows = (
        f"SELECT DISTINCT * EXCLUDE (row, lost, fingerprint, {', '.join(texts)}) FROM stage JOIN ("
        f"SELECT row, list({said} ORDER BY number) AS said FROM ({valid}) GROUP BY row) ON stage.rowid = row"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE ambiguous AS {differing.format(rows=rows)}")


def _complete(
    connection: duckdb.DuckDBPyConnection, keys: list[str], columns: tuple[StoredColumn, ...]
) -> tuple[int, int]:
    """Put beside a staged row the rows of its key that `stage` lacks, which equal the snapshot's.

    Returns how many it put, and how many rows count no more though none of their key is staged.
    """
    k = ", ".join(keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE lacking AS SELECT {k}, r.rows - coalesce(s.rows, 0) AS rows, s.rows AS staged "
        f"FROM repeated r LEFT JOIN (SELECT {k}, count(*) AS rows FROM stage GROUP BY {k}) s USING ({k}) "
        "WHERE r.rows > coalesce(s.rows, 0)"
    )
    fed = [c for c in columns if c.fed is not None]
    names = "".join(f", {c.physical}" for c in fed)
    values = "".join(f", {c.acknowledged()}" for c in fed)
    put = connection.execute(
        f"INSERT INTO stage ({k}{names}, lost) SELECT {k}{values}, 0 FROM snapshot JOIN ("
        f"SELECT {k}, unnest(range(rows)) FROM lacking WHERE staged IS NOT NULL) USING ({k})"
    ).fetchall()[0][0]
    unseen = connection.execute("SELECT coalesce(sum(rows - 1), 0) FROM lacking WHERE staged IS NULL").fetchall()[0][0]
    return int(put), int(unseen)


def refuse_shared_identifiers(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...]
) -> None:
    """Refuse rows that would give one unique identifier to several people."""
    assert shape.unique is not None
    column = next(c for c in columns if c.fed is shape.unique)
    value = as_key(column.kind, column.physical, fold=shape.unique.name == "email")
    reason = literal(f"several rows have this `{shape.unique.name}`")
    connection.execute(
        f"UPDATE stage SET refusal = {reason} WHERE refusal IS NULL AND {value} IN (SELECT {value} FROM stage "
        f"WHERE {column.physical} IS NOT NULL AND refusal IS NULL GROUP BY {value} HAVING count(*) > 1)"
    )


def move_refused(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> int:
    """Move refused rows out of `stage` into `set_aside`, one line a key and reason; returns how many they were."""
    blanked = ", ".join(f"nullif({key}, '') AS {key}" for key in keys)
    k, keyless = ", ".join(keys), " OR ".join(f"{key} IS NULL" for key in keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE set_aside AS SELECT {k}, min(refusal) AS reason, "
        f"CAST(count(*) AS BIGINT) AS rows FROM (SELECT {blanked}, refusal FROM stage WHERE refusal IS NOT NULL) "
        f"GROUP BY {k}, CASE WHEN {keyless} THEN refusal END"
    )
    if not _any(connection, "set_aside"):
        return 0
    connection.execute("DELETE FROM stage WHERE refusal IS NOT NULL")
    return int(connection.execute("SELECT sum(rows) FROM set_aside").fetchall()[0][0])


def _any(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())
