"""Which people of a store may be one, as one query over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connectors.sql_store.contents import Fetch
from connectors.sql_store.people import UNIQUE
from syncer.model.duplicates import DUPLICATES, NAMES
from syncer.model.types import Identity

#: Rows that come at once.
PAGE_ROWS = 10_000

#: Identifiers, which are columns.
_COLUMNS = ("id", "email")
_PHONE = "phone"

#: Materialized, or a value would be made for each time that it is mentioned.
_QUERY = """
    WITH named AS MATERIALIZED (SELECT p.person_id, {values} FROM people AS p),
    grouped AS (
        SELECT person_id, min(person_id) OVER (PARTITION BY {names}) AS oldest FROM named WHERE {are_given}
    ),
    found AS MATERIALIZED (SELECT person_id, oldest FROM grouped WHERE oldest < person_id)
    SELECT k.id, k.email, CAST(k.person_id AS text), m.id, m.email, CAST(m.person_id AS text)
    FROM found AS f JOIN people AS k ON k.person_id = f.oldest JOIN people AS m ON m.person_id = f.person_id
    ORDER BY k.person_id, m.person_id"""

#: These have a row if somebody has it.
_WITH_COLUMN = "SELECT 1 FROM people WHERE {} IS NOT NULL LIMIT 1"
_WITH_ATTRIBUTE = "SELECT 1 FROM people AS p WHERE EXISTS (SELECT 1 FROM {} AS e WHERE e.key = :name) LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """SQL that each database spells in its own way."""

    #: The text of the attribute of the person `p` that the variable `{name}` names.
    attribute: str
    #: The text {value} without blanks around it and in lower case.
    folded: str
    #: The digits of the text {value}, after a `+` where it begins with one; empty without a digit.
    phone: str
    #: A number for the variable `most`.
    limit: str


def found(
    pages: Callable[[str, Mapping[str, str | int]], Iterator[Sequence[Sequence[Any]]]],
    comparison: Comparison,
    names: Sequence[str],
    limit: int | None,
) -> Iterator[pa.Table]:
    """See `FindsDuplicates.duplicates`; *pages* runs a query with variables, and returns some rows at once."""
    columns: list[str] = []
    values: dict[str, str | int] = {}
    for number, name in enumerate(names):
        value = f"p.{name}"
        if name not in _COLUMNS:
            variable = f"attribute{number}"
            values[variable] = name
            value = comparison.attribute.format(name=variable)
        normalised = comparison.phone if name == _PHONE else comparison.folded
        columns.append(f"{normalised.format(value=value)} AS v{number}")
    numbered = [f"v{number}" for number in range(len(names))]
    sql = _QUERY.format(
        values=", ".join(columns),
        names=", ".join(numbered),
        are_given=" AND ".join(f"{column} <> ''" for column in numbered),
    )
    if limit is not None:
        sql, values = f"{sql} LIMIT {comparison.limit}", values | {"most": limit}
    yield from map(_table_of, pages(sql, values))


def _table_of(rows: Sequence[Sequence[Any]]) -> pa.Table:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    people = [pa.StructArray.from_arrays(columns[first : first + 3], fields=[*NAMES]) for first in (0, 3)]
    return pa.table(people, schema=DUPLICATES)


def why_none(fetch: Fetch, each_attribute: str, identity: Identity, names: Sequence[str]) -> Iterator[str]:
    """See `FindsDuplicates.why_no_duplicates`."""
    for name in names:
        if name == "email" and name in UNIQUE[identity]:
            yield "no two people of the store have one email"
        elif name in _COLUMNS:
            if not fetch(_WITH_COLUMN.format(name)):
                yield f"nobody in the store has an {name}"
        elif not fetch(_WITH_ATTRIBUTE.format(each_attribute), name=name):
            yield f"nobody in the store has the attribute `{name}`"
