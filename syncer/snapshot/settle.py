"""Settling: verdicts become the snapshot, and what has no verdict stays in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRules:
    """What a header says about settling; recorded with the outbox, for a run that dies is settled by the next."""

    #: NULL leaves an attribute as it is, so the acknowledged value stays known.
    keeps_nulls: bool
    #: The query may not return the same rows again, so values in doubt or refused are kept.
    keeps_values: bool


def settle(
    connection: duckdb.DuckDBPyConnection,
    keys: list[str],
    rules: SettleRules,
    *,
    complete: bool,
    set_aside: bool,
    at: datetime,
) -> None:
    """Turn verdicts into the snapshot and drop the outbox; part of the caller's transaction.

    What was accepted becomes the snapshot; what has no answer is in doubt; what was refused stays visible.
    *complete*: the run looked at every row, so that older rejections end, except of rows in doubt.
    *set_aside*: the run staged a result, so the table of that name is there.
    """
    k = ", ".join(keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT o.seq, o.action, {', '.join(f'o.{key}' for key in keys)}, "
        "v.verdict, v.reason FROM outbox o LEFT JOIN (SELECT seq, any_value(verdict) AS verdict, "
        "any_value(reason) AS reason FROM verdicts GROUP BY seq) v USING (seq)"
    )
    _settle_snapshot(connection, keys, rules)
    connection.execute(
        f"INSERT INTO in_doubt SELECT {k} FROM (SELECT {k} FROM answered WHERE verdict IS NULL) "
        f"ANTI JOIN in_doubt USING ({k})"
    )
    # A refusal says nothing about an earlier send of the same row that had no answer.
    _delete_answered(connection, "in_doubt", keys, "a.verdict IN ('accepted', 'absent')")
    if rules.keeps_values:
        _settle_kept(connection, keys)
    _settle_rejections(connection, keys, complete=complete, set_aside=set_aside, at=at)
    for table in ("outbox", "verdicts", "answered"):
        connection.execute(f"DROP TABLE {table}")


def _settle_snapshot(connection: duckdb.DuckDBPyConnection, keys: list[str], rules: SettleRules) -> None:
    names = [name for (name,) in connection.execute("SELECT physical FROM columns").fetchall()]
    if rules.keeps_nulls and names:
        kept = ", ".join(f"{name} = coalesce(outbox.{name}, s.{name})" for name in names)
        connection.execute(f"UPDATE outbox SET {kept} FROM snapshot s WHERE {_same('outbox', 's', keys)}")
    _delete_answered(connection, "snapshot", keys, "a.verdict IN ('accepted', 'absent')")
    row = ", ".join([*keys, *names])
    connection.execute(
        f"INSERT INTO snapshot ({row}) SELECT {row} FROM outbox "
        "SEMI JOIN (SELECT seq FROM answered WHERE action = 'put' AND verdict = 'accepted') USING (seq)"
    )


def _settle_kept(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> None:
    names = [name for (name,) in connection.execute("SELECT physical FROM columns").fetchall()]
    row = ", ".join([*keys, *names])
    _delete_answered(connection, "kept", keys, "TRUE")
    connection.execute(
        f"INSERT INTO kept ({row}) SELECT {row} FROM outbox "
        "SEMI JOIN (SELECT seq FROM answered WHERE verdict IS NULL OR verdict = 'rejected') USING (seq)"
    )


def _settle_rejections(
    connection: duckdb.DuckDBPyConnection, keys: list[str], *, complete: bool, set_aside: bool, at: datetime
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
        connection.execute(
            f"DELETE FROM rejections WHERE NOT EXISTS (SELECT 1 FROM answered a "
            f"WHERE a.verdict IS NULL AND {_same('rejections', 'a', keys)})"
        )
    else:
        _delete_answered(connection, "rejections", keys, "a.verdict IS NOT NULL")
        if set_aside:
            connection.execute(f"DELETE FROM rejections r WHERE {keyless}")
    connection.execute(f"DELETE FROM rejections USING refused r WHERE {_same('rejections', 'r', keys)}")
    connection.execute("INSERT INTO rejections SELECT * FROM refused")
    connection.execute("DROP TABLE refused")


def _delete_answered(connection: duckdb.DuckDBPyConnection, table: str, keys: list[str], which: str) -> None:
    connection.execute(f"DELETE FROM {table} USING answered a WHERE {_same(table, 'a', keys)} AND {which}")


def _same(left: str, right: str, keys: list[str]) -> str:
    return " AND ".join(f"{left}.{key} = {right}.{key}" for key in keys)
