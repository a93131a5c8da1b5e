"""Where the values of each column are, in many rows of MySQL's binary protocol at once.

A row is a bitmap of its NULLs and then its values, one behind the other, of a width that the type or the value's first
byte tells. So the places of one column's values in all rows of a block are found by adding to the places of the column
before, and no row is touched in Python.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.mysql.statement import PADDING, Block

Numbers = np.ndarray[Any, np.dtype[Any]]

#: Of a packet; one is before each row.
_HEADER_BYTES = 4


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
