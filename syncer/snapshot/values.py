"""Canonical values: what counts as equal in a snapshot, and how it is written as JSON.

A column has a kind, and each kind one storage type, so that equal values of another width or spelling compare
as equal: integers are BIGINT, decimals their shortest digits as text, floats DOUBLE without -0.0, times UTC.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import pyarrow as pa

from syncer.model.protocols import KIND
from syncer.model.spelling import BLANKS
from syncer.model.types import ValueForm
from syncer.snapshot.spelling import DEEPEST_JSON, float_digits, is_too_deep, shortest_digits, trimmed_digits

#: What fits an ISO-8601 date of four digits; other times are taken for NULL, as infinity is.
_FIRST, _LAST = "0001-01-01", "9999-12-31 23:59:59.999999"


class ColumnType(enum.StrEnum):
    """What a column holds; the value is its name in the snapshot file."""

    INTEGER = "integer"
    NUMBER = "number"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"
    BINARY = "binary"

    @property
    def storage(self) -> str:
        """DuckDB's type for a column of this kind."""
        return _STORAGE.get(self, "VARCHAR")

    @property
    def may_be_infinite(self) -> bool:
        """Whether a value may have no JSON form, and is then taken for NULL."""
        return self in (ColumnType.NUMBER, ColumnType.FLOAT, ColumnType.TIMESTAMP, ColumnType.DATE)

    @property
    def has_spellings(self) -> bool:
        """Whether equal values may have several texts."""
        return self in (ColumnType.JSON, ColumnType.NUMBER)


_BLANKS = f"'{BLANKS}'"

_STORAGE = {
    ColumnType.INTEGER: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.DATE: "DATE",
}


def column_type(field: pa.Field) -> ColumnType:
    """The kind of a warehouse's column; what has no kind of its own is text."""
    named = (field.metadata or {}).get(KIND)
    if named is not None:
        return ColumnType(named.decode())
    kind: ColumnType
    for test, kind in _ARROW_KINDS:
        if test(field.type):
            return kind
    return ColumnType.TEXT


def _nested(type_: pa.DataType) -> bool:
    return bool(pa.types.is_nested(type_))


def _binary(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))


def _number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(type_) or pa.types.is_uint64(type_))


_ARROW_KINDS = (
    (pa.types.is_boolean, ColumnType.BOOLEAN),
    (_number, ColumnType.NUMBER),
    (pa.types.is_integer, ColumnType.INTEGER),
    (pa.types.is_floating, ColumnType.FLOAT),
    (pa.types.is_timestamp, ColumnType.TIMESTAMP),
    (pa.types.is_date, ColumnType.DATE),
    (_binary, ColumnType.BINARY),
    (_nested, ColumnType.JSON),
)


def scanned_type(type_: pa.DataType) -> pa.DataType:
    """The type in which DuckDB scans a warehouse's column of this type."""
    if pa.types.is_dictionary(type_):
        return scanned_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_timestamp(type_):
        # Arrow keeps times with a zone in UTC; without it DuckDB need not look the zone up for every value.
        return pa.timestamp("us")
    return _with_floats_as(pa.float64(), type_) if _nested(type_) else type_


def as_scanned(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """*array* in its `scanned_type`."""
    if array.type == type_:
        return array
    if _nested(array.type):
        # By way of text a 4-byte 0.1 is 0.1 and not 0.10000000149.
        array = array.cast(_with_floats_as(pa.string(), array.type))
    return array.cast(type_, safe=False)


def _with_floats_as(leaf: pa.DataType, type_: pa.DataType) -> pa.DataType:
    """*type_* with *leaf* in the place of every 4-byte float in it."""
    if pa.types.is_float32(type_):
        return leaf
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_with_floats_as(leaf, field.type)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_with_floats_as(leaf, type_.key_type), _with_floats_as(leaf, type_.item_type))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_with_floats_as(leaf, type_.value_type), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(_with_floats_as(leaf, type_.value_type))
    if pa.types.is_list(type_):
        return pa.list_(_with_floats_as(leaf, type_.value_type))
    return type_


_TOLD_APART = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_timestamp,
    pa.types.is_date,
)
#: Decimals of so many digits are 64-bit integers to DuckDB.
_INT64_DIGITS = 18


def canonical(kind: ColumnType, type_: pa.DataType, value: str) -> str:
    """SQL for the stored form of the SQL expression *value*, which DuckDB scans from Arrow's *type_*."""
    match kind:
        case ColumnType.NUMBER:
            text = f"CAST({value} AS VARCHAR)"
            return trimmed_digits(text) if _has_whole_digits(type_) else shortest_digits(text)
        case ColumnType.FLOAT:
            # By way of text a 4-byte 0.1 is 0.1 and not 0.10000000149; adding 0.0 turns -0.0 into 0.0.
            double = value if pa.types.is_float64(type_) else f"CAST({value} AS VARCHAR)"
            return f"CASE WHEN isfinite({value}) THEN CAST({double} AS DOUBLE) + 0.0 END"
        case ColumnType.TIMESTAMP | ColumnType.DATE:
            cast = value if pa.types.is_temporal(type_) else f"TRY_CAST({value} AS {kind.storage})"
            return f"CASE WHEN {cast} BETWEEN '{_FIRST}' AND '{_LAST}' THEN {cast} END"
        case ColumnType.JSON:
            text = f"CAST({f'to_json({value})' if _nested(type_) else value} AS VARCHAR)"
            # JSON's null, alone, is no value.
            return f"CASE WHEN trim({text}, {_BLANKS}) <> 'null' THEN {text} END"
        case ColumnType.BINARY:
            return f"base64({value})"
        case _:
            return f"CAST({value} AS {kind.storage})"


def hashed(type_: pa.DataType, value: str) -> str:
    """SQL for what to hash of a value as it comes.

    DuckDB 2.0 hashes these types by themselves; but its hash of [0] is that of [0, 0], of [] that of NULL, of -1 as a
    128-bit decimal that of 0, and of an interval of 30 days that of a month.
    """
    if any(test(type_) for test in _TOLD_APART) or (pa.types.is_decimal(type_) and type_.precision <= _INT64_DIGITS):
        return value
    return f"CAST({f'to_json({value})' if _nested(type_) else value} AS VARCHAR)"


def _has_whole_digits(type_: pa.DataType) -> bool:
    """Whether DuckDB writes a digit before the point, and neither zeros before that digit nor an exponent."""
    return not (pa.types.is_decimal(type_) and type_.precision == type_.scale) and not pa.types.is_string(type_)


def json_holds_nul(text: str) -> str:
    """SQL for whether a string in the JSON *text* holds a NUL character."""
    return rf"(contains({text}, '\u0000') AND regexp_matches({text}, '(^|[^\\])(\\\\)*\\u0000'))"


def holds_members(text: str) -> str:
    """SQL for whether the JSON *text* is an object or an array, and so no identifier."""
    return f"regexp_matches({text}, '^[[:space:]]*[{{\\[]')"


def json_holds_infinity(text: str) -> str:
    """SQL for whether the JSON *text* has NaN or infinity among its values, which DuckDB writes and takes for JSON."""
    return _holds_bare(text, "(?i)nan|inf")


def json_holds_spare_comma(text: str) -> str:
    """SQL for whether the JSON *text* has a comma after its last member or item, which DuckDB takes for JSON."""
    return _holds_bare(text, ",[[:space:]]*[]}]")


def _holds_bare(text: str, pattern: str) -> str:
    """SQL for whether the JSON *text* matches outside of its strings."""
    bare = f"""regexp_replace({text}, '"(\\\\.|[^"\\\\])*"', '""', 'g')"""
    return f"(regexp_matches({text}, '{pattern}') AND regexp_matches({bare}, '{pattern}'))"


def json_faults(name: str, value: str, *, is_given: str) -> list[tuple[str, str]]:
    """SQL of tests, each with that of its reason, for a *value* of JSON in the column *name* that cannot be sent."""
    column = f"column `{name}`"
    return [
        (
            f"{is_given} AND (NOT json_valid({value}) OR {json_holds_spare_comma(value)})",
            literal(f"{column} is not valid JSON"),
        ),
        (is_too_deep(value), literal(f"{column} is JSON nested more than {DEEPEST_JSON} levels deep")),
        (json_holds_nul(value), literal(f"{column} holds a NUL character")),
        (json_holds_infinity(value), literal(f"{column} holds NaN or infinity inside its JSON")),
    ]


def as_json(kind: ColumnType, value: str) -> str:
    """SQL for the JSON text of the stored, not NULL *value*. Equal values have equal texts, over kinds too."""
    match kind:
        case ColumnType.INTEGER | ColumnType.BOOLEAN:
            return f"CAST({value} AS VARCHAR)"
        case ColumnType.FLOAT:
            return float_digits(value)
        case ColumnType.NUMBER | ColumnType.JSON:
            return value
        case ColumnType.TIMESTAMP:
            return f"('\"' || replace(CAST({value} AS VARCHAR), ' ', 'T') || 'Z\"')"
        case ColumnType.DATE:
            return f"('\"' || CAST({value} AS VARCHAR) || '\"')"
        case ColumnType.TEXT | ColumnType.BINARY:
            return f"CAST(to_json({value}) AS VARCHAR)"


def as_sent(kind: ColumnType, value: str, form: ValueForm) -> str:
    """SQL for the JSON text, as a store takes it, of the stored, not NULL *value*."""
    if form is ValueForm.UNIX_SECONDS:
        match kind:
            case ColumnType.TIMESTAMP | ColumnType.DATE:
                return f"CAST(CAST(epoch(date_trunc('second', {value})) AS BIGINT) AS VARCHAR)"
            case ColumnType.INTEGER:
                text = as_json(kind, value)
                # 2^53: beyond it not every reader of JSON keeps every digit.
                fits = f"{value} BETWEEN -9007199254740992 AND 9007199254740992"
                return f"CASE WHEN {fits} THEN {text} ELSE '\"' || {text} || '\"' END"
            case ColumnType.NUMBER:
                # The double of some numbers beyond it is 2^53 itself.
                number, digits = f"abs(TRY_CAST({value} AS DOUBLE))", f"ltrim({value}, '-')"
                beyond = f"{number} >= 9007199254740992 AND {digits} <> '9007199254740992'"
                return f"CASE WHEN {beyond} THEN '\"' || {value} || '\"' ELSE {value} END"
    return as_json(kind, value)


def as_key(kind: ColumnType, value: str, *, fold: bool) -> str:
    """SQL for an identifier's text: trimmed, composed (Unicode NFC) and, with *fold*, in lower case."""
    if kind in (ColumnType.TIMESTAMP, ColumnType.DATE):
        return f"trim({as_json(kind, value)}, '\"')"
    if kind is ColumnType.JSON:
        return _key_of_json(value, fold=fold)
    if kind is ColumnType.BINARY:
        return value
    if kind is not ColumnType.TEXT:
        return as_json(kind, value)
    return _key_of_text(value, fold=fold)


def _key_of_json(value: str, *, fold: bool) -> str:
    """The text of a JSON string, the digits of a number; what is no key stays as it is, and gets no further."""
    text = _key_of_text(f"json_extract_string({value}, '$')", fold=fold)
    digits = f"trim({value}, {_BLANKS})"
    number = f"regexp_full_match({digits}, '-?[0-9][-+.eE0-9]*')"
    return (
        f"CASE WHEN {number} THEN {shortest_digits(digits)} WHEN NOT json_valid({value}) THEN {value} "
        f"WHEN json_type({value}) = 'VARCHAR' THEN {text} ELSE {value} END"
    )


def _key_of_text(value: str, *, fold: bool) -> str:
    trimmed = f"trim({value}, {_BLANKS})"
    composed = f"CASE WHEN strlen({value}) = length({value}) THEN {trimmed} ELSE nfc_normalize({trimmed}) END"
    return f"lower({composed})" if fold else composed


def sum_of(terms: Sequence[str]) -> str:
    """SQL for the sum of *terms*, in halves: DuckDB takes no deep expressions, and time that grows with their depth."""
    if len(terms) < 2:
        return terms[0] if terms else "0"
    half = len(terms) // 2
    return f"({sum_of(terms[:half])} + {sum_of(terms[half:])})"


def literal(text: str) -> str:
    """*text* as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
