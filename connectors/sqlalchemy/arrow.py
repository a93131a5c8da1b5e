"""What a driver's own Arrow becomes, by the kinds of its columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from connectors.sqlalchemy.values import (
    UNSEEN,
    JsonWriter,
    MisfitError,
    UnknownClassError,
    ValueKind,
    announced,
    narrowed,
)
from connectors.support.arrow import digits, shortest
from syncer.model.protocols import NUMBER

#: Checks of Arrow's types to the kind of a column of which the driver says nothing else, by a name.
_KINDS: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_floating, "double"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_nested, "struct"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
]


def arrow_kind(found: pa.DataType) -> ValueKind:
    """The kind of a column of Arrow's type *found*."""
    return next((kind for fits, name in _KINDS if fits(found) and (kind := announced(name))), UNSEEN)


def from_arrow(name: str, column: pa.Array, kind: ValueKind) -> pa.Array:
    """*column* in the type of *kind*.

    Raises:
        MisfitError: a value is not of the kind; the text names the column.
    """
    try:
        if pa.types.is_nested(column.type):
            return _as_json(column)
        if pa.types.is_decimal(column.type):
            column = digits(column)
        elif column.type == pa.float32():
            column = shortest(column)
        if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(kind.type):
            # Both are instants, or both are in UTC already.
            return column.cast(pa.timestamp("us", column.type.tz)).cast(kind.type)
        if kind.metadata == NUMBER and pa.types.is_floating(column.type):
            raise pa.ArrowInvalid
        return column.cast(kind.type)
    except UnknownClassError as exc:
        raise MisfitError(f"column `{name}` holds a value of the class `{exc}`, which Syncer does not know") from None
    except (pa.ArrowException, ValueError):
        raise MisfitError(f"column `{name}` holds a value that is not one of the described {kind.name}") from None


def _as_json(column: pa.Array) -> pa.Array:
    write, plain = JsonWriter().write, _plain(column.type)
    values = column.to_pylist()
    return pa.array([None if value is None else write(plain(value)) for value in values], pa.string())


def _plain(of: pa.DataType) -> Callable[[Any], Any]:
    """From Python's values of Arrow's type *of* to those that JSON has."""
    if pa.types.is_map(of):
        key, item = _plain(of.key_type), _plain(of.item_type)
        return lambda pairs: None if pairs is None else {key(k): item(v) for k, v in pairs}
    if pa.types.is_struct(of):
        members = {field.name: _plain(field.type) for field in of}
        return lambda found: None if found is None else {name: members[name](value) for name, value in found.items()}
    if pa.types.is_nested(of):
        one = _plain(of.value_type)
        return lambda items: None if items is None else [one(item) for item in items]
    if of == pa.float32():
        return lambda value: None if value is None else narrowed(value)
    return lambda value: value
