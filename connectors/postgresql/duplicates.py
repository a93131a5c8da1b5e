"""How PostgreSQL compares people with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa

from connectors.sql_store import duplicates
from connectors.sql_store.duplicates import PAGE_ROWS, Comparison

_BLANKS = r"E' \t\n\r\f\u000b\u00a0'"

#: That of the database itself may know the lower case of ASCII alone. The version of the server, and how it was built,
#: say which others there are.
_COLLATION = """
    SELECT coalesce(CAST(min(collname) AS text), 'default') FROM pg_collation
    WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND collencoding IN
        (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))"""

#: The inner `translate` leaves what is no digit. OFFSET 0: the value is made once.
_PHONE = f"""(
    SELECT CASE WHEN digits <> '' AND starts_with(btrim(said, {_BLANKS}), '+') THEN '+' ELSE '' END || digits
    FROM (
        SELECT said, translate(said, translate(said, '0123456789', ''), '') AS digits
        FROM (SELECT {{value}} COLLATE "C" AS said OFFSET 0) AS s OFFSET 0
    ) AS d)"""


def found(
    connection: psycopg.Connection, names: Sequence[str], limit: int | None, identifiers: Sequence[str]
) -> Iterator[pa.Table]:
    """See `FindsDuplicates.duplicates`; within a transaction."""
    ((collation,),) = connection.execute(_COLLATION).fetchall()
    comparison = Comparison(
        attribute="(p.attributes ->> %({name})s)",
        folded=f'lower(btrim({{value}}, {_BLANKS}) COLLATE "{collation}") COLLATE "C"',
        phone=_PHONE,
        limit="%(most)s",
    )

    def pages(sql: str, values: Mapping[str, str | int]) -> Iterator[list[Any]]:
        with connection.cursor(name="duplicates") as cursor:
            cursor.execute(sql, values)
            while rows := cursor.fetchmany(PAGE_ROWS):
                yield rows

    yield from duplicates.found(pages, comparison, names, limit, identifiers)
