"""What a column of Snowflake's becomes in Arrow.

The driver gives Arrow, but chooses the types of each batch alone: an integer is as narrow as the batch allows, a time
as coarse. This module converts them to one type for each column.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.support.arrow import within_calendar
from connectors.support.warehouse import ColumnReading
from syncer.model.protocols import JSON

#: The driver's numbers for types, by their names.
_NAMES = ("FIXED", "REAL", "TEXT", "DATE", "TIMESTAMP_NTZ", "VARIANT", "TIMESTAMP_LTZ", "TIMESTAMP_TZ",
          "TIMESTAMP_NTZ", "OBJECT", "ARRAY", "BINARY", "TIME", "BOOLEAN", "GEOGRAPHY", "GEOMETRY", "VECTOR", "MAP",
          "FILE", "INTERVAL_YEAR_MONTH", "INTERVAL_DAY_TIME")  # fmt: skip

#: With so many digits of a second the driver may read a thousand times the time.
_MISREAD_SCALES = (7, 8)

_MOST_DIGITS_OF_INT64 = 18

_MAYBE_NO_JSON = r"undefined|NaN|nan|Infinity|inf"
_NO_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|undefined|(-?)(?:(NaN|nan)|Infinity|inf)')


@dataclass(frozen=True, slots=True, kw_only=True)
class SnowflakeReading(ColumnReading):
    """How one column is read."""

    #: The warehouse's word for its type.
    name: str
    #: What the server first makes of the column, an expression of `{}`; empty for nothing.
    cast: str = ""
    #: From the driver's array to one of *type*.
    convert: Callable[[pa.Array], pa.Array]


def reading(type_code: int, precision: int | None, scale: int | None) -> SnowflakeReading | None:
    """How to read a column that the driver describes so; None for a type that Syncer cannot read."""
    name = _NAMES[type_code] if 0 <= type_code < len(_NAMES) else ""
    if name == "FIXED":
        return _number(precision, scale)
    if name.startswith("TIMESTAMP"):
        return _timestamp(name, 9 if scale is None else scale)
    return _READINGS.get(name)


def _number(precision: int | None, scale: int | None) -> SnowflakeReading | None:
    if scale is None:
        return None  # DECFLOAT, which the driver calls FIXED.
    precision = precision or 38
    is_small = scale == 0 and precision <= _MOST_DIGITS_OF_INT64
    return _plain(f"NUMBER({precision},{scale})", pa.int64() if is_small else pa.decimal128(38, scale))


def _timestamp(name: str, scale: int) -> SnowflakeReading:
    kind = pa.timestamp("us", None if name == "TIMESTAMP_NTZ" else "UTC")

    def convert(values: pa.Array) -> pa.Array:
        # A zone only says how to show an instant.
        return within_calendar(values.cast(kind, safe=False))

    cast = f"{{}}::{name}(6)" if scale in _MISREAD_SCALES else ""
    return SnowflakeReading(name=f"{name}({scale})", type=kind, cast=cast, convert=convert)


def _plain(name: str, kind: pa.DataType, cast: str = "") -> SnowflakeReading:
    return SnowflakeReading(name=name, type=kind, cast=cast, convert=lambda values: values.cast(kind))


def _dates(values: pa.Array) -> pa.Array:
    return within_calendar(values.cast(pa.date32()))


def _times(values: pa.Array) -> pa.Array:
    text = values.cast(pa.string())
    if values.type in (pa.time32("s"), pa.string()):
        return text
    return pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")


def _json(values: pa.Array) -> pa.Array:
    text = values.cast(pa.string())
    suspect = pc.fill_null(pc.match_substring_regex(text, _MAYBE_NO_JSON), False)
    if not pc.any(suspect).as_py():
        return text
    mended = [_NO_JSON.sub(_mended, one) for one in text.filter(suspect).to_pylist()]
    return pc.replace_with_mask(text, suspect, pa.array(mended, pa.string()))


def _mended(found: re.Match[str]) -> str:
    """JSON for what Snowflake writes that is no JSON: an element without a value, and the special floats."""
    word: Any = found[0]
    if word.startswith('"'):
        return str(word)
    if word == "undefined":
        return "null"
    return '"NaN"' if found[2] else f'"{found[1]}Infinity"'


#: Types that need no precision and no scale.
_READINGS = {
    "REAL": _plain("REAL", pa.float64()),
    "TEXT": _plain("TEXT", pa.string()),
    "BINARY": _plain("BINARY", pa.binary()),
    "BOOLEAN": _plain("BOOLEAN", pa.bool_()),
    "DATE": SnowflakeReading(name="DATE", type=pa.date32(), convert=_dates),
    "TIME": SnowflakeReading(name="TIME", convert=_times),
    # The driver would misread these or fail, so the server casts them.
    "INTERVAL_YEAR_MONTH": _plain("INTERVAL YEAR MONTH", pa.string(), "{}::VARCHAR"),
    "INTERVAL_DAY_TIME": _plain("INTERVAL DAY TIME", pa.string(), "{}::VARCHAR"),
    "VECTOR": SnowflakeReading(name="VECTOR", metadata=JSON, cast="{}::ARRAY", convert=_json),
    **{
        name: SnowflakeReading(name=name, metadata=JSON, convert=_json)
        for name in ("VARIANT", "OBJECT", "ARRAY", "GEOGRAPHY", "GEOMETRY", "MAP", "FILE")
    },
}
