"""What a warehouse tells the contract suite of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa
import pytest

T = TypeVar("T")

#: Makes a table or file of the name from a SELECT.
MakeTable = Callable[[str, str], None]


#: An expression; its Arrow type, metadata and value. A time beyond Python's is given as Arrow's bits.
TypeCase = tuple[str, pa.DataType, dict[bytes, bytes] | None, Any]


TEXT, UTC_TIME, NAIVE, DAY = pa.string(), pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()


END, LAST_DAY = 2**63 - 1, 2**31 - 1


NOON = datetime.fromisoformat("2024-02-29 12:00:00.123456")


LONG = "1234567890" * 6 + ".123456789"


UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One warehouse with a table `people` of two rows: (1, 'Ann') and (2, NULL)."""

    url: str
    make_table: MakeTable
    product: str
    #: Queries that never end: without a row, and with ever more rows.
    silent: str
    flooding: str
    types: list[TypeCase]
    #: What the expressions of `types` are selected from.
    types_from: str = ""
    #: Names that columns of one result may have, in the warehouse's own quotes and bare.
    odd_names: list[tuple[str, str]] = field(
        default_factory=lambda: [("id", "id"), ("id", "id"), ('"Weird ""name""; --"', 'Weird "name"; --')]
    )
    #: Whether what stands in for it has a catalog of its tables.
    has_catalog: bool = True
    #: A row whose text begins with U+FEFF, 200,000 times.
    marks: str = "SELECT chr(65279) || repeat('x', 20) AS a FROM generate_series(1, 200000) AS t (i)"
    #: Queries that fail because of the value 'Ann', and one that fails in the last tenth of a million rows.
    bad_values: tuple[str, ...] = ("SELECT CAST(name AS INTEGER) FROM people", "SELECT CAST('Ann' AS DATE)")
    bad_late: str = (
        "SELECT CAST(CASE WHEN i = 900000 THEN 'x' ELSE '1' END AS INTEGER) FROM generate_series(1, 1000000) AS t (i)"
    )
    #: A million rows of ten columns, for `make_table`.
    many: str = (
        "SELECT i AS id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name, "
        "CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, CAST(i AS NUMERIC(12, 2)) / 100 AS ltv, "
        "TIMESTAMP '2024-01-01' + i * INTERVAL '1 second' AS seen_at, i % 2 = 0 AS active, 'free' AS plan, "
        "CAST('2024-01-01' AS DATE) AS born, i % 100 AS score FROM generate_series(1, 1000000) AS t (i)"
    )
    #: A text as a literal of the warehouse's SQL.
    literal: Callable[[str], str] = lambda text: "'" + text.replace("'", "''") + "'"
    #: Its type for floats of 8 bytes.
    double: str = "DOUBLE PRECISION"
    #: An expression for the text `a` and a byte that is no UTF-8; empty if no text can be so.
    broken_text: str = ""
    #: Expressions of each type for JSON, of the literal `{}`; empty if none tells JSON from text.
    json: tuple[str, ...] = ()
    #: Expressions for the bytes 00 FF, of each binary type.
    binary: tuple[str, ...] = ("'\\x00ff'::bytea",)
    #: Whether an unknown column or table is told with its line; a mistake of syntax always is.
    tells_line_of_names: bool = True
    #: The same for a table alone.
    tells_line_of_tables: bool = True
    #: What opens it, as `module:name`.
    opened_by: str = "syncer.settings.registry:open_warehouse"
    #: Whether the schema is told before the first row.
    tells_types: bool = True
    #: How many queries of ours the server is busy with; None where it cannot be asked.
    running: Callable[[], int] | None = None

    def runs(self, queries: int) -> bool:
        """Whether the server is busy with so many queries of ours, as far as it can be asked."""
        return self.running is None or self.running() == queries


def entered(request: pytest.FixtureRequest, context: AbstractContextManager[T]) -> T:
    """What *context* gives; it ends when the adapter is needed no longer."""
    given = context.__enter__()
    request.addfinalizer(lambda: context.__exit__(None, None, None))
    return given


def with_people(adapter: Adapter) -> Adapter:
    adapter.make_table("people", "SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, NULL")
    return adapter
