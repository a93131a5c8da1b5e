"""Many entities of an SQL store at once: the database makes one JSON text of a page, and DuckDB makes Arrow of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import duckdb
import pyarrow as pa

from connectors.sql_store import people
from connectors.sql_store.contents import Fetch
from connectors.sql_store.dialect import SQLDialect, UnfitRowsError
from syncer.model.types import Entity, Target

#: Of one page; SQLite takes at most 1e9 bytes of JSON.
PAGE_ROWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """How one entity is read."""

    #: Name to SQL, each a text.
    columns: dict[str, str]
    table: str
    #: Finds the rows of `batch`, which has the keys.
    joined: str
    #: Column to SQL: what tells one row from the next, in the order of the pages.
    order: dict[str, str]
    condition: str = "1 = 1"


def listed(fetch: Fetch, dialect: SQLDialect, target: Target, names: Sequence[str]) -> Iterator[pa.Table]:
    """Every entity, page by page; the caller's transaction keeps them as of one moment."""
    listing, after, values, most = _listing(dialect, target, names), "", _values(target), PAGE_ROWS
    by = list(listing.order.values())
    with duckdb.connect() as connection:
        while True:
            rows = (
                f"SELECT {_selected(listing)} FROM {listing.table} WHERE {listing.condition}{after} "
                f"ORDER BY {', '.join(by)} LIMIT {most}"
            )
            try:
                page = _page(fetch, dialect, listing.columns, rows, values, connection)
            except UnfitRowsError:
                # Together they are too long.
                if most == 1:
                    raise
                most //= 2
                continue
            if len(page):
                yield page
            if len(page) < most:
                return
            last = {f"after_{name}": page[name][-1].as_py() for name in listing.order}
            # A text sorts otherwise than the number that it spells.
            values |= {name: int(value) if name == "after_cio_id" else value for name, value in last.items()}
            after = f" AND ({', '.join(by)}) > ({', '.join(f':{name}' for name in last)})"


def in_pages(found: Callable[[pa.Table], pa.Table], keys: pa.Table) -> Iterator[pa.Table]:
    """What is *found* of the keys, of PAGE_ROWS at once, and of fewer where that would be too long a text."""
    waiting = [keys[first : first + PAGE_ROWS] for first in range(0, len(keys), PAGE_ROWS)]
    while waiting:
        wanted = waiting.pop(0)
        try:
            page = found(wanted)
        except UnfitRowsError:
            if len(wanted) == 1:
                raise
            half = len(wanted) // 2
            waiting[:0] = [wanted[:half], wanted[half:]]
        else:
            yield page


def sought(fetch: Fetch, dialect: SQLDialect, target: Target, names: Sequence[str]) -> pa.Table:
    """The entities of the keys in `batch`, of which there are at most PAGE_ROWS."""
    listing = _listing(dialect, target, names)
    rows = f"SELECT {_selected(listing)} FROM batch AS b {listing.joined} WHERE {listing.condition}"
    with duckdb.connect() as connection:
        return _page(fetch, dialect, listing.columns, rows, _values(target), connection)


def holders(fetch: Fetch, dialect: SQLDialect, visitors: Sequence[str]) -> pa.Table:
    """Whose *visitors* are: `anonymous`, `cio_id`."""
    rows = (
        "SELECT v.anonymous_id AS anonymous, CAST(v.person_id AS text) AS cio_id "
        f"FROM {dialect.each_text} JOIN visitors AS v ON v.anonymous_id = e.value"
    )
    values = {"values": json.dumps(visitors, ensure_ascii=False)}
    with duckdb.connect() as connection:
        return _page(fetch, dialect, ("anonymous", "cio_id"), rows, values, connection)


def _page(
    fetch: Fetch,
    dialect: SQLDialect,
    columns: Collection[str],
    rows: str,
    values: Mapping[str, str | int],
    connection: duckdb.DuckDBPyConnection,
) -> pa.Table:
    """A page as the texts of its columns; no row of it passes through Python."""
    ((document,),) = fetch(dialect.as_json.format(columns=", ".join(columns), rows=rows), **values)
    named = ", ".join(f"r[{i}] AS {name}" for i, name in enumerate(columns, start=1))
    parsed = """SELECT unnest(from_json($document, '[["VARCHAR"]]')) AS r"""
    found = connection.sql(f"SELECT {named} FROM ({parsed})", params={"document": document or "[]"})
    return found.to_arrow_table()


def _selected(listing: _Listing) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in listing.columns.items())


def _values(target: Target) -> dict[str, str | int]:
    named = {"object_type": target.object_type, "collection": target.collection}
    return {name: value for name, value in named.items() if value is not None}


def _listing(dialect: SQLDialect, target: Target, names: Sequence[str]) -> _Listing:
    person = {"cio_id": "CAST(p.person_id AS text)"} | {name: f"p.{name}" for name in names}
    match target.entity:
        case Entity.PERSON:
            return _Listing(
                columns=person | {"attributes": "CAST(p.attributes AS text)"},
                table="people AS p",
                joined=f"JOIN people AS p ON {people.NAMED[target.person]}",
                order={"cio_id": "p.person_id"},
            )
        case Entity.OBJECT:
            return _Listing(
                columns={"object_id": "o.object_id", "attributes": "CAST(o.attributes AS text)"},
                table="objects AS o",
                joined="JOIN objects AS o ON o.object_id = b.object_id",
                order={"object_id": "o.object_id"},
                condition="o.object_type = :object_type",
            )
        case Entity.RELATIONSHIP:
            related = "relationships AS r"
            return _Listing(
                columns=person | {"object_id": "r.object_id", "attributes": "CAST(r.attributes AS text)"},
                table=f"{related} JOIN people AS p ON p.person_id = r.person_id",
                joined=f"JOIN people AS p ON {people.NAMED[target.person]} "
                f"JOIN {related} ON r.person_id = p.person_id AND r.object_id = b.object_id",
                order={"cio_id": "r.person_id", "object_id": "r.object_id"},
                condition="r.object_type = :object_type",
            )
        case Entity.DEVICE:
            used = dialect.moment.format("d.last_used")
            own = {"token": "d.token", "platform": "d.platform", "last_used": used}
            return _Listing(
                columns=person | own | {"attributes": "CAST(d.attributes AS text)"},
                table="devices AS d JOIN people AS p ON p.person_id = d.person_id",
                # A token has one person, perhaps another than the row's.
                joined="JOIN devices AS d ON d.token = b.token JOIN people AS p ON p.person_id = d.person_id",
                order={"token": "d.token"},
            )
        case Entity.EVENT:
            raise ValueError("events are not read back")
        case Entity.COLLECTION:
            return _Listing(
                columns={"key": "c.key", "attributes": "CAST(c.data AS text)"},
                table="collection_rows AS c",
                joined="JOIN collection_rows AS c ON c.key = b.key",
                order={"key": "c.key"},
                condition="c.collection = :collection",
            )
        case Entity.MERGE:
            raise ValueError("who was merged cannot be read back")
        case _:
            assert_never(target.entity)
