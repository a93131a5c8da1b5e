"""What a driver's rows become in Arrow, a column at a time: by the types that it reports, else by the values.

If the driver reports no type, the first values that are not NULL give the kind; there every number is digits of any
length, so that integers, decimals and floats may follow each other.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sqlalchemy.connection import BROKEN_TEXT
from connectors.support.warehouse import ColumnReading
from syncer.model.protocols import JSON, NUMBER


class MisfitError(Exception):
    """A column's values are of two kinds; the text names the column and the kinds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValueKind(ColumnReading):
    """What a column holds."""

    name: str
    #: Converts a value that is not NULL for Arrow; without it Arrow takes the values as they are.
    convert: Callable[[Any], Any] | None = None
    #: The Python types that Arrow takes without `convert`.
    plain: frozenset[type] = frozenset()


def _digits(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else _not_finite(float(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _not_finite(value)
    return str(int(value))


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return (
                "{" + ", ".join(f"{json.dumps(str(k), ensure_ascii=False)}: {_json(v)}" for k, v in value.items()) + "}"
            )
        case list() | tuple() | set() | frozenset():
            return "[" + ", ".join(map(_json, value)) + "]"
        case int() | float() | Decimal():
            digits = _digits(value)
            return f'"{digits}"' if digits[-1].isalpha() else digits
        case bytes() | bytearray() | memoryview():
            return json.dumps(base64.b64encode(value).decode())
        case _:
            return json.dumps(str(value), ensure_ascii=False)


_BOOLEAN = ValueKind(name="booleans", type=pa.bool_(), plain=frozenset({bool}), convert=bool)
_INTEGER = ValueKind(name="integers", type=pa.int64(), plain=frozenset({int}))
_FLOAT = ValueKind(name="floats", type=pa.float64(), plain=frozenset({float, int}))
_NUMBER = ValueKind(name="numbers", metadata=NUMBER, convert=_digits)
_TEXT = ValueKind(name="texts", plain=frozenset({str}), convert=str)
_JSON = ValueKind(name="JSON", metadata=JSON, convert=_json_text)
_BINARY = ValueKind(name="bytes", type=pa.binary(), plain=frozenset({bytes}), convert=bytes)
_DATE = ValueKind(name="dates", type=pa.date32(), plain=frozenset({date}))
_NAIVE = ValueKind(name="times", type=pa.timestamp("us"), plain=frozenset({datetime}))
_AWARE = ValueKind(name="times with a zone", type=pa.timestamp("us", "UTC"), plain=frozenset({datetime}))

_WRAPPED = re.compile(r"(?:nullable|lowcardinality)\((.*)\)", re.DOTALL)
#: A whole type name in lower case, without brackets at its end.
_BY_NAME = {
    r"bool(ean)?": _BOOLEAN,
    r"u?int(8|16|32)|int64|(tiny|small|big)int|int(eger)?[248]?|long|short|byte": _INTEGER,
    r"uint64|u?int(128|256)|decimal(32|64|128|256)?|numeric|number|db_type_number": _NUMBER,
    r"float(4|8|32|64)?|double( precision)?|real|db_type_binary_(float|double)": _FLOAT,
    r"n?(var)?char2?|character( varying)?|bpchar|text|(fixed)?string|name|uuid|db_type_n?((var)?char|clob)": _TEXT,
    r"jsonb?|variant|array|map|row|struct|tuple|object|db_type_(json|object)": _JSON,
    r"bytea|(var)?binary|blob|db_type_(blob|raw|long_raw)": _BINARY,
    r"date(32)?": _DATE,
    r"timestamptz|(timestamp|datetime)(\(\d+\))? with (local )?time zone|db_type_timestamp_(l?tz)": _AWARE,
    # Oracle's DATE has a time.
    r"timestamp(_ntz)?|datetime(2|64)?|smalldatetime|db_type_(date|timestamp)": _NAIVE,
}
_BY_PYTHON: dict[type, ValueKind] = {
    bool: _BOOLEAN,
    int: _INTEGER,
    float: _FLOAT,
    Decimal: _NUMBER,
    str: _TEXT,
    bytes: _BINARY,
    bytearray: _BINARY,
    datetime: _NAIVE,
    date: _DATE,
}


def announced(type_name: str) -> ValueKind | None:
    """The kind of a column whose type the driver calls *type_name*; None if unknown."""
    name = type_name.lower().strip()
    while wrapped := _WRAPPED.fullmatch(name):
        name = wrapped[1]
    bare = re.sub(r"\(.*\)$|<.*>$", "", name, flags=re.DOTALL)
    return next((kind for pattern, kind in _BY_NAME.items() if re.fullmatch(pattern, bare)), None)


def type_name(described: Any) -> str:
    """A driver's name for the type of a column, which a cursor describes; empty if it reports none."""
    code, display = described[1], getattr(described, "type_display", None)
    if display:
        return f"array({display})" if display.endswith("[]") else str(display)
    name = code if isinstance(code, str) else getattr(code, "__name__", None) or getattr(code, "name", "")
    return name if isinstance(name, str) else ""


def described_kind(described: Any) -> ValueKind | None:
    """The kind of a column that a cursor describes by a type's name or, as ODBC's, a Python class; None if unknown."""
    code = described[1]
    return announced(type_name(described)) or (_BY_PYTHON.get(code) if isinstance(code, type) else None)


def seen(name: str, types: set[type]) -> ValueKind | None:
    """The kind of a column with values of *types*; None if all are NULL.

    Raises:
        MisfitError: the values are of two kinds.
    """
    kinds = {kind.name: kind for kind in (_kind_of(type_) for type_ in types if type_ is not NoneType)}
    if "numbers" in kinds and "booleans" in kinds:
        del kinds["booleans"]
    if len(kinds) > 1:
        raise MisfitError(f"column `{name}` holds {' and '.join(sorted(kinds))}")
    return next(iter(kinds.values()), None)


def array(name: str, values: Sequence[Any], kind: ValueKind, *, is_announced: bool) -> pa.Array:
    """The values as Arrow.

    Raises:
        MisfitError: one is not of the kind; the text holds no value.
    """
    types = {*map(type, values)} - {NoneType}
    if not is_announced and (found := seen(name, types)) is not None and not _fits(found, kind):
        raise MisfitError(f"column `{name}` holds {kind.name} in its first rows, and then {found.name}")
    try:
        if types <= kind.plain:
            return pa.array(values, kind.type)
        if kind is _NUMBER and (quick := _digits_at_once(values, types)) is not None:
            return quick
        convert = kind.convert or partial(_plain, kind)
        return pa.array([None if value is None else convert(value) for value in values], kind.type)
    except UnicodeEncodeError:
        return _with_broken_text(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise MisfitError(f"column `{name}` holds a value that is not one of the described {kind.name}") from None


def _with_broken_text(values: Sequence[Any]) -> pa.Array:
    """Texts with the bytes that they have in the database, some of which are no UTF-8."""
    texts = [None if value is None else str(value).encode("utf-8", BROKEN_TEXT) for value in values]
    return pa.array(texts, pa.binary()).view(pa.string())


def first_zone(values: Sequence[Any], kind: ValueKind) -> ValueKind:
    """*kind*, which `seen` found for *values*; for times with their zone."""
    return _AWARE if kind is _NAIVE and any(v is not None and v.tzinfo is not None for v in values) else kind


def _digits_at_once(values: Sequence[Any], types: set[type]) -> pa.Array | None:
    """Python's own texts of numbers; None if one is a decimal's exponent, a boolean or not finite."""
    if types == {int}:
        with suppress(OverflowError):
            return pa.array(values, pa.int64()).cast(pa.string())
    texts = pa.array([*map(str, values)], pa.string())
    if None in values:
        texts = pc.if_else(pc.equal(texts, "None"), None, texts)
    return None if pc.any(pc.match_substring_regex(texts, "[^0-9.e+-]")).as_py() else texts


def _plain(kind: ValueKind, value: Any) -> Any:
    """*value*, of a driver's subclass of what Arrow takes."""
    if not isinstance(value, tuple(kind.plain)) or (kind is _DATE and isinstance(value, datetime)):
        raise TypeError
    return value


def _fits(found: ValueKind, kind: ValueKind) -> bool:
    return found is kind or {found, kind} in ({_NAIVE, _AWARE}, {_NUMBER, _BOOLEAN})


#: The kind of a column with nothing but NULL.
UNSEEN = _TEXT


def _kind_of(type_: type) -> ValueKind:
    for base, kind in (
        (bool, _BOOLEAN),
        ((int, float, Decimal), _NUMBER),
        (datetime, _NAIVE),
        (date, _DATE),
        ((bytes, bytearray, memoryview), _BINARY),
        ((dict, list, tuple, set, frozenset), _JSON),
    ):
        if issubclass(type_, base):
            return kind
    return _TEXT
