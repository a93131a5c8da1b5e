"""From a driver's columns to Arrow's fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnReading:
    """How a column is read: what it becomes in Arrow."""

    type: pa.DataType = field(default_factory=pa.string)
    #: Tells JSON and digits from text (see `syncer.model.protocols`).
    metadata: dict[bytes, bytes] | None = None


def schema_of(names: Iterable[str], readings: Iterable[ColumnReading]) -> pa.Schema:
    """The schema of a result; names may repeat."""
    return pa.schema([pa.field(n, r.type, metadata=r.metadata) for n, r in zip(names, readings, strict=True)])
