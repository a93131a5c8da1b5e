"""Puts as upserts: the bound values of many rows in one statement, without a temporary table between.

SQLite takes them in a fraction of the time that a row a statement, or a JSON text of all rows, needs. It is possible
where a row says by itself whom it is about, and no other row matters to it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store import people
from syncer.model.types import Action, Entity, Identity, Target

#: Rows of one statement: more take as long, and it would have to be parsed for each number of rows.
_ROWS_AT_ONCE = 500
#: Groups of rows that name the same attributes, of which each has statements of its own.
_MOST_GROUPS = 16

#: Names that JSON spells as they are, so that a path of SQLite finds them.
_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f]+')
#: A value that SQLite may not read: one in which others are, which may be nested too deeply, NaN or an infinity.
_UNSURE = r":\s*-?[\[{NnIi]"

#: What the stored row `t` keeps, before what is put. Where a name might be escaped there, names are compared as texts.
_MERGED = """(
    SELECT CASE
        WHEN kept = '{{}}' THEN excluded.attributes
        WHEN instr(kept, '\\') THEN {compared}
        WHEN excluded.attributes = '{{}}' THEN kept
        ELSE substr(kept, 1, length(kept) - 1) || ',' || substr(excluded.attributes, 2)
    END FROM (SELECT json_remove(t.attributes{paths}) AS kept LIMIT 1))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Where rows go, and what becomes of those that are there."""

    table: str
    #: The columns that have the same value in every row.
    constants: Mapping[str, str]
    #: The columns that are bound, by what `staged` calls them; first the attributes', last the key's.
    columns: Mapping[str, str]
    conflict: str
    #: What an existing row gets beside its attributes.
    also: str = ""
    #: Whether attributes merge with those that are stored; else `data` replaces what is there.
    merges: bool = True


def upsert_of(target: Target, rows: pa.Table, identity: Identity) -> Upsert | None:
    """How *rows*, as `staged` makes them, are put; None where they are not puts alone, or need what others say."""
    if not pc.all(pc.equal(rows["action"], str(Action.PUT))).as_py():
        return None
    match target.entity:
        case Entity.PERSON:
            return _of_people(target, rows, identity)
        case Entity.OBJECT:
            return Upsert(
                table="objects",
                constants={"object_type": str(target.object_type)},
                columns={"attributes": "attributes", "object_id": "object_id"},
                conflict="object_type, object_id",
            )
        case Entity.COLLECTION:
            return Upsert(
                table="collection_rows",
                constants={"collection": str(target.collection)},
                columns={"data": "attributes", "key": "key"},
                conflict="collection, key",
                merges=False,
            )
        case _:
            return None


def _of_people(target: Target, rows: pa.Table, identity: Identity) -> Upsert | None:
    key, names = target.person, rows.column_names
    if key not in identity.unique or people.contested(key, identity, names) or "person" in names:
        return None
    other, also = "email" if key == "id" else "id", ""
    if other in names:
        also = f", {other} = coalesce(excluded.{other}, t.{other})"
        if f"clears_{other}" in names:
            # Either every row without one unsets it, or a row's own word is needed.
            if not pc.all(pc.or_(pc.is_valid(rows[other]), pc.equal(rows[f"clears_{other}"], 1))).as_py():
                return None
            also = f", {other} = excluded.{other}"
    elif f"clears_{other}" in names:
        return None
    return Upsert(
        table="people",
        constants={},
        columns={"attributes": "attributes"} | ({other: other} if other in names else {}) | {str(key): str(key)},
        conflict=f"{key}) WHERE ({key} IS NOT NULL",
        also=also,
    )


def run(
    connection: sqlite3.Connection, names: duckdb.DuckDBPyConnection, upsert: Upsert, rows: pa.Table, *, now: str
) -> bool:
    """Put *rows*, part of the caller's transaction; False, and nothing is done, if they differ in too much.

    Shapes:
        names: reads the names of attributes out of JSON.
        now: the time of `updated_at`.
    """
    groups = _by_names(names, rows) if upsert.merges else [([], rows)]
    if groups is None:
        return False
    for attributes, group in groups:
        _run_group(connection, upsert, attributes, group, now)
    return True


def _run_group(connection: sqlite3.Connection, upsert: Upsert, attributes: list[str], rows: pa.Table, now: str) -> None:
    # In the order of the index, of which each page is written once.
    ordered = rows.sort_by(list(upsert.columns.values())[-1])
    bound = [ordered[name].to_pylist() for name in upsert.columns.values()]
    constants = [*upsert.constants.values(), *([now, now] if upsert.merges else [])]
    values = list(chain.from_iterable(zip(*bound, strict=True)))
    width, first_column = len(bound), checked("column1", rows["attributes"])
    for first in range(0, len(values), width * _ROWS_AT_ONCE):
        part = values[first : first + width * _ROWS_AT_ONCE]
        connection.execute(_statement(upsert, attributes, len(part) // width, first_column), [*constants, *part])


def _statement(upsert: Upsert, attributes: list[str], rows: int, first_column: str) -> str:
    names = [*upsert.constants, *(["created_at", "updated_at"] if upsert.merges else []), *upsert.columns]
    own = [first_column, *(f"column{i + 2}" for i in range(len(upsert.columns) - 1))]
    given = ["?"] * (len(names) - len(own)) + own
    row = f"({', '.join('?' * len(upsert.columns))})"
    set_ = f"attributes = {_merged(attributes)}, updated_at = excluded.updated_at{upsert.also}"
    return (
        f"INSERT INTO {upsert.table} AS t ({', '.join(names)}) SELECT {', '.join(given)} "
        f"FROM (VALUES {', '.join([row] * rows)}) WHERE true "
        f"ON CONFLICT ({upsert.conflict}) DO UPDATE SET {set_ if upsert.merges else 'data = excluded.data'}"
    )


def checked(column: str, texts: pa.ChunkedArray) -> str:
    """SQL for a *column* of these JSON *texts* that refuses those that SQLite could not read."""
    is_unsure = pc.any(pc.match_substring_regex(texts, _UNSURE)).as_py()
    return f"json({column})" if is_unsure else column


def _merged(attributes: Sequence[str]) -> str:
    paths = "".join(", " + _literal(f'$."{name}"') for name in attributes)
    compared = (
        "(SELECT CASE WHEN others IS NULL THEN excluded.attributes "
        "WHEN excluded.attributes = '{}' THEN '{' || others || '}' "
        "ELSE '{' || others || ',' || substr(excluded.attributes, 2) END FROM ("
        "SELECT group_concat(json_quote(o.key) || ':' || (t.attributes -> o.fullkey)) AS others "
        f"FROM json_each(t.attributes) AS o WHERE o.key NOT IN ({', '.join(map(_literal, attributes))})))"
    )
    return _MERGED.format(paths=paths, compared=compared)


def _by_names(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[tuple[list[str], pa.Table]] | None:
    """The rows by the names of the attributes that they set or unset; None if these are too many or not plain."""
    given = connection.from_arrow(rows.select(["attributes", "cleared"]))
    all_ = "list_sort(list_distinct(list_concat(keys, from_json(cleared, '[\"VARCHAR\"]')))) AS names"
    keys = given.project("json_keys(attributes) AS keys, cleared")
    found = [names for (names,) in keys.distinct().project(all_).distinct().limit(_MOST_GROUPS + 1).fetchall()]
    if len(found) > _MOST_GROUPS or not all(_PLAIN_NAME.fullmatch(name) for names in found for name in names):
        return None
    if len(found) == 1:
        return [(found[0], rows)]
    texts = keys.project(all_).project("CAST(to_json(names) AS VARCHAR) AS names").to_arrow_table()["names"]
    spelled = (json.dumps(names, ensure_ascii=False, separators=(",", ":")) for names in found)
    return [(names, rows.filter(pc.equal(texts, text))) for names, text in zip(found, spelled, strict=True)]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
