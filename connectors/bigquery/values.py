"""What each BigQuery type becomes in Arrow, the same from Arrow (Storage Read API) and from JSON (REST).

Source of the two spellings: https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details and
https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.protocols import JSON, NUMBER

#: The REST API's names of types to SQL's.
_WORDS = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

_NUMERIC = pa.decimal128(38, 9)
_TYPES = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "NUMERIC": _NUMERIC,
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}
_KINDS = {"JSON": JSON, "BIGNUMERIC": NUMBER}

_MINUTE, _HOUR = 60 * 10**9, 3600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A column, or a part of one."""

    name: str
    #: In the words of BigQuery's SQL.
    type: str
    repeated: bool = False
    #: Of a STRUCT.
    fields: tuple[Shape, ...] = ()
    #: Of a RANGE.
    bounds: str = ""

    @property
    def word(self) -> str:
        """The type as BigQuery's SQL writes it."""
        inner = ", ".join(f"{field.name} {field.word}" for field in self.fields) or self.bounds
        word = f"{self.type}<{inner}>" if inner else self.type
        return f"ARRAY<{word}>" if self.repeated else word

    @property
    def field(self) -> pa.Field:
        """The Arrow field that the column becomes."""
        if self.repeated or self.fields:
            return pa.field(self.name, pa.string(), metadata=JSON)
        return pa.field(self.name, _TYPES.get(self.type, pa.string()), metadata=_KINDS.get(self.type))


def shape(field: Any) -> Shape:
    """The shape of a column that the driver describes as *field*."""
    return Shape(
        name=field.name,
        type=_WORDS.get(field.field_type, field.field_type),
        repeated=field.mode == "REPEATED",
        fields=tuple(map(shape, field.fields)),
        bounds=field.range_element_type.element_type if field.range_element_type else "",
    )


def from_arrow(array: pa.Array, column: Shape) -> pa.Array:
    """*array*, as the Storage Read API gives it, in the type of the column's field."""
    if column.repeated or column.fields:
        return _as_json(array, column)
    match column.type:
        case "BIGNUMERIC":
            return _digits(array)
        case "TIME":
            return _without_zeros(array.cast(pa.string()))
        case "RANGE":
            return _range(array, column)
        case "INTERVAL" if pa.types.is_interval(array.type):
            return pa.array([_interval(value) for value in array.to_pylist()], pa.string())
        case _:
            return array.cast(column.field.type)


def from_cells(cells: Sequence[Any], column: Shape) -> pa.Array:
    """Values of *column* in the REST API's spelling as the Storage Read API would give them, or as text."""
    if column.repeated:
        lengths = [len(cell or ()) for cell in cells]
        items = [item["v"] for cell in cells for item in cell or ()]
        offsets = pa.array([0, *accumulate(lengths)], pa.int32())
        return pa.ListArray.from_arrays(offsets, from_cells(items, replace(column, repeated=False)))
    if column.fields:
        parts = [
            from_cells([None if cell is None else cell["f"][i]["v"] for cell in cells], field)
            for i, field in enumerate(column.fields)
        ]
        names = [field.name for field in column.fields]
        return pa.StructArray.from_arrays(parts, names, mask=pa.array([cell is None for cell in cells]))
    match column.type:
        case "BYTES":
            return pa.array([None if cell is None else base64.b64decode(cell) for cell in cells], pa.binary())
        case "TIMESTAMP":
            return pa.array(cells, pa.string()).cast(pa.int64()).cast(_TYPES["TIMESTAMP"])
        case "RANGE":
            bounds = Shape(name="", type=column.bounds)
            ends = [(None, None) if cell is None else cell[1:-1].split(", ") for cell in cells]
            parts = [
                from_cells([None if end[i] in ("UNBOUNDED", "NULL") else end[i] for end in ends], bounds)
                for i in (0, 1)
            ]
            mask = pa.array([cell is None for cell in cells])
            return pa.StructArray.from_arrays(parts, ["start", "end"], mask=mask)
        case _:
            return pa.array(cells, pa.string()).cast(_TYPES.get(column.type, pa.string()))


def _as_json(array: pa.Array, column: Shape) -> pa.Array:
    """JSON texts, null where *array* is null; an array never is."""
    if column.repeated:
        lengths = pc.list_value_length(array).fill_null(0)
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
        items = _as_json(array.flatten(), replace(column, repeated=False)).fill_null("null")
        return _joined("[", pc.binary_join(pa.ListArray.from_arrays(offsets, items), ","), "]")
    if column.fields:
        parts: list[Any] = []
        for field, part in zip(column.fields, array.flatten(), strict=True):
            parts += [f",{json.dumps(field.name, ensure_ascii=False)}:", _as_json(part, field).fill_null("null")]
        text = _joined("{" + parts[0][1:], *parts[1:], "}")
        return pc.if_else(pc.is_valid(array), text, None)
    return _leaf(array, column)


def _leaf(array: pa.Array, column: Shape) -> pa.Array:
    match column.type:
        case "INT64" | "BOOL" | "JSON":
            return array.cast(pa.string())
        case "NUMERIC" | "BIGNUMERIC":
            return _digits(array)
        case "FLOAT64":
            text = array.cast(pa.string())
            for value, word in ((float("inf"), '"Infinity"'), (float("-inf"), '"-Infinity"')):
                text = pc.if_else(pc.equal(array, value), word, text)
            return pc.if_else(pc.is_nan(array), '"NaN"', text)
        case "BYTES":
            texts = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
            return _quoted(pa.array(texts, pa.string()))
        case _:
            return _quoted(_text(array, column))


def _text(array: pa.Array, column: Shape) -> pa.Array:
    """Plain texts."""
    if column.type not in ("DATETIME", "TIMESTAMP"):
        return from_arrow(array, column).cast(pa.string())
    text = pc.replace_substring(array.cast(pa.timestamp("us")).cast(pa.string()), " ", "T")
    return _joined(_without_zeros(text), "Z" if column.type == "TIMESTAMP" else "")


def _quoted(text: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
        encoded = [None if value is None else json.dumps(value, ensure_ascii=False) for value in text.to_pylist()]
        return pa.array(encoded, pa.string())
    return _joined('"', text, '"')


def _range(array: pa.Array, column: Shape) -> pa.Array:
    bounds = Shape(name="", type=column.bounds)
    start, end = (_text(part, bounds).fill_null("UNBOUNDED") for part in array.flatten())
    return pc.if_else(pc.is_valid(array), _joined("[", start, ", ", end, ")"), None)


def _digits(array: pa.Array) -> pa.Array:
    """Decimal digits without an exponent, and without zeros at the end of a fraction."""
    text = array.cast(pa.string())
    if pc.any(pc.match_substring(text, "E")).as_py():
        text = pa.array([None if value is None else f"{value:f}" for value in array.to_pylist()], pa.string())
    return pc.replace_substring_regex(text, r"^(-?[0-9]+)(\.[0-9]*[1-9])?\.?0*$", r"\1\2")


def _without_zeros(text: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(text, r"^([^.]*)(\.[0-9]*[1-9])?\.?0*$", r"\1\2")


def _interval(value: pa.MonthDayNano | None) -> str | None:
    """As BigQuery writes an INTERVAL: `[-]years-months days [-]hours:minutes:seconds[.fraction]`."""
    if value is None:
        return None
    months, days, nanoseconds = value
    years, months, sign = abs(months) // 12, abs(months) % 12, "-" if months < 0 else ""
    hours, rest = divmod(abs(nanoseconds), _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    seconds = f"{rest // 10**9}.{rest % 10**9 // 1000:06}".rstrip("0").rstrip(".")
    return f"{sign}{years}-{months} {days} {'-' if nanoseconds < 0 else ''}{hours}:{minutes}:{seconds}"


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")
