"""What each type of MySQL and MariaDB becomes in Arrow, a block of rows and a column at a time.

A row of the binary protocol is a bitmap of its NULLs and then its values, one behind the other, of a width that the
type or the value's first byte gives. So the places of one column's values in all rows of a block are those of the
column before plus its widths, and Python touches no row.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.mysql.statement import PADDING, Block
from connectors.support.warehouse import ColumnReading, schema_of
from syncer.model.protocols import JSON, NUMBER

Numbers = np.ndarray[Any, np.dtype[Any]]

#: Of a packet; one is before each row.
_HEADER_BYTES = 4
_UNSIGNED, _ZEROFILL, _ENUM, _SET = 1 << 5, 1 << 6, 1 << 8, 1 << 11
_NO_TEXT = 63
_SECOND, _DAY = 1_000_000, 86_400_000_000


class UnexpectedValueError(Exception):
    """The column of this name holds values that its type excludes."""


class Rows:
    """The rows of a block, read column by column in their order."""

    def __init__(self, block: Block, columns: int) -> None:
        self.content = block.content
        self._bitmap = np.array(block.starts, np.int64) + 1
        #: Where the values of the next column are.
        self._places = self._bitmap + (columns + 9) // 8

    def are_at_their_ends(self) -> bool:
        """Whether the values of the columns that were read fill each row, and no row more."""
        ends = np.append(self._bitmap[1:] - 1, len(self.content) - len(PADDING) + _HEADER_BYTES) - _HEADER_BYTES
        return bool((self._places == ends).all())

    def nulls(self, column: int) -> Numbers | None:
        """Which rows have no value in the column; None where all have one."""
        found = self._at(np.uint8, self._bitmap + (column + 2) // 8) & (1 << (column + 2) % 8) != 0
        return found if found.any() else None

    def fixed(self, column: int, kind: str) -> tuple[Numbers, Numbers | None]:
        """Values of one width, and the NULLs among them."""
        nulls = self.nulls(column)
        values = self._at(kind, self._places)
        self._places = self._places + (values.itemsize if nulls is None else np.where(nulls, 0, values.itemsize))
        return values, nulls

    def sized(self, column: int) -> tuple[Numbers, Numbers, Numbers | None]:
        """Where values begin and end that tell their length, and which of them are NULL."""
        nulls = self.nulls(column)
        first = self._at(np.uint8, self._places)
        begins = self._places + 1
        lengths = first.astype(np.int64)
        if nulls is not None:
            begins = begins - nulls
            lengths[nulls] = 0
            first[nulls] = 0
        if first.size and first.max() > 250:
            for sign, kind, mask, width in ((252, "<u2", 0xFFFF, 2), (253, "<u4", 0xFFFFFF, 3), (254, "<i8", -1, 8)):
                is_long = first == sign
                lengths[is_long] = self._at(kind, begins[is_long]).astype(np.int64) & mask
                begins[is_long] += width
        self._places = begins + lengths
        return begins, self._places, nulls

    def parts(self, begins: Numbers, kind: str, offset: int, where: Numbers | None = None) -> Numbers:
        """The number *offset* bytes into each value; 0 where it does not count."""
        found = self._at(kind, begins + offset).astype(np.int64)
        return found if where is None else np.where(where, found, 0)

    def _at(self, kind: Any, places: Numbers) -> Numbers:
        width = np.dtype(kind).itemsize
        everywhere: Numbers = np.ndarray((len(self.content) - width + 1,), kind, self.content, strides=(1,))
        # A NULL in the last rows may point behind the values, and so into the padding.
        return everywhere[places]


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLReading(ColumnReading):
    """How a column is read."""

    #: The server's word for its type.
    word: str
    read: Callable[[Rows, int, Any], pa.Array]


def schema(fields: Sequence[Any]) -> pa.Schema:
    """The result's schema."""
    return schema_of((field.name for field in fields), map(reading, fields))


def columns(block: Block, fields: Sequence[Any]) -> list[pa.Array]:
    """The columns of *block*, each of its reading's type.

    Raises:
        UnexpectedValueError: a TINYINT(1) is neither 0 nor 1.
        ValueError: the block's rows are not of these fields.
    """
    rows = Rows(block, len(fields))
    columns = [reading(field).read(rows, number, field) for number, field in enumerate(fields)]
    if not rows.are_at_their_ends():
        raise ValueError("the rows do not fit their columns")
    return columns


def reading(field: Any) -> MySQLReading:
    """How to read a column."""
    if field.type_code == 1 and field.length == 1 and not field.flags & _UNSIGNED:
        return MySQLReading(word="TINYINT(1)", type=pa.bool_(), read=_read_boolean)
    if field.type_code in _INTEGERS:
        word, width = _INTEGERS[field.type_code]
        kind = np.dtype(f"<{'u' if field.flags & _UNSIGNED else 'i'}{width}")
        word = f"{word} UNSIGNED" if field.flags & _UNSIGNED else word
        return MySQLReading(word=word, type=pa.from_numpy_dtype(kind), read=_fixed(kind))
    if field.type_code == 16:
        one = field.length == 1
        return MySQLReading(word=f"BIT({field.length})", type=pa.bool_() if one else pa.uint64(), read=_read_bits)
    return _BY_CODE.get(field.type_code) or _text_or_binary(field)


def _text_or_binary(field: Any) -> MySQLReading:
    if field.flags & (_ENUM | _SET):
        return MySQLReading(word="ENUM" if field.flags & _ENUM else "SET", read=_read_text)
    text, binary = _WORDS.get(field.type_code, ("TEXT", "BINARY"))
    if field.charsetnr == _NO_TEXT:
        return MySQLReading(word=binary, type=pa.binary(), read=_read_binary)
    return MySQLReading(word=text, read=_read_text)


def _fixed(kind: Any) -> Callable[[Rows, int, Any], pa.Array]:
    """Reads values of one numpy type."""

    def read(rows: Rows, column: int, field: Any) -> pa.Array:
        values, nulls = rows.fixed(column, kind)
        return pa.array(values, mask=nulls)

    return read


def _read_boolean(rows: Rows, column: int, field: Any) -> pa.Array:
    values, nulls = rows.fixed(column, "i1")
    others = values & ~1 != 0
    if (others if nulls is None else others & ~nulls).any():
        raise UnexpectedValueError(field.name)
    return pa.array(values == 1, pa.bool_(), mask=nulls)


def _read_float(rows: Rows, column: int, field: Any) -> pa.Array:
    values, nulls = rows.fixed(column, "<f4")
    # By the shortest digits that mean this float: 0.1, not 0.10000000149.
    return pa.array(values, mask=nulls).cast(pa.string()).cast(pa.float64())


def _read_text(rows: Rows, column: int, field: Any) -> pa.Array:
    return _read_binary(rows, column, field).view(pa.string())


def _read_digits(rows: Rows, column: int, field: Any) -> pa.Array:
    digits = _read_text(rows, column, field)
    return pc.replace_substring_regex(digits, "^0+([0-9])", r"\1") if field.flags & _ZEROFILL else digits


def _read_binary(rows: Rows, column: int, field: Any) -> pa.Array:
    begins, ends, nulls = rows.sized(column)
    # The block as one array in which values and the bytes between them alternate, of which every second is a value.
    bounds = np.empty(2 * len(begins), np.int32)
    bounds[0::2], bounds[1::2] = begins, ends
    turns = pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(rows.content)], null_count=0
    )
    return turns.take(pa.array(np.arange(0, len(bounds), 2), mask=nulls))


def _read_bits(rows: Rows, column: int, field: Any) -> pa.Array:
    begins, ends, nulls = rows.sized(column)
    values = np.zeros(len(begins), np.uint64)
    for offset in range((field.length + 7) // 8):
        is_inside = begins + offset < ends
        byte = rows.parts(begins, "u1", offset, is_inside).astype(np.uint64)
        values = np.where(is_inside, (values << np.uint64(8)) | byte, values)
    return pa.array(values == 1 if field.length == 1 else values, mask=nulls)


def _read_date(rows: Rows, column: int, field: Any) -> pa.Array:
    days, _, nulls = _moments(rows, column)
    return pa.array(days.astype(np.int32), pa.int32(), mask=nulls).cast(pa.date32())


def _read_datetime(rows: Rows, column: int, field: Any) -> pa.Array:
    days, within, nulls = _moments(rows, column)
    return pa.array(days * _DAY + within, pa.int64(), mask=nulls).cast(pa.timestamp("us"))


def _read_timestamp(rows: Rows, column: int, field: Any) -> pa.Array:
    return _read_datetime(rows, column, field).cast(pa.timestamp("us", "UTC"))


def _moments(rows: Rows, column: int) -> tuple[Numbers, Numbers, Numbers | None]:
    """Days since 1970, microseconds of the day, and which are NULL or no day of any year, such as 0000-00-00."""
    begins, ends, nulls = rows.sized(column)
    lengths = ends - begins
    has_day, has_time, has_fraction = lengths >= 4, lengths >= 7, lengths >= 11
    year = rows.parts(begins, "<u2", 0, has_day)
    month = rows.parts(begins, "u1", 2, has_day)
    day = rows.parts(begins, "u1", 3, has_day)
    months = (year - 1970) * 12 + month - 1
    first, following = _first_day(months), _first_day(months + 1)
    none = (year == 0) | (month == 0) | (day == 0) | (day > following - first)
    within = _clock(rows, begins + 4, has_time) * _SECOND + rows.parts(begins, "<u4", 7, has_fraction)
    return first + day - 1, within, none if nulls is None else none | nulls


def _first_day(months: Numbers) -> Numbers:
    days: Numbers = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days


def _clock(rows: Rows, begins: Numbers, where: Numbers) -> Numbers:
    """Seconds of hour, minute and second in three bytes."""
    hour, minute, second = (rows.parts(begins, "u1", offset, where) for offset in range(3))
    seconds: Numbers = hour * 3600 + minute * 60 + second
    return seconds


def _read_time(rows: Rows, column: int, field: Any) -> pa.Array:
    begins, ends, nulls = rows.sized(column)
    has_time, has_fraction = ends - begins >= 8, ends - begins >= 12
    days = rows.parts(begins, "<u4", 1, has_time)
    seconds = days * 86_400 + _clock(rows, begins + 5, has_time)
    sign = np.where(rows.parts(begins, "u1", 0, has_time) == 1, "-", "")
    texts = [_digits(number, 2) for number in (seconds // 3600, seconds // 60 % 60, seconds % 60)]
    clock = pc.binary_join_element_wise(*texts, ":")
    kept = min(field.scale, 6)
    if kept:
        fraction = rows.parts(begins, "<u4", 8, has_fraction) // 10 ** (6 - kept)
        clock = pc.binary_join_element_wise(clock, _digits(fraction, kept), ".")
    text = pc.binary_join_element_wise(pa.array(sign, pa.string()), clock, "")
    return text if nulls is None else pc.if_else(pa.array(nulls), pa.scalar(None, pa.string()), text)


def _digits(numbers: Numbers, width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


#: `MYSQL_TYPE_…` to its word and its bytes; MEDIUMINT has four in the protocol.
_INTEGERS = {1: ("TINYINT", 1), 2: ("SMALLINT", 2), 9: ("MEDIUMINT", 4), 3: ("INT", 4), 8: ("BIGINT", 8)}
_DECIMAL = MySQLReading(word="DECIMAL", metadata=NUMBER, read=_read_digits)
_BY_CODE = {
    0: _DECIMAL,
    246: _DECIMAL,
    4: MySQLReading(word="FLOAT", type=pa.float64(), read=_read_float),
    5: MySQLReading(word="DOUBLE", type=pa.float64(), read=_fixed("<f8")),
    6: MySQLReading(word="NULL", read=_read_text),
    7: MySQLReading(word="TIMESTAMP", type=pa.timestamp("us", "UTC"), read=_read_timestamp),
    10: MySQLReading(word="DATE", type=pa.date32(), read=_read_date),
    11: MySQLReading(word="TIME", read=_read_time),
    12: MySQLReading(word="DATETIME", type=pa.timestamp("us"), read=_read_datetime),
    13: MySQLReading(word="YEAR", type=pa.int16(), read=_fixed("<i2")),
    245: MySQLReading(word="JSON", metadata=JSON, read=_read_text),
    255: MySQLReading(word="GEOMETRY", type=pa.binary(), read=_read_binary),
}
#: Of text, and of bytes.
_WORDS = {254: ("CHAR", "BINARY"), 253: ("VARCHAR", "VARBINARY"), 15: ("VARCHAR", "VARBINARY"), 252: ("TEXT", "BLOB")}
