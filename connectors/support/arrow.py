"""Arrow's values in the one spelling that every way of reading them gives."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

#: The first and the last microsecond and day of the years 1 to 9999.
_MICROSECONDS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_DAYS = (-719_162, 2_932_896)


def digits(array: pa.Array) -> pa.Array:
    """Decimals as texts of digits, without an exponent."""
    text = array.cast(pa.string())
    if pc.any(pc.match_substring(text, "E")).as_py():
        text = pa.array([None if value is None else f"{value:f}" for value in array.to_pylist()], pa.string())
    return text


def shortest(array: pa.Array) -> pa.Array:
    """Doubles of the shortest digits that mean the same float of four bytes: 0.1, not 0.10000000149.

    Shapes:
        array: floats, or doubles; a double that no float of four bytes is stays.
    """
    floats = array.cast(pa.float32(), safe=False)
    found = floats.cast(pa.string()).cast(pa.float64())
    if array.type == pa.float32():
        return found
    return pc.if_else(pc.equal(floats.cast(pa.float64()), array), found, array)


def within_calendar(array: pa.Array) -> pa.Array:
    """Dates or microseconds, with Arrow's largest or smallest for those outside of the years 1 to 9999."""
    bits, bounds = (pa.int32(), _DAYS) if pa.types.is_date(array.type) else (pa.int64(), _MICROSECONDS)
    infinity = 2 ** (bits.bit_width - 1) - 1
    counted = array.view(bits)
    least, most = pc.min_max(counted).as_py().values()
    if least is None or (bounds[0] <= least and most <= bounds[1]):
        return array
    counted = pc.if_else(pc.greater(counted, bounds[1]), pa.scalar(infinity, bits), counted)
    counted = pc.if_else(pc.less(counted, bounds[0]), pa.scalar(-infinity, bits), counted)
    return counted.view(array.type)
