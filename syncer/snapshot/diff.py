"""The comparison of a staged result with what the store has acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from syncer.snapshot.keys import key_text, same_keys
from syncer.snapshot.shape import Shape
from syncer.snapshot.stage import StoredColumn
from syncer.snapshot.values import Kind, as_json, literal


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
    shape: Shape,
    columns: tuple[StoredColumn, ...],
    *,
    full: bool,
    only: tuple[str, ...] | None,
) -> Difference:
    """Fill the temporary tables `difference` (k…, change) and `again` (k…).

    A change is `added`, `changed` or `removed`. Rows of `again` differ in nothing that is known, and are sent
    all the same. A row that was set aside is not a removed row. *full* sends every row, *only* looks at one key.
    """
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    if shape.definition.incremental:
        _stage_rows_in_doubt(connection, columns, keys)
    compared = tuple(c for c in columns if c.fed is not None or (shape.clears_dropped and c.was is not None))
    _find_differences(connection, compared, keys)
    if shape.keeps_nulls or any(c.kind is Kind.JSON for c in compared):
        _drop_equal_rows(connection, shape, compared, keys)
    _find_removals_in_doubt(connection, shape, keys)
    if only is not None:
        _keep_only(connection, "difference", keys, only)
    _find_rows_to_send_again(connection, keys, full=full, only=only)
    return _counted(connection, shape, keys)


def _row_hash(values: list[str]) -> str:
    return f"hash({', '.join(values)})" if values else "hash(1)"


def _find_differences(
    connection: duckdb.DuckDBPyConnection, compared: tuple[StoredColumn, ...], keys: list[str]
) -> None:
    k = ", ".join(keys)
    both = ", ".join(f"coalesce(s.{key}, o.{key}) AS {key}" for key in keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE difference AS SELECT {both}, CASE WHEN o.k1 IS NULL THEN 'added' "
        f"WHEN s.k1 IS NULL THEN 'removed' ELSE 'changed' END AS change "
        f"FROM (SELECT {k}, {_row_hash([c.staged() for c in compared])} AS h FROM stage) s "
        f"FULL JOIN (SELECT {k}, {_row_hash([c.acknowledged() for c in compared])} AS h FROM snapshot) o "
        f"ON {same_keys('s', 'o', keys)} WHERE s.h IS DISTINCT FROM o.h"
    )


def _drop_equal_rows(
    connection: duckdb.DuckDBPyConnection, shape: Shape, compared: tuple[StoredColumn, ...], keys: list[str]
) -> None:
    """Look closer at rows whose only difference may be a kept NULL, or how a JSON text is spelled."""
    if not connection.execute("SELECT 1 FROM difference WHERE change = 'changed' LIMIT 1").fetchall():
        return
    k = ", ".join(keys)
    differs = []
    sources = [
        f"(SELECT {k}, change FROM difference WHERE change = 'changed') d",
        f"JOIN (SELECT {k}, {_listed(compared, 'staged', 's')} FROM stage) s USING ({k})",
        f"JOIN (SELECT {k}, {_listed(compared, 'acknowledged', 'o')} FROM snapshot) o USING ({k})",
    ]
    for i, column in enumerate(compared):
        new, old = f"s{i}", f"o{i}"
        test = f"{new} IS DISTINCT FROM {old}"
        if column.kind is Kind.JSON:
            test += f" AND ({_leaves(new)} IS DISTINCT FROM {_leaves(old)} OR {_differs_in_long_numbers(new, old)})"
        if shape.keeps_nulls and column.fed is not None:
            test = f"{new} IS NOT NULL AND {test}"
        differs.append(f"({test})")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE equal AS SELECT {k} FROM {' '.join(sources)} WHERE NOT ({' OR '.join(differs)})"
    )
    connection.execute(
        f"DELETE FROM difference USING equal e WHERE change = 'changed' AND {same_keys('difference', 'e', keys)}"
    )


def _listed(compared: tuple[StoredColumn, ...], side: str, prefix: str) -> str:
    return ", ".join(f"{getattr(c, side)()} AS {prefix}{i}" for i, c in enumerate(compared)) or "1 AS nothing"


def _leaves(json: str) -> str:
    leaf = "fullkey || '=' || type || coalesce(CAST(atom AS VARCHAR), '')"
    return f"(SELECT list_sort(list({leaf})) FROM json_tree({json}))"


def _differs_in_long_numbers(new: str, old: str) -> str:
    """SQL for whether two texts with the same leaves hold numbers beyond a double, and not the same text."""
    squeezed = [f"regexp_replace({json}, '\\s', '', 'g')" for json in (new, old)]
    long = f"regexp_matches({new} || {old}, '[0-9][0-9.]{{15}}|[eE][-+]?[0-9]{{3}}')"
    return f"({long} AND {squeezed[0]} <> {squeezed[1]})"


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


def _find_removals_in_doubt(connection: duckdb.DuckDBPyConnection, shape: Shape, keys: list[str]) -> None:
    """Settle what is no removal: rows set aside, and all that an incremental query left out."""
    k = ", ".join(keys)
    if shape.definition.incremental:
        connection.execute("DELETE FROM difference WHERE change = 'removed'")
        return
    connection.execute(
        f"DELETE FROM difference USING set_aside a WHERE change = 'removed' AND {same_keys('difference', 'a', keys)}"
    )
    # A row that was never acknowledged, but may have arrived, and is gone from the result.
    connection.execute(
        f"INSERT INTO difference SELECT {k}, 'removed' FROM in_doubt ANTI JOIN snapshot USING ({k}) "
        f"ANTI JOIN stage USING ({k}) ANTI JOIN set_aside USING ({k})"
    )


def _find_rows_to_send_again(
    connection: duckdb.DuckDBPyConnection, keys: list[str], *, full: bool, only: tuple[str, ...] | None
) -> None:
    k = ", ".join(keys)
    wanted = "" if full or only is not None else f" SEMI JOIN in_doubt USING ({k})"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE again AS SELECT {k} FROM stage{wanted} "
        f"ANTI JOIN (SELECT {k} FROM difference WHERE change <> 'removed') USING ({k})"
    )
    if only is not None:
        _keep_only(connection, "again", keys, only)


def _keep_only(connection: duckdb.DuckDBPyConnection, table: str, keys: list[str], only: tuple[str, ...]) -> None:
    same = " AND ".join(f"{key} = {literal(value)}" for key, value in zip(keys, only, strict=True))
    connection.execute(f"DELETE FROM {table} WHERE NOT ({same})")


def _counted(connection: duckdb.DuckDBPyConnection, shape: Shape, keys: list[str]) -> Difference:
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
        unchanged=staged - added - changed,
        sent_again=again,
        known=snapshot + doubt,
    )


def changed_attributes(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]
) -> dict[str, int]:
    """In how many changed rows each attribute differs, most first; attributes that differ nowhere are left out."""
    compared = tuple(c for c in columns if c.fed is not None or (shape.clears_dropped and c.was is not None))
    if not compared:
        return {}
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    kept = " AND s{i} IS NOT NULL" if shape.keeps_nulls else ""
    sums = ", ".join(f"count(*) FILTER (s{i} IS DISTINCT FROM o{i}{kept.format(i=i)})" for i in range(len(compared)))
    row = connection.execute(
        f"SELECT {sums} FROM (SELECT {k} FROM difference WHERE change = 'changed') d "
        f"JOIN (SELECT {k}, {_listed(compared, 'staged', 's')} FROM stage) s USING ({k}) "
        f"JOIN (SELECT {k}, {_listed(compared, 'acknowledged', 'o')} FROM snapshot) o USING ({k})"
    ).fetchall()[0]
    counts = {c.name: n for c, n in zip(compared, row, strict=True) if n}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def sample(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...], *, rows: int
) -> list[tuple[str, str, str | None, str | None]]:
    """At most *rows* changes of each sort: change, key, and the JSON objects before and after."""
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    k = ", ".join(keys)
    before = _object([(c.name, _as_json_of(c, "acknowledged")) for c in columns if c.was is not None])
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
    return f"(CAST(to_json({literal(name)}) AS VARCHAR) || ':')"
