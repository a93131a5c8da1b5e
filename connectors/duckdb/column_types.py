"""The types of the columns of a CSV or JSON file: those in which every value, written back, is what the file says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb

from connectors.support.warehouse import quote_identifier, quote_literal

#: Rows that rule out most types before all rows are read.
_FIRST_ROWS = 20_000
#: Digits of a number that a double may not keep.
_LONG_NUMBER = "[0-9][0-9.]{16}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileColumn:
    """A column of a file as its view has it."""

    name: str
    type: str
    #: SQL for its value, of its name.
    value: str
    #: SQL for its text in the file.
    text: str
    #: The type that its first value suggests, if another row rules it out, and SQL for whether a row does not.
    suggested: str = ""
    is_suggested: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A type that a column may have."""

    type: str
    #: SQL for a value of it, of the text `{0}`.
    value: str
    #: SQL for whether the value of the text `{0}` is spelled as the text is.
    is_exact: str

    def of(self, sql: str, text: str) -> str:
        """One of these expressions, of the SQL *text*."""
        return sql.replace("{0}", text)


def _plain(type_: str, *, written: str = "TRY_CAST({0} AS {type})::VARCHAR", only: str = "true") -> Candidate:
    back = written.replace("{type}", type_)
    return Candidate(type=type_, value=f"CAST({{0}} AS {type_})", is_exact=f"{only} AND {back} = {{0}}")


_FRACTIONS = {3: "%g", 6: "%f"}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(?:\.(\d+))?(Z|\+00)?")


def candidates(text: str) -> Iterator[Candidate]:
    """The types that a column with this *text* as a value may have, the narrowest first."""
    if text in ("true", "false"):
        yield _plain("BOOLEAN")
    elif re.fullmatch(r"-?\d+", text):
        yield from (_plain("BIGINT"), _plain("DECIMAL(38,0)"))
    elif decimal := re.fullmatch(r"-?\d*\.(\d{1,37})", text):
        yield from (_plain(f"DECIMAL({p},{len(decimal[1])})") for p in (18, 38) if p > len(decimal[1]))
        yield _plain("DOUBLE")
    else:
        yield from moments(text)


def moments(text: str) -> Iterator[Candidate]:
    """Those of them that are dates and times."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        yield _plain("DATE", only="strlen({0}) = 10 AND {0}[5] = '-'")
    elif re.fullmatch(r"\d\d:\d\d:\d\d(\.\d+)?", text):
        yield _plain("TIME")
    elif moment := _MOMENT.fullmatch(text):
        separator, fraction, zone = moment.groups()
        type_ = "TIMESTAMP WITH TIME ZONE" if zone else "TIMESTAMP"
        time = f"TRY_CAST({{0}} AS {type_})" + (" AT TIME ZONE 'UTC'" if zone else "")
        spelled = [f"({time})::VARCHAR"]
        if fraction and len(fraction) in _FRACTIONS:
            spelled.append(f"strftime({time}, '%Y-%m-%d %H:%M:%S.{_FRACTIONS[len(fraction)]}')")
        for written in spelled:
            back = f"replace({written}, ' ', '{separator}') || '{zone or ''}'"
            yield _plain(type_, written=back, only="{0}[5] = '-' AND NOT contains({0}, '(')")


def csv_columns(connection: duckdb.DuckDBPyConnection, source: str) -> list[FileColumn]:
    """The columns of *source*, SQL whose columns are all text. Reads every row.

    Raises:
        duckdb.Error: a row cannot be read.
    """
    texts = {name: quote_identifier(name) for name in column_names(connection, source)}
    firsts = _firsts(connection, source, texts)
    suggested = {name: list(candidates(first)) if first is not None else [] for name, first in firsts.items()}
    left = _exact(connection, source, texts, suggested)
    return [_column(name, text, suggested[name], left.get(name), "VARCHAR") for name, text in texts.items()]


def json_columns(connection: duckdb.DuckDBPyConnection, source: str) -> list[FileColumn]:
    """The columns of *source*, SQL whose columns are all JSON. Reads every row.

    Raises:
        duckdb.Error: a row cannot be read.
    """
    quoted = {name: quote_identifier(name) for name in column_names(connection, source)}
    kinds = _one(connection, source, [f"list_sort(list(DISTINCT json_type({c})))" for c in quoted.values()])
    by_name = dict(zip(quoted, (frozenset(kind or []) - {None} for kind in kinds), strict=True))
    texts = {n: f"({c}->>'$')" if by_name[n] == {"VARCHAR"} else f"{c}::VARCHAR" for n, c in quoted.items()}
    nested = [name for name, kind in by_name.items() if kind in ({"OBJECT"}, {"ARRAY"})]
    structures = _one(connection, source, [f"json_group_structure({quoted[name]})::VARCHAR" for name in nested])
    suggested = {n: list(_in_members(connection, found)) for n, found in zip(nested, structures, strict=True)}
    strings = {name: texts[name] for name, kind in by_name.items() if kind == {"VARCHAR"}}
    for name, first in _firsts(connection, source, strings).items():
        suggested[name] = list(moments(first or ""))
    numbers = [name for name, kind in by_name.items() if kind and kind <= {"UBIGINT", "BIGINT", "DOUBLE"}]
    scales = _one(connection, source, [f"max(strlen(split_part({texts[name]}, '.', 2)))" for name in numbers])
    for name, scale in zip(numbers, scales, strict=True):
        exact = [_plain(f"DECIMAL(38,{scale})", written=_EXACT)] if 0 < scale < _MOST_DIGITS else []
        suggested[name] = [*_JSON_NUMBERS, *exact]
    for name, kind in by_name.items():
        if name in numbers:
            continue
        if kind & {"UBIGINT", "BIGINT", "DOUBLE"}:
            suggested[name] = [_JSON_DOUBLE]
        elif kind == {"BOOLEAN"}:
            suggested[name] = [_plain("BOOLEAN")]
    left = _exact(connection, source, texts, suggested)
    return [
        _column(name, texts[name], suggested.get(name, []), left.get(name), "VARCHAR" if name in strings else "JSON")
        for name in quoted
    ]


def column_names(connection: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    """The names of the columns of *source*."""
    return [name for name, *_ in connection.execute(f"DESCRIBE FROM {source}").fetchall()]


def _column(
    name: str, text: str, suggested: list[Candidate], left: list[Candidate] | None, otherwise: str
) -> FileColumn:
    if left:
        return FileColumn(name=name, type=left[0].type, value=left[0].of(left[0].value, text), text=text)
    return FileColumn(
        name=name,
        type=otherwise,
        value=text if otherwise == "VARCHAR" else quote_identifier(name),
        text=text,
        suggested=suggested[0].type if suggested else "",
        is_suggested=suggested[0].of(suggested[0].is_exact, text) if suggested else "",
    )


_MOST_DIGITS = 38
#: SQL for the significant digits of a number.
_DIGITS = "rtrim(ltrim(regexp_replace(lower({}), '^-|[.]|e.*$', '', 'g'), '0'), '0')"
#: JSON's numbers have no spelling, but digits.
_JSON_DOUBLE = Candidate(
    type="DOUBLE",
    value="CAST({0} AS DOUBLE)",
    # A double has any number of 15 digits.
    is_exact="isfinite(TRY_CAST({0} AS DOUBLE)) AND CASE WHEN strlen({0}) <= 15 AND NOT contains(lower({0}), 'e') "
    f"THEN true ELSE {_DIGITS.format('{0}')} = {_DIGITS.format('TRY_CAST({0} AS DOUBLE)::VARCHAR')} END",
)
#: SQL for the text `{0}` where the type holds all its digits.
_EXACT = "CASE WHEN NOT contains(lower({0}), 'e') AND TRY_CAST({0} AS {type}) IS NOT NULL THEN {0} END"
_JSON_NUMBERS = [_plain("BIGINT"), _plain("DECIMAL(38,0)"), _JSON_DOUBLE]


def _in_members(connection: duckdb.DuckDBPyConnection, structure: str) -> Iterator[Candidate]:
    """A type for JSON objects or arrays of this *structure*; one that knows no missing members comes first."""
    signed = re.sub(r'(?<=[:\[])"UBIGINT"', '"BIGINT"', structure)
    typed = f"from_json({{0}}, {quote_literal(signed)})"
    # No struct has members whose names differ by case alone.
    with suppress(duckdb.Error):
        connection.execute(f"SELECT {typed.replace('{0}', quote_literal('null'))}")
        yield Candidate(type="STRUCT", value=typed, is_exact=f"to_json({typed})::VARCHAR = {{0}}")
    variant = "CAST({0}::JSON AS VARIANT)"
    yield Candidate(type="VARIANT", value=variant, is_exact=f"NOT regexp_matches({{0}}, '{_LONG_NUMBER}')")


def _firsts(connection: duckdb.DuckDBPyConnection, source: str, texts: Mapping[str, str]) -> dict[str, str | None]:
    """The first text of each column that is not NULL; None if all are."""
    found: dict[str, str | None] = dict.fromkeys(texts)
    for rows in (f"(FROM {source} LIMIT {_FIRST_ROWS})", source):
        missing = [name for name, first in found.items() if first is None]
        found |= zip(missing, _one(connection, rows, [f"any_value({texts[name]})" for name in missing]), strict=True)
    return found


def _exact(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    texts: Mapping[str, str],
    suggested: Mapping[str, list[Candidate]],
) -> dict[str, list[Candidate]]:
    """Those candidates of each column that every text in *source* is spelled as."""
    left = {(name, candidate) for name, found in suggested.items() for candidate in found}
    for rows in (f"(FROM {source} LIMIT {_FIRST_ROWS})", source):
        pairs = list(left)
        tests = [f"({c.of(c.is_exact, texts[name])}) OR {texts[name]} IS NULL" for name, c in pairs]
        held = _one(connection, rows, [f"bool_and(coalesce({test}, false))" for test in tests])
        left = {pair for pair, is_exact in zip(pairs, held, strict=True) if is_exact is not False}
    return {name: [c for c in found if (name, c) in left] for name, found in suggested.items()}


def _one(connection: duckdb.DuckDBPyConnection, rows: str, aggregates: Iterable[str]) -> tuple[Any, ...]:
    """The values of *aggregates* over *rows*; nothing is read where there are none."""
    listed = ", ".join(aggregates)
    row = connection.execute(f"SELECT {listed} FROM {rows}").fetchone() if listed else ()
    assert row is not None
    return tuple(row)
