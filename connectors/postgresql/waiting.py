"""What a writer does while it waits for another one: it ends the session of one that stands still.

A process that is suspended, or whose machine is, keeps the store's lock. No timeout of the server ends a COPY that
waits for its rows, so the one who waits looks whether any come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from connectors.postgresql.connection import BoundedConnection
from syncer.model.errors import StoreError

#: Seconds between two looks.
LOOK_SECONDS = 2.0
#: For which a session has to stand still before it is ended: within a statement, where each row that comes is seen, and
#: between two, where a long one may be on its way over a slow network.
WITHIN_SECONDS, BETWEEN_SECONDS = 8.0, 15.0

#: Who has locked the store and waits for its client, with all that would change if the client did anything.
_STILL = """
    SELECT a.pid, a.backend_start, a.state_change, coalesce(p.bytes_processed, 0) AS bytes,
      a.state = 'active' AS is_within
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) LEFT JOIN pg_stat_progress_copy AS p USING (pid)
    WHERE l.locktype = 'relation' AND l.relation = to_regclass('workspace') AND l.mode = 'RowShareLock' AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND a.wait_event IN ('ClientRead', 'ClientWrite')"""
_END = f"""
    SELECT pg_terminate_backend(pid) FROM ({_STILL}) AS s
    WHERE (pid, backend_start, state_change, bytes, is_within) = (%s, %s, %s, %s, %s)"""


@contextmanager
def watching(connection: BoundedConnection, connect: Callable[[], BoundedConnection]) -> Iterator[None]:
    """Let whoever holds the store's lock and stands still lose it, while *connection* waits within the block.

    Sessions of another login are not seen, unless this one may see and signal all: they go on.

    Shapes:
        connect: gives another connection.
    """
    watch = _Watch(connect)
    connection.meanwhile = watch.look
    try:
        yield
    finally:
        connection.meanwhile = None
        watch.close()


class _Watch:
    def __init__(self, connect: Callable[[], BoundedConnection]) -> None:
        self._connect = connect
        self._connection: BoundedConnection | None = None
        self._next = time.monotonic() + LOOK_SECONDS
        #: Since when each stands still.
        self._since: dict[tuple[Any, ...], float] = {}

    def look(self) -> None:
        """Called several times a second; one look costs a query."""
        now = time.monotonic()
        if now < self._next:
            return
        # Whoever waits learns at the end of its own patience why it cannot be reached.
        with suppress(psycopg.Error, StoreError):
            self._connection = self._connection or self._connect()
            found = self._connection.execute(_STILL).fetchall()
            self._since = {one: self._since.get(one, now) for one in found}
            for one, since in self._since.items():
                if now - since >= (WITHIN_SECONDS if one[-1] else BETWEEN_SECONDS):
                    self._connection.execute(_END, one)
        self._next = time.monotonic() + LOOK_SECONDS

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
