"""What each PostgreSQL type becomes in Arrow, by way of the CSV that COPY writes.

COPY distinguishes NULL (nothing) from the empty string (`""`), and writes whole rows. So Arrow parses each block of its
messages alone, in C++, and Python touches no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from connectors.support.warehouse import ColumnReading, schema_of
from syncer.model.protocols import JSON, NUMBER

#: Rows of a batch, at most.
_BATCH_ROWS = 50_000
#: Opens every block: pyarrow would drop U+FEFF at the start of a block as a byte order mark.
BLOCK_START = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgreSQLReading(ColumnReading):
    """How a column of one PostgreSQL type is read."""

    #: What the server writes of the column `{0}`.
    expression: str = "{0}"
    #: What the CSV text is parsed as.
    text: pa.DataType = field(default_factory=pa.string)


_PLAIN = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "oid": pa.int64(),
    # As double, since the server writes the shortest digits that mean this float4: 0.1, not 0.10000000149.
    "float4": pa.float64(),
    "float8": pa.float64(),
}
_TIMES = {"date": pa.date32(), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC")}

_TEXT = PostgreSQLReading()
_AS_JSON = PostgreSQLReading(expression="pg_catalog.to_jsonb({0})::pg_catalog.text", metadata=JSON)


def _json_as(text: str, normal: str) -> PostgreSQLReading:
    """JSON that *normal* spells as jsonb does, unless *text* has what jsonb cannot store.

    That is NUL, half a surrogate pair, or a number beyond `numeric`: it stays as it is, so that at most its row is
    rejected.
    """
    refused = r"\\u(0000|[dD][89a-fA-F])|[0-9][eE][-+]?0*[1-9][0-9]{4}"
    return PostgreSQLReading(
        expression=f"CASE WHEN {text} ~ '{refused.replace('{4}', '{{4}}')}' THEN {text} ELSE {normal} END",
        metadata=JSON,
    )


_JSON_TEXT = _json_as("{0}::pg_catalog.text", "{0}::pg_catalog.jsonb::pg_catalog.text")
#: Arrays and composites with `json` somewhere in them, which is kept as text of any content.
_HOLDS_JSON = _json_as("pg_catalog.to_json({0})::pg_catalog.text", _AS_JSON.expression)
_BY_NAME = {
    **{name: PostgreSQLReading(text=arrow, type=arrow) for name, arrow in _PLAIN.items()},
    **{name: PostgreSQLReading(type=arrow) for name, arrow in _TIMES.items()},
    "numeric": PostgreSQLReading(metadata=NUMBER),
    "money": PostgreSQLReading(expression="{0}::pg_catalog.numeric", metadata=NUMBER),
    "bpchar": PostgreSQLReading(expression="{0}::pg_catalog.text"),
    "bytea": PostgreSQLReading(expression="pg_catalog.encode({0}, 'hex')", type=pa.binary()),
    "json": _JSON_TEXT,
    "jsonb": PostgreSQLReading(metadata=JSON),
    "record": _AS_JSON,
}
_BY_OID = {psycopg.adapters.types[name].oid: reading for name, reading in _BY_NAME.items()}


def reading(oid: int, category: str, *, may_hold_json: bool) -> PostgreSQLReading:
    """How to read a type.

    Shapes:
        oid: as in the description of a statement, where a domain is its base type.
        category: `typcategory` of pg_type.
        may_hold_json: whether something in an array or composite may be `json`.
    """
    if oid in _BY_OID and _BY_OID[oid] is not _AS_JSON:
        return _BY_OID[oid]
    if category in "AC" or oid in _BY_OID:
        return _HOLDS_JSON if may_hold_json else _AS_JSON
    return _TEXT


class CsvParser:
    """Parses blocks of COPY's CSV into batches of one schema."""

    def __init__(self, names: Sequence[str], readings: Sequence[PostgreSQLReading]) -> None:
        self.schema = schema_of(names, readings)
        # By number, since a result may repeat a name.
        self._columns = [str(number) for number in range(len(readings))]
        self._parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        self._converting = csv.ConvertOptions(
            column_types={column: r.text for column, r in zip(self._columns, readings, strict=True)},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
            check_utf8=False,
        )

    def parse(self, block: bytearray) -> list[pa.RecordBatch]:
        """The rows of *block*: BLOCK_START, then whole rows of CSV.

        Shapes:
            returns: text as the server sent it; from a database of encoding SQL_ASCII it need not be UTF-8.
        """
        reading = csv.ReadOptions(column_names=self._columns, skip_rows=1, block_size=len(block) + 1, use_threads=False)
        try:
            table = csv.read_csv(pa.py_buffer(block), reading, self._parsing, self._converting)
        except pa.ArrowInvalid:
            # Arrow's own text quotes a value.
            raise AssertionError("PostgreSQL's CSV does not fit the types that it announced") from None
        columns = [typed(column, f.type) for column, f in zip(table.columns, self.schema, strict=True)]
        batches: list[pa.RecordBatch] = pa.Table.from_arrays(columns, schema=self.schema).to_batches(_BATCH_ROWS)
        return batches


def typed(column: pa.ChunkedArray, arrow: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """PostgreSQL's text as *arrow*; bytes are hex digits, and times beyond the years 1 to 9999 infinities."""
    if column.type == arrow:
        return column
    if pa.types.is_binary(arrow):
        return _from_hex(column.combine_chunks())
    try:
        return pc.cast(column, arrow)
    except pa.ArrowInvalid:
        return _from_odd_times(column, arrow)


def _from_hex(digits: pa.StringArray) -> pa.BinaryArray:
    validity, offsets, text = digits.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(digits) + 1, [None, offsets])
    content = bytes.fromhex(str(text[: ends[-1].as_py()], "ascii")) if text else b""
    halves = pc.divide(ends, pa.scalar(2, pa.int32()))
    return pa.Array.from_buffers(
        pa.binary(), len(digits), [validity, halves.buffers()[1], pa.py_buffer(content)], digits.null_count
    )


def _from_odd_times(column: pa.ChunkedArray, arrow: pa.DataType) -> pa.ChunkedArray:
    """Dates and times of which some lie outside the years 1 to 9999: those become DuckDB's infinities."""
    odd = pc.match_substring_regex(column, r"^-|^inf|^\d{5}|BC$")
    early = pc.match_substring_regex(column, r"^-|BC$")
    bits = pa.int32() if pa.types.is_date(arrow) else pa.int64()
    end = 2 ** (bits.bit_width - 1) - 1
    ordinary = pc.cast(pc.if_else(odd, pa.scalar(None, pa.string()), column), arrow)
    infinite = pc.if_else(early, pa.scalar(-end, bits), pa.scalar(end, bits)).cast(arrow)
    return pc.if_else(odd, infinite, ordinary)
