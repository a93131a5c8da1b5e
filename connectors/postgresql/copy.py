"""libpq without blocking, so that Ctrl-C, a cancel and the deadline are heard while the server works."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator

from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn, PGresult

_FAILED = {pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE}


class Server:
    """The other end of one connection; nobody else may use the connection during a call."""

    def __init__(self, pgconn: PGconn, *, deadline: float) -> None:
        self._pgconn = pgconn
        #: By the monotonic clock, in seconds.
        self._deadline = deadline
        #: How many rows the server says that it sent; known when `copied` has ended.
        self.rows_copied = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(pgconn.socket, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop listening; the connection stays open."""
        self._selector.close()

    def ask(self, send: Callable[..., None], *arguments: object) -> PGresult:
        """The answer to one of libpq's `send_…` calls.

        Raises:
            psycopg.Error: the server refused, or the connection is lost.
            TimeoutError: no answer before the deadline.
        """
        send(*arguments)
        while self._pgconn.flush():
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)
        return self._answer()

    def rows(self, sql: bytes, *, size: int) -> Iterator[PGresult]:
        """What one statement returns, as text, in parts of at most *size* rows; nothing of it is kept on the server.

        Raises:
            psycopg.Error: the server refused, or the connection is lost; what came is not all.
            TimeoutError: the server is silent past the deadline.
        """
        self._pgconn.send_query_params(sql, None)
        self._pgconn.set_chunked_rows_mode(size)
        while self._pgconn.flush():
            self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)
        failed = None
        while True:
            while self._pgconn.is_busy():
                self._wait(selectors.EVENT_READ)
            part = self._pgconn.get_result()
            if part is None:
                break
            if part.status in _FAILED:
                failed = part
            elif part.ntuples:
                yield part
        if failed is not None:
            raise error_from_result(failed)

    def copied(self, *, start: bytes, size: int) -> Iterator[bytearray]:
        """Everything that a COPY TO STDOUT begun by `ask` sends, in blocks of *start* and then whole rows.

        Units:
            size: a block ends with the row that brings it to so many bytes.
        Raises:
            psycopg.Error: the server refused, or the connection is lost; what came is not all.
            TimeoutError: the server is silent past the deadline.
        """
        receive = self._pgconn.get_copy_data
        block = bytearray(start)
        while True:
            length, row = receive(1)
            if length > 0:
                block += row
                if len(block) >= size:
                    yield block
                    block = bytearray(start)
            elif length == 0:
                self._wait(selectors.EVENT_READ)
            else:
                break
        self.rows_copied = self._answer().command_tuples or 0
        if len(block) > len(start):
            yield block

    def _answer(self) -> PGresult:
        answers = []
        while True:
            while self._pgconn.is_busy():
                self._wait(selectors.EVENT_READ)
            answer = self._pgconn.get_result()
            if answer is None:
                break
            answers.append(answer)
            if answer.status == pq.ExecStatus.COPY_OUT:
                break
        for answer in answers:
            if answer.status in _FAILED:
                raise error_from_result(answer)
        return answers[-1]

    def _wait(self, events: int) -> None:
        self._selector.modify(self._pgconn.socket, events)
        if not self._selector.select(max(0.0, self._deadline - time.monotonic())):
            raise TimeoutError
        self._pgconn.consume_input()
