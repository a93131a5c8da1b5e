"""Which people of a store may be one, as one query over all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connectors.sql_store.contents import Fetch
from connectors.sql_store.people import listed
from syncer.model.duplicates import pairs_of

#: Rows that come at once.
PAGE_ROWS = 10_000

_PHONE = "phone"

#: Materialized, or a value would be made for each time that it is mentioned.
_QUERY = """
    WITH named AS MATERIALIZED (SELECT p.person_id, {values} FROM people AS p),
    grouped AS (
        SELECT person_id, min(person_id) OVER (PARTITION BY {names}) AS oldest FROM named WHERE {are_given}
    ),
    found AS MATERIALIZED (SELECT person_id, oldest FROM grouped WHERE oldest < person_id)
    SELECT {kept}, CAST(k.person_id AS text), {merged}, CAST(m.person_id AS text)
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
    identifiers: Sequence[str],
) -> Iterator[pa.Table]:
    """See `FindsDuplicates.duplicates`; *pages* runs a query with variables, and returns some rows at once."""
    columns: list[str] = []
    values: dict[str, str | int] = {}
    for number, name in enumerate(names):
        value = f"p.{name}"
        if name not in identifiers or name == _PHONE:
            variable = f"attribute{number}"
            values[variable] = name
            attribute = comparison.attribute.format(name=variable)
            # A phone that is none, or somebody else's too, is an attribute from before phones were identifiers.
            value = f"coalesce({value}, {attribute})" if name in identifiers else attribute
        normalised = comparison.phone if name == _PHONE else comparison.folded
        columns.append(f"{normalised.format(value=value)} AS v{number}")
    numbered = [f"v{number}" for number in range(len(names))]
    sql = _QUERY.format(
        values=", ".join(columns),
        names=", ".join(numbered),
        are_given=" AND ".join(f"{column} <> ''" for column in numbered),
        kept=listed("k", identifiers),
        merged=listed("m", identifiers),
    )
    if limit is not None:
        sql, values = f"{sql} LIMIT {comparison.limit}", values | {"most": limit}
    schema = pairs_of(identifiers)
    for rows in pages(sql, values):
        yield _table_of(rows, schema)


def _table_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    fields = [*schema.field("keep").type]
    sides = (columns[: len(fields)], columns[len(fields) :])
    return pa.table([pa.StructArray.from_arrays(side, fields=fields) for side in sides], schema=schema)


def why_none(
    fetch: Fetch, each_attribute: str, unique: Collection[str], identifiers: Collection[str], names: Sequence[str]
) -> Iterator[str]:
    """See `FindsDuplicates.why_no_duplicates`; *unique*: those of the *identifiers* that no two people share."""
    for name in names:
        if name in unique and name != "id":
            yield f"no two people of the store have one {name}"
        elif name in identifiers:
            if not fetch(_WITH_COLUMN.format(name)):
                yield f"nobody in the store has an {name}"
        elif not fetch(_WITH_ATTRIBUTE.format(each_attribute), name=name):
            yield f"nobody in the store has the attribute `{name}`"
