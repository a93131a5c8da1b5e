"""What a driver's rows become in Arrow, a column at a time: by the types that it reports, else by the values.

If the driver reports no type, the first values that are not NULL give the kind; there every number is digits of any
length, so that integers, decimals and floats may follow each other.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from array import array as array_of_numbers
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from connectors.support.arrow import shortest
from connectors.support.warehouse import ColumnReading
from syncer.model.protocols import JSON, NUMBER

#: How Python marks the bytes of a text that are no UTF-8.
BROKEN_TEXT = "surrogateescape"


class MisfitError(Exception):
    """A column's values are of two kinds, or of a class that Syncer does not know; the text names the column."""


class UnknownClassError(Exception):
    """A value's Python class may have any text; the text is its name."""


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


_OF_ONE_TEXT = (
    *(UUID, date, time, timedelta, bool, int, float, Decimal),
    *(IPv4Address, IPv6Address, IPv4Network, IPv6Network),
)


def _text(value: Any) -> str:
    """A value whose class has one text, which means it.

    Raises:
        UnknownClassError: it is of another class, whose text may be cut or mean nothing.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, _OF_ONE_TEXT):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", BROKEN_TEXT)
    if isinstance(value, Enum):
        return _text(value.value)
    raise UnknownClassError(type(value).__name__)


def _without_padding(value: Any) -> str:
    return _text(value.rstrip(b"\0") if isinstance(value, bytes) else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonWriter:
    """Writes a driver's values as JSON."""

    #: Whether bytes are text; else they are written in base64.
    bytes_are_text: bool = False
    #: Whether a float may be one of four bytes.
    narrow: bool = False

    def column(self, value: Any) -> str:
        """JSON for a column; a text is JSON already."""
        if self.bytes_are_text and isinstance(value, bytes):
            return _text(value)
        return value if isinstance(value, str) else self.write(value)

    def write(self, value: Any) -> str:
        """JSON for a value anywhere in it; raises UnknownClassError."""
        match value:
            case None | bool() | str():
                return json.dumps(value, ensure_ascii=False)
            case int() | float() | Decimal():
                digits = _digits(narrowed(value) if self.narrow and isinstance(value, float) else value)
                return f'"{digits}"' if digits[-1].isalpha() else digits
            case dict():
                return self._object(value.items())
            case tuple() if names := _member_names(value):
                return self._object(zip(names, value, strict=True))
            case list() | tuple() | set() | frozenset():
                return "[" + ", ".join(map(self.write, value)) + "]"
            case array_of_numbers():
                return replace(self, narrow=value.typecode == "f").write(value.tolist())
            case bytes() | bytearray() | memoryview() if not self.bytes_are_text:
                return json.dumps(base64.b64encode(value).decode())
            case _:
                return json.dumps(_text(value), ensure_ascii=False)

    def _object(self, members: Iterable[tuple[Any, Any]]) -> str:
        written = (f"{json.dumps(_member_name(k), ensure_ascii=False)}: {self.write(v)}" for k, v in members)
        return "{" + ", ".join(written) + "}"


def _member_names(value: tuple[Any, ...]) -> Sequence[str]:
    """The names of a row's members, if each has one: Trino's rows, and Python's named tuples."""
    names: Sequence[str] = getattr(value, "_names", None) or getattr(value, "_fields", None) or ()
    return names if all(names) and len({*names}) == len(value) else ()


def _member_name(key: Any) -> str:
    if isinstance(key, str):
        return key
    return "null" if key is None else _digits(key) if isinstance(key, float | Decimal) else _text(key)


def narrowed(value: float) -> float:
    """The double of the shortest digits that mean the same float of four bytes; *value* if no such float is it."""
    try:
        packed = struct.pack("f", value)
    except OverflowError:
        return value
    if struct.unpack("f", packed)[0] != value:
        return value
    each = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((one for one in each if struct.pack("f", one) == packed), value)


_BOOLEAN = ValueKind(name="booleans", type=pa.bool_(), plain=frozenset({bool}), convert=bool)
_INTEGER = ValueKind(name="integers", type=pa.int64(), plain=frozenset({int}))
_FLOAT = ValueKind(name="floats", type=pa.float64(), plain=frozenset({float, int}))
_NUMBER = ValueKind(name="numbers", metadata=NUMBER, convert=_digits)
#: A float of four bytes, which a driver gives as a double.
_REAL = ValueKind(name="floats", type=pa.float64(), plain=frozenset({float, int}))
_TEXT = ValueKind(name="texts", plain=frozenset({str}), convert=_text)
#: Bytes up to a length, filled up with NULs.
_PADDED_TEXT = ValueKind(name="texts", plain=frozenset({str}), convert=_without_padding)
_JSON = ValueKind(name="JSON", metadata=JSON, convert=JsonWriter().column)
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
    r"float(4|32)|real|db_type_binary_float": _REAL,
    r"float(8|64)?|double( precision)?|db_type_binary_double": _FLOAT,
    r"fixedstring": _PADDED_TEXT,
    r"n?(var)?char2?|character( varying)?|bpchar|text|string|name|uuid|db_type_n?((var)?char|clob)": _TEXT,
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
    found = next((kind for pattern, kind in _BY_NAME.items() if re.fullmatch(pattern, bare)), None)
    # Beside floats of eight bytes, nobody knows which those of four are.
    if found is _JSON and {*re.findall(r"\b(float32|real|float64|double)\b", name)} in ({"float32"}, {"real"}):
        return json_kind(JsonWriter(narrow=True))
    return found


def json_kind(writer: JsonWriter) -> ValueKind:
    """JSON, as *writer* writes it."""
    return replace(_JSON, convert=writer.column)


def of_text_bytes(kind: ValueKind) -> ValueKind:
    """*kind* where bytes in it are text."""
    writer = getattr(kind.convert, "__self__", None)
    return json_kind(replace(writer, bytes_are_text=True)) if isinstance(writer, JsonWriter) else kind


def type_name(described: Any) -> str:
    """A driver's name for the type of a column, which a cursor describes; empty if it reports none."""
    code, display = described[1], getattr(described, "type_display", None)
    if display:
        return f"array({display})" if display.endswith("[]") else str(display)
    name = code if isinstance(code, str) else getattr(code, "__name__", None) or getattr(code, "name", "")
    return name if isinstance(name, str) else ""


def described_kind(described: Any, *, bytes_are_text: bool = False) -> ValueKind | None:
    """The kind of a column that a cursor describes by a type's name or, as ODBC's, a Python class; None if unknown."""
    code = described[1]
    found = announced(type_name(described)) or (_BY_PYTHON.get(code) if isinstance(code, type) else None)
    return of_text_bytes(found) if found and bytes_are_text else found


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
            plain = pa.array(values, kind.type)
            return shortest(plain) if kind is _REAL else plain
        if kind is _TEXT and types == {bytes}:
            return pa.array(values, pa.binary()).view(pa.string())
        if kind is _NUMBER and (quick := _digits_at_once(values, types)) is not None:
            return quick
        convert = kind.convert or partial(_plain, kind)
        return pa.array([None if value is None else convert(value) for value in values], kind.type)
    except UnicodeEncodeError:
        return _with_broken_text(values, kind)
    except UnknownClassError as exc:
        raise MisfitError(f"column `{name}` holds a value of the class `{exc}`, which Syncer does not know") from None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise MisfitError(f"column `{name}` holds a value that is not one of the described {kind.name}") from None


def _with_broken_text(values: Sequence[Any], kind: ValueKind) -> pa.Array:
    """Texts with the bytes that they have in the database, some of which are no UTF-8."""
    convert = kind.convert or _text
    texts = [None if value is None else convert(value).encode("utf-8", BROKEN_TEXT) for value in values]
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
        ((dict, list, tuple, set, frozenset, array_of_numbers), _JSON),
    ):
        if issubclass(type_, base):
            return kind
    return _TEXT


def has_zone(kind: ValueKind | None) -> bool:
    """Whether *kind* is of times with a zone."""
    return kind is _AWARE
