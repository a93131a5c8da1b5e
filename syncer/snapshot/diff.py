"""The comparison of a staged result with what the store has acknowledged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb

from syncer.snapshot.columns import StoredColumn, compared
from syncer.snapshot.keys import key_text, same_keys
from syncer.snapshot.result_schema import ResultSchema
from syncer.snapshot.values import ColumnType, as_json, json_said, literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs, in rows; the rows themselves are in the temporary table `difference`."""

    added: int
    changed: int
    removed: int
    unchanged: int
    #: Rows that are sent though nothing differs: in doubt, or asked for.
    sent_again: int
    #: Rows that the store may hold of this sync: acknowledged or in doubt. What limits are shares of.
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One change as a plan shows it; values by attribute, None where there is none."""

    change: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def compare(
    connection: duckdb.DuckDBPyConnection,
    shape: ResultSchema,
    columns: tuple[StoredColumn, ...],
    *,
    same: int,
    outdated: bool,
    full: bool,
    only: tuple[str, ...] | None,
) -> Difference:
    """Fill the temporary tables `difference` (k…, change, place), `again` (k…, place), `restated` (k…, fingerprint).

    A change is `added`, `changed` or `removed`; a place is a rowid of `stage`, NULL for what was removed. Rows of
    `again` differ in nothing that is known, and are sent all the same; those of `restated` say the same in other
    words. A row that was set aside is not a removed row. *full* sends every row, *only* looks at one key. *same* rows
    were not staged, since nothing of them changed. Where the snapshot is *outdated*, what is gone from the result may
    be somebody else's by now, and is left to the next run; not so the rows of a collection, which come from one sync.
    """
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    if shape.definition.incremental and not outdated:
        _stage_rows_in_doubt(connection, columns, keys)
    looked_at = compared(shape, columns)
    _find_differences(connection, looked_at, keys)
    if shape.keeps_nulls or any(c.kind is ColumnType.JSON for c in looked_at):
        _drop_equal_rows(connection, shape, looked_at, keys)
    _find_restated(connection, shape, keys)
    if shape.definition.incremental or (outdated and shape.definition.target.entity.traits.merges):
        connection.execute("DELETE FROM difference WHERE change = 'removed'")
    else:
        _find_removals_in_doubt(connection, keys)
    if only is not None:
        _keep_only(connection, "difference", keys, only)
    _find_rows_to_send_again(connection, keys, full=full, only=only)
    return _counted(connection, keys, same=same)


def _row_hash(values: list[str]) -> str:
    return f"hash({', '.join(values)})" if values else "hash(1)"


def _find_differences(
    connection: duckdb.DuckDBPyConnection, looked_at: tuple[StoredColumn, ...], keys: list[str]
) -> None:
    k = ", ".join(keys)
    if not connection.execute("SELECT 1 FROM snapshot LIMIT 1").fetchall():
        looked_at = ()
    new = _row_hash([c.staged() for c in looked_at])
    old = _row_hash([c.acknowledged() for c in looked_at])
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE told_apart AS SELECT {', '.join(f's.{key}' for key in keys)}, "
        "s.place, s.fingerprint, "
        "CASE WHEN o.k1 IS NULL THEN 'added' WHEN s.h <> o.h THEN 'changed' END AS change "
        f"FROM (SELECT {k}, rowid AS place, fingerprint, {new} AS h FROM stage) s "
        f"LEFT JOIN (SELECT {k}, fingerprint, {old} AS h FROM snapshot) o "
        f"ON {same_keys('s', 'o', keys)} "
        "WHERE s.h IS DISTINCT FROM o.h OR s.fingerprint IS DISTINCT FROM o.fingerprint"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE difference AS SELECT {k}, change, place FROM told_apart "
        f"WHERE change IS NOT NULL UNION ALL SELECT {k}, 'removed', NULL FROM gone"
    )


def _find_restated(connection: duckdb.DuckDBPyConnection, shape: ResultSchema, keys: list[str]) -> None:
    k = ", ".join(keys)
    # Where NULL keeps a value, the row does not say what the snapshot has: a fingerprint would stand for more than it.
    which = "change IS NULL" if shape.keeps_nulls else "change IS DISTINCT FROM 'added'"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE restated AS SELECT {k}, fingerprint FROM told_apart "
        f"ANTI JOIN difference USING ({k}) WHERE fingerprint IS NOT NULL AND {which}"
    )
    connection.execute("DROP TABLE told_apart")


def _drop_equal_rows(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, looked_at: tuple[StoredColumn, ...], keys: list[str]
) -> None:
    """Look closer at rows whose only difference may be a kept NULL, or how a JSON text is spelled."""
    if not connection.execute("SELECT 1 FROM difference WHERE change = 'changed' LIMIT 1").fetchall():
        return
    k = ", ".join(keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT * FROM (SELECT {k} FROM difference WHERE change = 'changed') "
        f"JOIN (SELECT {k}, {_listed(looked_at, 'staged', 's')} FROM stage) USING ({k}) "
        f"JOIN (SELECT {k}, {_listed(looked_at, 'acknowledged', 'o')} FROM snapshot) USING ({k})"
    )
    differs = {i: f"s{i} IS DISTINCT FROM o{i}" for i in range(len(looked_at))}
    if shape.keeps_nulls:
        differs |= {i: f"(s{i} IS NOT NULL AND {d})" for i, d in differs.items() if looked_at[i].fed is not None}
    number = " + ".join(f"CAST({d} AS INTEGER)" for d in differs.values()) or "0"
    texts = [i for i, c in enumerate(looked_at) if c.kind is ColumnType.JSON]
    respelled = _respelled(texts, keys) if texts else f"SELECT {k}, 0 AS n FROM pairs LIMIT 0"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE equal AS SELECT {k} FROM pairs LEFT JOIN ({respelled}) USING ({k}) "
        f"WHERE {number} = coalesce(n, 0)"
    )
    connection.execute(
        f"DELETE FROM difference USING equal e WHERE change = 'changed' AND {same_keys('difference', 'e', keys)}"
    )
    connection.execute("DROP TABLE pairs")


def _listed(looked_at: tuple[StoredColumn, ...], side: str, prefix: str) -> str:
    return ", ".join(f"{getattr(c, side)()} AS {prefix}{i}" for i, c in enumerate(looked_at)) or "1 AS nothing"


def _respelled(columns: list[int], keys: list[str]) -> str:
    """SQL for in how many of the JSON *columns* each row of `pairs` differs by the spelling alone: k…, n."""
    k = ", ".join(keys)
    # One row a column, so that the look into the JSON is planned once, however many columns there are.
    sides = ", ".join(f"{{'new': s{i}, 'old': o{i}}}" for i in columns)
    texts = f"SELECT {k}, unnest([{sides}], recursive := true) FROM pairs"
    return (
        f"SELECT {k}, count(*) AS n FROM ({texts}) t "
        f"WHERE new <> old AND {json_said('new')} = {json_said('old')} GROUP BY {k}"
    )


def _stage_rows_in_doubt(
    connection: duckdb.DuckDBPyConnection, columns: tuple[StoredColumn, ...], keys: list[str]
) -> None:
    """Stage what an incremental query will not return again: rows in doubt or refused, with their newest value."""
    k = ", ".join(keys)
    fed = [c for c in columns if c.fed is not None]
    values = "".join(f", {c.acknowledged()}" for c in fed)
    names = "".join(f", {c.physical}" for c in fed)
    known = f"(SELECT {k} FROM stage UNION ALL SELECT {k} FROM set_aside)"
    for table, limit in (("kept", ""), ("snapshot", f" SEMI JOIN in_doubt USING ({k})")):
        connection.execute(
            f"INSERT INTO stage ({k}{names}) SELECT {k}{values} FROM {table}{limit} ANTI JOIN {known} USING ({k})"
        )


def _find_removals_in_doubt(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> None:
    """Tell removals: of rows gone from the result, also of such that only may have arrived; not of rows set aside."""
    k = ", ".join(keys)
    connection.execute(
        f"DELETE FROM difference USING set_aside a WHERE change = 'removed' AND {same_keys('difference', 'a', keys)}"
    )
    # A row that was never acknowledged, but may have arrived, and is gone from the result.
    connection.execute(
        f"INSERT INTO difference SELECT {k}, 'removed', NULL FROM in_doubt ANTI JOIN snapshot USING ({k}) "
        f"ANTI JOIN stage USING ({k}) ANTI JOIN set_aside USING ({k})"
    )


def _find_rows_to_send_again(
    connection: duckdb.DuckDBPyConnection, keys: list[str], *, full: bool, only: tuple[str, ...] | None
) -> None:
    k = ", ".join(keys)
    wanted = "" if full or only is not None else f" SEMI JOIN in_doubt USING ({k})"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE again AS SELECT {k}, stage.rowid AS place FROM stage{wanted} "
        f"ANTI JOIN (SELECT {k} FROM difference WHERE change <> 'removed') USING ({k})"
    )
    if only is not None:
        _keep_only(connection, "again", keys, only)


def _keep_only(connection: duckdb.DuckDBPyConnection, table: str, keys: list[str], only: tuple[str, ...]) -> None:
    same = " AND ".join(f"{key} = {literal(value)}" for key, value in zip(keys, only, strict=True))
    connection.execute(f"DELETE FROM {table} WHERE NOT ({same})")


def _counted(connection: duckdb.DuckDBPyConnection, keys: list[str], *, same: int) -> Difference:
    counts = dict(connection.execute("SELECT change, count(*) FROM difference GROUP BY change").fetchall())
    k = ", ".join(keys)
    staged, again, snapshot, doubt = connection.execute(
        "SELECT (SELECT count(*) FROM stage), (SELECT count(*) FROM again), (SELECT count(*) FROM snapshot), "
        f"(SELECT count(*) FROM in_doubt ANTI JOIN snapshot USING ({k}))"
    ).fetchall()[0]
    added, changed = counts.get("added", 0), counts.get("changed", 0)
    return Difference(
        added=added,
        changed=changed,
        removed=counts.get("removed", 0),
        unchanged=same + staged - added - changed,
        sent_again=again,
        known=snapshot + doubt,
    )


def changed_attributes(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...]
) -> dict[str, int]:
    """In how many changed rows each attribute differs, most first; attributes that differ nowhere are left out."""
    looked_at = compared(shape, columns)
    if not looked_at:
        return {}
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    kept = " AND s{i} IS NOT NULL" if shape.keeps_nulls else ""
    sums = ", ".join(f"count(*) FILTER (s{i} IS DISTINCT FROM o{i}{kept.format(i=i)})" for i in range(len(looked_at)))
    row = connection.execute(
        f"SELECT {sums} FROM (SELECT {k} FROM difference WHERE change = 'changed') d "
        f"JOIN (SELECT {k}, {_listed(looked_at, 'staged', 's')} FROM stage) s USING ({k}) "
        f"JOIN (SELECT {k}, {_listed(looked_at, 'acknowledged', 'o')} FROM snapshot) o USING ({k})"
    ).fetchall()[0]
    counts = {c.name: n for c, n in zip(looked_at, row, strict=True) if n}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def sample(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...], *, rows: int
) -> list[tuple[str, str, str | None, str | None]]:
    """At most *rows* changes of each sort: change, key, and the JSON objects before and after."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    before = _object([(c.name, _as_json_of(c, "acknowledged")) for c in compared(shape, columns) if c.was is not None])
    after = _object([(c.name, _as_json_of(c, "staged")) for c in columns if c.fed is not None])
    found = connection.execute(
        f"SELECT change, {key_text(keys)}, o.values, s.values FROM "
        f"(SELECT * FROM difference QUALIFY row_number() OVER (PARTITION BY change ORDER BY {k}) <= {rows}) d "
        f"LEFT JOIN (SELECT {k}, {after} AS values FROM stage SEMI JOIN difference USING ({k})) s USING ({k}) "
        f"LEFT JOIN (SELECT {k}, {before} AS values FROM snapshot SEMI JOIN difference USING ({k})) o USING ({k}) "
        f"ORDER BY change, {k}"
    ).fetchall()
    return [(change, key, old, new) for change, key, old, new in found]


def _as_json_of(column: StoredColumn, side: str) -> str:
    return as_json(column.kind, f"({getattr(column, side)()})")


def _object(members: list[tuple[str, str]]) -> str:
    """SQL for a JSON object of *members*, name and SQL of the JSON text, NULL ones as null."""
    parts = ", ".join(f"{json_name(name)} || coalesce({value}, 'null')" for name, value in members)
    return f"'{{' || concat_ws(',', {parts}) || '}}'" if parts else "'{}'"


def json_name(name: str) -> str:
    """SQL for a JSON member's name and colon."""
    return literal(json.dumps(name, ensure_ascii=False) + ":")
