"""Settling: verdicts become the snapshot, and what has no verdict stays in doubt."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa

from syncer.snapshot.columns import StoredColumn, carried, not_forgotten
from syncer.snapshot.keys import same_keys
from syncer.snapshot.result_schema import ResultSchema


def record(
    connection: duckdb.DuckDBPyConnection,
    keys: list[str],
    shape: ResultSchema,
    columns: tuple[StoredColumn, ...],
    verdicts: pa.Table,
) -> None:
    """Write a batch's verdicts down, and make the snapshot what was accepted; part of the caller's transaction."""
    k = ", ".join(f"o.{key}" for key in keys)
    fed = [c.physical for c in columns if c.fed is not None]
    connection.register("answers", verdicts)
    connection.execute("CREATE OR REPLACE TEMP TABLE answered AS SELECT seq, verdict, reason FROM answers")
    connection.unregister("answers")
    connection.execute("INSERT INTO verdicts SELECT * FROM answered")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE taken AS SELECT {k}, o.action, o.place, o.known, a.verdict "
        "FROM outbox o JOIN answered a USING (seq) WHERE a.verdict IN ('accepted', 'absent')"
    )
    values = {"fingerprint": "s.fingerprint"} | {name: f"s.{name}" for name in fed}
    if shape.keeps_nulls:
        kept = " OR ".join(f"(s.{name} IS NULL AND b.{name} IS NOT NULL)" for name in fed) or "FALSE"
        values = {"fingerprint": f"CASE WHEN {kept} THEN NULL ELSE s.fingerprint END"}
        values |= {name: f"coalesce(s.{name}, b.{name})" for name in fed}
    values |= {c.physical: f"b.{c.physical}" for c in not_forgotten(connection, carried(shape, columns))}
    source = "taken o JOIN stage s ON s.rowid = o.place"
    reads_old = any("b." in value for value in values.values())
    if reads_old:
        source += f" LEFT JOIN snapshot b ON {same_keys('o', 'b', keys)}"
    listed = ", ".join([k, *(f"{value} AS {name}" for name, value in values.items())])
    fresh = f"SELECT {listed} FROM {source} WHERE o.action = 'put' AND o.verdict = 'accepted'"
    if reads_old:
        # The acknowledged values are read before their rows are deleted.
        connection.execute(f"CREATE OR REPLACE TEMP TABLE fresh AS {fresh}")
        fresh = "SELECT * FROM fresh"
    if connection.execute("SELECT 1 FROM taken WHERE known LIMIT 1").fetchall():
        connection.execute(f"DELETE FROM snapshot USING taken t WHERE t.known AND {same_keys('snapshot', 't', keys)}")
    connection.execute(f"INSERT INTO snapshot ({', '.join([*keys, *values])}) {fresh}")


def settle(
    connection: duckdb.DuckDBPyConnection,
    keys: list[str],
    *,
    complete: bool,
    partial: bool,
    set_aside: bool,
    at: datetime,
) -> None:
    """Drop the outbox: what has no answer stays in doubt, what was refused stays visible.

    Part of the caller's transaction.

    *complete*: the run looked at every row, so that older rejections end, except of rows in doubt; but where the
    result is *partial*, only those of the keys that it has.
    *set_aside*: the run staged a result, so the table of that name is there.
    """
    k = ", ".join(keys)
    # Of a first load's million rows none was in doubt or refused before: then the accepted ones matter to no table.
    left = "SELECT (SELECT count(*) FROM in_doubt) + (SELECT count(*) FROM kept) + (SELECT count(*) FROM rejections)"
    which = "" if connection.execute(left).fetchall()[0][0] else "WHERE verdict IS NULL OR verdict = 'rejected'"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT {k}, verdict, reason "
        f"FROM outbox LEFT JOIN verdicts USING (seq) {which}"
    )
    # A refusal says nothing about an earlier send of the same row that had no answer.
    for table in ("in_doubt", "kept"):
        _delete_answered(connection, table, keys, "a.verdict IN ('accepted', 'absent')")
    connection.execute(
        f"INSERT INTO in_doubt SELECT {k} FROM (SELECT {k} FROM answered WHERE verdict IS NULL) "
        f"ANTI JOIN in_doubt USING ({k})"
    )
    _settle_rejections(connection, keys, complete=complete, partial=partial, set_aside=set_aside, at=at)
    for table in ("outbox", "verdicts", "answered"):
        connection.execute(f"DROP TABLE {table}")


def _settle_rejections(
    connection: duckdb.DuckDBPyConnection,
    keys: list[str],
    *,
    complete: bool,
    partial: bool,
    set_aside: bool,
    at: datetime,
) -> None:
    k = ", ".join(keys)
    keyless = " OR ".join(f"r.{key} IS NULL" for key in keys)
    known = " AND ".join(f"r.{key} IS NOT DISTINCT FROM o.{key}" for key in keys)
    refused = f"SELECT {k}, reason, 1 AS rows FROM answered WHERE verdict = 'rejected'"
    if set_aside:
        refused += f" UNION ALL SELECT {k}, reason, rows FROM set_aside"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE refused AS SELECT {', '.join(f'r.{key}' for key in keys)}, r.reason, r.rows, "
        f"coalesce(o.attempts, 0) + 1 AS attempts, coalesce(o.first_seen, $at) AS first_seen, $at AS last_seen "
        f"FROM ({refused}) r LEFT JOIN rejections o ON {known} AND (NOT ({keyless}) OR r.reason = o.reason)",
        {"at": at.replace(tzinfo=None)},
    )
    if complete:
        staged = f"EXISTS (SELECT 1 FROM stage s WHERE {same_keys('rejections', 's', keys)})"
        seen = f"({keyless.replace('r.', 'rejections.')} OR {staged})"
        which = f"{seen} AND " if partial else ""
        connection.execute(
            f"DELETE FROM rejections WHERE {which}NOT EXISTS (SELECT 1 FROM answered a "
            f"WHERE a.verdict IS NULL AND {same_keys('rejections', 'a', keys)})"
        )
    else:
        _delete_answered(connection, "rejections", keys, "a.verdict IS NOT NULL")
        if set_aside:
            connection.execute(f"DELETE FROM rejections r WHERE {keyless}")
    connection.execute(f"DELETE FROM rejections USING refused r WHERE {same_keys('rejections', 'r', keys)}")
    connection.execute("INSERT INTO rejections SELECT * FROM refused")
    connection.execute("DROP TABLE refused")


def _delete_answered(connection: duckdb.DuckDBPyConnection, table: str, keys: list[str], which: str) -> None:
    connection.execute(f"DELETE FROM {table} USING answered a WHERE {same_keys(table, 'a', keys)} AND {which}")
