"""A prepared statement of MySQL's protocol: described before it runs, and its rows in blocks as they arrive.

PyMySQL connects, logs in and reads single packets. It has no prepared statements, and makes Python values of each row.
So this module sends the three commands, and finds only where the rows begin.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase_ps.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_PREPARE, _EXECUTE, _CLOSE = 0x16, 0x17, 0x19
_ROW, _END, _ERROR = 0x00, 0xFE, 0xFF
#: A packet of so many bytes is followed by the rest of its row.
_FULL = 0xFFFFFF
_RECEIVED_BYTES = 1 << 18
#: Behind each block, so that reading a few bytes at its end is no mistake.
PADDING = bytes(16)

_HEADER = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole rows of the binary protocol, and PADDING behind them."""

    content: bytes
    #: Where in *content* each row begins.
    starts: list[int]


class LostError(Exception):
    """The connection ended, or broke the protocol."""


class PreparedStatement:
    """One statement that the server has parsed and not run."""

    def __init__(self, connection: Any, sql: str) -> None:
        """Prepare it. `fields` are pymysql's descriptions of its columns.

        Raises:
            pymysql.Error: the server refused, or the connection is lost.
        """
        self._connection = connection
        connection._execute_command(_PREPARE, sql.encode())
        _, self._id, columns, self.parameters = struct.unpack_from("<BIHH", connection._read_packet().get_all_data())
        self._fields(self.parameters)
        self.fields = self._fields(columns)

    def execute(self) -> tuple[Any, ...]:
        """Run it; returns its columns as they are now. Read every row before the next command."""
        self._connection._execute_command(_EXECUTE, struct.pack("<IBI", self._id, 0, 1))
        return self._fields(self._connection._read_packet().read_length_encoded_integer())

    def blocks(self, *, size: int, rows: int) -> Iterator[Block]:
        """The rows of `execute`.

        Units:
            size: bytes; a block ends with the row that brings it to so many.
            rows: of a block at most.
        Raises:
            pymysql.Error: the server ended the query; the blocks so far are not all.
            LostError: the connection ended; the blocks so far are not all.
        """
        received = bytearray()
        starts: list[int] = []
        end = 0
        while True:
            end, is_whole = _find_rows(received, end, starts, size=size, rows=rows)
            is_last = is_whole and received[end + 4] != _ROW
            if starts and is_whole:
                yield Block(content=bytes(received[:end]) + PADDING, starts=starts)
                del received[:end]
                starts, end = [], 0
            if is_last:
                _check_end(bytes(received[end + 4 :]))
                return
            if not is_whole:
                received += self._receive()

    def close(self) -> None:
        """Free it on the server."""
        self._connection._execute_command(_CLOSE, struct.pack("<I", self._id))

    def _fields(self, count: int) -> tuple[Any, ...]:
        """*count* descriptions, and the packet that ends them."""
        descriptions = import_module("pymysql.protocol").FieldDescriptorPacket
        fields = tuple(self._connection._read_packet(descriptions) for _ in range(count))
        if count:
            self._connection._read_packet()
        return fields

    def _receive(self) -> bytes:
        try:
            received: bytes = self._connection._rfile.read1(_RECEIVED_BYTES)
        except (OSError, ValueError, AttributeError):  # The last two: it was closed meanwhile.
            raise LostError from None
        if not received:
            raise LostError
        return received


def _find_rows(received: bytearray, end: int, starts: list[int], *, size: int, rows: int) -> tuple[int, bool]:
    """Add where rows begin to *starts*; returns where the last of them ends.

    Shapes:
        returns: also whether that is a block: it is full, or a whole packet follows that is no row.
    """
    header = _HEADER.unpack_from
    length = len(received)
    while end + 4 < length:
        is_row = received[end + 4] == _ROW
        if is_row and (len(starts) >= rows or end >= size):
            return end, True
        packet = header(received, end)[0] & _FULL
        if packet == _FULL:
            following = _join(received, end)
            length = len(received)
        else:
            following = end + 4 + packet
        if following > length:
            return end, False
        if not is_row:
            return end, True
        starts.append(end + 4)
        end = following
    return end, False


def _join(received: bytearray, end: int) -> int:
    """Take out the headers inside of the row that begins at *end* and fills more than a packet.

    Shapes:
        returns: where the row ends; behind *received*, which is left as it is, where not all of it is there.
    """
    inner = []
    while True:
        if end + 4 > len(received):
            return len(received) + 1
        packet = _HEADER.unpack_from(received, end)[0] & _FULL
        end += 4 + packet
        if end > len(received):
            return end
        if packet < _FULL:
            break
        inner.append(end)
    for at in reversed(inner):
        del received[at : at + 4]
    return end - 4 * len(inner)


def _check_end(packet: bytes) -> None:
    if packet[0] == _ERROR:
        import_module("pymysql.err").raise_mysql_exception(packet)
    if packet[0] != _END or len(packet) >= 9:
        raise LostError
