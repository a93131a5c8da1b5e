"""A lock in PostgreSQL that a session holds for as long as it lives, on a connection of its own."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from syncer.model.errors import SettingsError, StateDatabaseError
from syncer.state.database import StateDatabase, explained

#: Seconds without a statement after which the server ends the session and frees its lock: of a machine that is gone,
#: or of a process that is frozen.
SILENCE_SECONDS = 10

#: Any number, the same for every version of Syncer.
_LEADERSHIP = 7305712


class SessionLock:
    """One session's claim to the lock of a run log; for one thread at a time."""

    def __init__(self, database: StateDatabase, lock: tuple[int, int] | None = None) -> None:
        """Nothing is connected yet. *lock*: the two numbers of the lock, in place of those of the lead."""
        self._database = database
        # Two run logs may be in one database.
        self._lock = lock or (_LEADERSHIP, zlib.crc32(database.log_id.encode()) - 2**31)
        self._connection: sa.Connection | None = None
        #: The driver's, which SQLAlchemy forgets without closing it where the server ended the session.
        self._raw: Any = None
        self._backend: int | None = None

    def take(self) -> bool:
        """Take the lock if nobody has it; returns whether this session has it now.

        Raises:
            StateDatabaseError: the server cannot be reached.
            SettingsError: each statement may reach another session of the server.
        """
        try:
            if self._connection is None:
                self._connect()
            number, key = self._lock
            backend, taken = self._row(f"SELECT pg_backend_pid(), pg_try_advisory_lock({number}, {key})")
            if backend != self._backend:
                raise _pooled()
            if taken:
                # PostgreSQL 13 does not have it.
                self._row(
                    f"SELECT set_config(name, '{SILENCE_SECONDS}s', false) FROM pg_settings "
                    "WHERE name = 'idle_session_timeout' UNION ALL SELECT '' LIMIT 1"
                )
        except BaseException:
            self.release()
            raise
        return bool(taken)

    def ask(self, query: str) -> Any:
        """The one value that a query gives; None where this is not the session any more that took the lock."""
        try:
            backend, value = self._row(f"SELECT pg_backend_pid(), ({query})")
        except StateDatabaseError:
            return None
        return value if backend == self._backend else None

    def release(self) -> None:
        """Let go of the lock and the connection; calling it twice is fine."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(exc.DBAPIError):
                connection.close()
            self._raw.close()

    def _connect(self) -> None:
        self._connection = self._database.own_connection()
        self._raw = self._connection.connection.dbapi_connection
        (self._backend,) = self._row("SELECT pg_backend_pid()")
        # Within its transaction another client has a session of the server to itself.
        with self._database.reading() as other:
            taken = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            mine = {self._row("SELECT pg_backend_pid()")[0] for _ in range(3)}
        if taken in mine or mine != {self._backend}:
            raise _pooled()

    def _row(self, query: str) -> Any:
        if self._connection is None:
            raise StateDatabaseError("not connected")
        with explained():
            return self._connection.exec_driver_sql(query).one()


def _pooled() -> SettingsError:
    return SettingsError(
        "SYNCER_DATABASE_URL: this is a pooler that gives each transaction another session of PostgreSQL, so that no"
        " service can hold the lead",
        hint="Connect to the server directly, or to a pooler in session mode. See `syncer docs production`.",
    )
