"""Values of DuckDB in BigQuery's two spellings: Arrow of the Storage Read API, and cells of the REST API."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_WORDS = {
    "boolean": "BOOLEAN", "float": "FLOAT", "double": "FLOAT", "decimal": "NUMERIC", "blob": "BYTES", "date": "DATE",
    "time": "TIME", "timestamp": "DATETIME", "timestamp with time zone": "TIMESTAMP", "interval": "INTERVAL",
    "tinyint": "INTEGER", "smallint": "INTEGER", "integer": "INTEGER", "bigint": "INTEGER", "hugeint": "INTEGER",
    "utinyint": "INTEGER", "usmallint": "INTEGER", "uinteger": "INTEGER", "ubigint": "INTEGER",
    "null": "INTEGER",
}  # fmt: skip
_ARROW = {
    "BOOLEAN": pa.bool_(), "INTEGER": pa.int64(), "FLOAT": pa.float64(), "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38), "BYTES": pa.binary(), "DATE": pa.date32(), "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"), "TIMESTAMP": pa.timestamp("us", "UTC"), "INTERVAL": pa.month_day_nano_interval(),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A column, in the words of the REST API."""

    name: str
    word: str
    repeated: bool = False
    fields: tuple[Type, ...] = ()

    @property
    def resource(self) -> dict[str, Any]:
        """As in a schema of the REST API."""
        told: dict[str, Any] = {"name": self.name, "type": self.word.partition("_")[0]}
        told["mode"] = "REPEATED" if self.repeated else "NULLABLE"
        if self.fields:
            told["fields"] = [field.resource for field in self.fields]
        if self.word.startswith("RANGE"):
            told["rangeElementType"] = {"type": self.word.partition("_")[2]}
        return told

    @property
    def item(self) -> Type:
        """Of an array, what it is of."""
        return Type(name=self.name, word=self.word, fields=self.fields)


def type_of(name: str, type_: Any) -> Type:
    """What DuckDB's *type_* stands for."""
    if type_.id == "list":
        item = type_of(name, type_.children[0][1])
        return Type(name=name, word=item.word, fields=item.fields, repeated=True)
    if type_.id == "struct":
        first = type_.children[0][0]
        if first.startswith("$"):
            return Type(name=name, word=first[1:])
        return Type(name=name, word="RECORD", fields=tuple(type_of(n, t) for n, t in type_.children))
    if str(type_) == "JSON":
        return Type(name=name, word="JSON")
    return Type(name=name, word=_WORDS.get(str(type_.id), "STRING"))


def as_arrow(array: pa.Array, type_: Type) -> pa.Array:
    """As the Storage Read API would give it."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if type_.repeated:
        # BigQuery has no array that is NULL.
        array = pc.if_else(pc.is_null(array), pa.scalar([], array.type), array)
        return pa.ListArray.from_arrays(array.offsets, as_arrow(array.values, type_.item))
    if type_.fields:
        parts = [as_arrow(array.field(i), field) for i, field in enumerate(type_.fields)]
        return pa.StructArray.from_arrays(parts, [field.name for field in type_.fields], mask=array.is_null())
    if pa.types.is_struct(array.type):
        array = pc.struct_field(array, 0)
    if type_.word.startswith("RANGE"):
        bounds = _ARROW[type_.word.partition("_")[2]]
        ends = [(None, None) if text is None else text[1:-1].split(", ") for text in array.to_pylist()]
        parts = [pa.array([None if e[i] == "UNBOUNDED" else e[i] for e in ends]).cast(bounds) for i in (0, 1)]
        return pa.StructArray.from_arrays(parts, ["start", "end"], mask=array.is_null())
    return array.cast(_ARROW.get(type_.word, pa.string()))


def cells(array: pa.Array, type_: Type) -> list[Any]:
    """As the REST API gives it: texts, lists and records."""
    if type_.repeated:
        items = cells(array.flatten(), type_.item)
        lengths = pc.list_value_length(array).to_pylist()
        taken = iter(items)
        return [[{"v": next(taken)} for _ in range(length)] for length in lengths]
    if type_.fields:
        parts = [cells(part, field) for part, field in zip(array.flatten(), type_.fields, strict=True)]
        rows = [{"f": [{"v": value} for value in row]} for row in zip(*parts, strict=True)]
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    if type_.word.startswith("RANGE"):
        bounds = Type(name="", word=type_.word.partition("_")[2])
        starts, ends = (cells(part, bounds) for part in array.flatten())
        return [
            f"[{start or 'UNBOUNDED'}, {end or 'UNBOUNDED'})" if valid else None
            for start, end, valid in zip(starts, ends, array.is_valid().to_pylist(), strict=True)
        ]
    return _scalars(array, type_)


def rows_text(table: pa.Table, types: list[Type]) -> str:
    """The rows of an answer of the REST API, as JSON without the brackets around them."""
    columns: list[Any] = []
    for column, type_ in zip(table.columns, types, strict=True):
        values = cells(column.combine_chunks(), type_)
        if not type_.repeated and not type_.fields:
            text = pa.array(values, pa.string())
            if not pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
                quoted = pc.binary_join_element_wise('{"v":"', text, '"}', "")
                columns += [",", quoted.fill_null('{"v":null}')]
                continue
        columns += [",", pa.array([json.dumps({"v": value}) for value in values], pa.string())]
    rows = pc.binary_join_element_wise('{"f":[', *columns[1:], "]}", "")
    return ",".join(rows.to_pylist())


def _scalars(array: pa.Array, type_: Type) -> list[Any]:
    match type_.word:
        case "BYTES":
            return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
        case "INTERVAL":
            return [None if value is None else _interval(*value) for value in array.to_pylist()]
        case "NUMERIC" | "BIGNUMERIC":
            texts = array.cast(pa.string()).to_pylist()
            values = array.to_pylist() if any("E" in (text or "") for text in texts) else texts
            return [None if v is None else re.sub(r"\.?0+$", "", v if isinstance(v, str) else f"{v:f}") for v in values]
        case "FLOAT":
            words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
            return [words.get(text, text) for text in array.cast(pa.string()).to_pylist()]
        case "TIMESTAMP":
            # formatOptions.useInt64Timestamp
            return list(array.cast(pa.int64()).cast(pa.string()).to_pylist())
        case "DATETIME":
            return list(pc.replace_substring(array.cast(pa.string()), " ", "T").to_pylist())
        case _:
            return list(array.cast(pa.string()).to_pylist())


def _interval(months: int, days: int, nanoseconds: int) -> str:
    seconds = nanoseconds // 10**9
    fraction = f".{nanoseconds % 10**9 // 1000:06}".rstrip("0").rstrip(".")
    return f"{months // 12}-{months % 12} {days} {seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}{fraction}"
