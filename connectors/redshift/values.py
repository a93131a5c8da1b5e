"""What each Redshift type becomes in Arrow, by way of the text that the server writes.

The numbers of the types are those of Redshift's own driver, `redshift_connector/utils/oids.py`, read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult

from connectors.postgresql.values import typed
from connectors.support.arrow import digits, shortest, within_calendar
from connectors.support.warehouse import ColumnReading, schema_of, select_columns, uncollected
from syncer.model.protocols import JSON, NUMBER

_TEXT_OID, _CHAR_OID, _NUMERIC_OID, _VARCHAR_OID, _BYTEA_OID, _REAL_OID = 25, 1042, 1700, 1043, 17, 700
#: Types that psycopg reads into Python's own values in C; all others are read as text.
_PLAIN = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),
    _REAL_OID: pa.float64(),
    701: pa.float64(),
}
_TEXT = ColumnReading()
_BY_OID: Mapping[int, ColumnReading] = {
    **{oid: ColumnReading(type=arrow) for oid, arrow in _PLAIN.items()},
    _NUMERIC_OID: ColumnReading(metadata=NUMBER),
    1082: ColumnReading(type=pa.date32()),
    1114: ColumnReading(type=pa.timestamp("us")),
    1184: ColumnReading(type=pa.timestamp("us", "UTC")),
    4000: ColumnReading(metadata=JSON),
    6551: ColumnReading(type=pa.binary()),
    # Of PostgreSQL: leader nodes pass them on from other databases.
    _BYTEA_OID: ColumnReading(type=pa.binary()),
    114: ColumnReading(metadata=JSON),
    3802: ColumnReading(metadata=JSON),
}
#: Types that UNLOAD writes as Parquet without a change; it refuses some of the others.
UNLOADABLE = frozenset({*_PLAIN, _TEXT_OID, _CHAR_OID, _NUMERIC_OID, _VARCHAR_OID, 1082, 1114, 1184, 4000}) - {26}

_NAMES = {
    16: "boolean", 20: "bigint", 21: "smallint", 23: "integer", _REAL_OID: "real", 701: "double precision",
    _CHAR_OID: "char", _VARCHAR_OID: "varchar", _NUMERIC_OID: "numeric", 1186: "interval",
    1188: "interval year to month", 1190: "interval day to second", 2935: "hllsketch", 3000: "geometry",
    3001: "geography", 3999: "geometry", 4000: "super", 6551: "varbyte",
}  # fmt: skip


def type_name(oid: int, modifier: int) -> str:
    """Redshift's word for a type, as in a CREATE TABLE."""
    known = psycopg.adapters.types.get(oid)
    name = _NAMES.get(oid) or (known.name if known else f"type {oid}")
    if modifier < 4 or oid not in (_CHAR_OID, _VARCHAR_OID, _NUMERIC_OID):
        return name
    length = modifier - 4
    return f"{name}({length >> 16}, {length & 0xFFFF})" if oid == _NUMERIC_OID else f"{name}({length})"


class RowParser:
    """Turns the rows of one statement into batches, a part at a time."""

    def __init__(self, description: PGresult, connection: psycopg.Connection) -> None:
        """Read only the columns of *description*."""
        columns = range(description.nfields)
        self.oids = [description.ftype(i) for i in columns]
        self.names = [(description.fname(i) or b"").decode() for i in columns]
        self.types = [type_name(oid, description.fmod(i)) for i, oid in enumerate(self.oids)]
        readings = [_BY_OID.get(oid, _TEXT) for oid in self.oids]
        self.schema = schema_of(self.names, readings)
        self._loaded = [oid if oid in _PLAIN else _TEXT_OID for oid in self.oids]
        self._transformer = Transformer(connection)

    def parse(self, part: PGresult) -> pa.RecordBatch:
        """The rows of *part*, of which there is one at least."""
        self._transformer.set_pgresult(part, set_loaders=False)
        self._transformer.set_loader_types(self._loaded, pq.Format.TEXT)
        with uncollected():
            rows = self._transformer.load_rows(0, part.ntuples, tuple)
            arrays = [
                array_of(values, oid, field.type)
                for values, oid, field in zip(zip(*rows, strict=True), self.oids, self.schema, strict=True)
            ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def array_of(values: tuple[Any, ...], oid: int, arrow: pa.DataType) -> pa.Array:
    """One column of a type, as psycopg loads it: Python's own values of the plain types, else the server's text."""
    if oid in _PLAIN:
        return _one_spelling(pa.array(values, arrow), oid)
    text = pa.array(values, pa.string())
    if oid == _BYTEA_OID:
        text = pc.utf8_slice_codeunits(text, 2)
    column = typed(pa.chunked_array([text]), arrow)
    return _one_spelling(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column, oid)


def from_parquet(column: pa.Array, oid: int, arrow: pa.DataType) -> pa.Array:
    """The same column as UNLOAD writes it."""
    if pa.types.is_decimal(column.type):
        column = digits(column)
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        # Parquet's times are UTC, with or without saying so.
        column = column.cast(pa.timestamp("us"))
    if oid != _REAL_OID and column.type != arrow:
        column = column.cast(arrow)
    return _one_spelling(column, oid)


def _one_spelling(column: pa.Array, oid: int) -> pa.Array:
    if oid == _REAL_OID:
        return shortest(column)
    if oid == _CHAR_OID:
        return pc.utf8_rtrim(column, " ")
    return within_calendar(column) if pa.types.is_temporal(column.type) else column


def exactly_selected(statement: str, oids: Sequence[int]) -> str:
    """*statement* so that the server writes every digit of its columns: of REAL, Redshift writes one too few."""
    if _REAL_OID not in oids:
        return statement
    return select_columns(statement, ["{0}::float8" if oid == _REAL_OID else "{0}" for oid in oids])
