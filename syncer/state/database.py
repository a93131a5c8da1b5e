"""The state database: read without waiting for writers, written by one process at a time."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL

from syncer.model.errors import SettingsError, StateDatabaseError, UnusableValueError
from syncer.model.importing import importing
from syncer.state import schema

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

_SETTING = "SYNCER_DATABASE_URL"
_WAIT_SECONDS = 30
_SILENCE_SECONDS = 10

#: How long libpq waits for a server, and when it gives up one that is gone: after seconds, not hours.
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

#: What opens a transaction that sees one moment, and one that writes.
_READ = {
    "sqlite": "BEGIN",
    # Whoever locks a table keeps readers waiting too.
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
    f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'",
}
_WRITE = {
    "sqlite": "BEGIN IMMEDIATE",
    # A process that is frozen between two statements must not block the others.
    "postgresql": f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_SILENCE_SECONDS}s'",
}

#: SQLite's and PostgreSQL's codes for a full or failing disk.
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR", "53100")

#: Any number, the same for every version of Syncer: who holds it creates or upgrades the tables.
_UPGRADE_LOCK = 7305711
_HELD_LOCK = 7305713

#: Lets the server end the session of a machine that is gone after seconds, not hours.
_GONE = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"


class StateDatabase:
    """Where the run log and the removals are kept; one object may serve several threads."""

    def __init__(self, url: str) -> None:
        """Open the database, and create or upgrade its tables where necessary.

        Shapes:
            url: `sqlite:///file`, in a folder that exists, or `postgresql://`.
        Raises:
            SettingsError: the URL is neither, or the database is a newer Syncer's.
            StateDatabaseError: it cannot be reached, read or written.
        """
        self._engine = _engine(url)
        #: Of each thread, the transaction that it is in, and whether that one writes.
        self._inside = threading.local()
        try:
            with self.reading() as connection:
                number, log_id = _read_state(connection)
            if number < schema.NEWEST:
                number, log_id = self._bring_up_to_date()
            if number > schema.NEWEST:
                from syncer.state.upgrades import FORMATS

                what = f"{_SETTING}: the run log"
                raise FORMATS.newer(number, what=what, error=SettingsError, otherwise="name another database")
        except BaseException:
            self.close()
            raise
        #: A random name, made with the database: another one means that what was kept here is gone.
        self.log_id = log_id

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one moment of the database and waits for no writer.

        Within a block of `reading` or `writing`, in the same thread, it is a part of that transaction.
        """
        with self._transaction(_READ, writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is durable when the block ends, and undone when it raises.

        Within another such block, in the same thread, it is a part of that transaction.
        """
        with self._transaction(_WRITE, writes=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: Mapping[str, str], *, writes: bool) -> Iterator[sa.Connection]:
        outer = getattr(self._inside, "transaction", None)
        if outer is not None and outer[1] >= writes:
            yield outer[0]
            return
        with explained(), _begun(self._engine, begin[self._engine.dialect.name]) as connection:
            self._inside.transaction = (connection, writes)
            try:
                yield connection
            finally:
                self._inside.transaction = outer
            if writes:
                connection.commit()

    @property
    def is_shared(self) -> bool:
        """Whether services on several machines may use it."""
        return self._engine.dialect.name == "postgresql"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What libpq connects with, also the login; only where the database is shared."""
        _, found = self._engine.dialect.create_connect_args(self._engine.url)
        return {name: value for name, value in {**_CONNECTING, **found}.items() if name != "context"}

    @property
    def removals_folder(self) -> Path | None:
        """Where the files of `removal_sets` lie; None where the database may be shared, and holds them itself."""
        return None if self.is_shared else Path(f"{self._engine.url.database}.removals")

    def own_connection(self, first: str = "SELECT 1", *, is_kept: bool = False) -> sa.Connection:
        """A connection where each statement is a transaction; to be closed by the caller.

        Shapes:
            first: a statement, which has run there.
            is_kept: whether the pool gets it back; what was set in the session would stay.
        """
        with explained():
            connection = _begun(self._engine.execution_options(isolation_level="AUTOCOMMIT"), first)
            if not is_kept:
                connection.detach()
            return connection

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Show that this process lives to all who share the database, while the block runs; see `is_held`."""
        if not self.is_shared:
            yield
            return
        number, key = self.lock_of(name)
        connection = self.own_connection(first=f"{_GONE}; SELECT pg_advisory_lock_shared({number}, {key})")
        try:
            yield
        finally:
            with suppress(exc.DBAPIError):
                connection.close()

    def is_held(self, name: str) -> bool:
        """Whether some process holds a name now; only where the database is shared."""
        return self.holders(name) > 0

    def holders(self, name: str) -> int:
        """How many hold a name now; only where the database is shared."""
        query = sa.text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid = :lock AND objid = :key AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with self.reading() as connection:
            number, key = self.lock_of(name)
            held: int = connection.execute(query, {"lock": number, "key": key & 0xFFFFFFFF}).scalar_one()
        return held

    def lock_of(self, name: str) -> tuple[int, int]:
        """The two numbers of the advisory lock of who holds a name."""
        # Two run logs may be in one database.
        return _HELD_LOCK, zlib.crc32(f"{self.log_id}/{name}".encode()) - 2**31

    def insert(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that may have an ON CONFLICT clause."""
        if self._engine.dialect.name == "postgresql":
            with importing:
                from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        with importing:
            from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)

    def _bring_up_to_date(self) -> tuple[int, str]:
        from syncer.state import upgrades

        if not self.is_shared:
            with explained():
                upgrades.keep_log(self._engine, seconds=_WAIT_SECONDS)
        upgrades.bring_up_to_date(self.upgrading, read=lambda connection: _read_state(connection)[0])
        with self.reading() as connection:
            return _read_state(connection)

    @contextmanager
    def upgrading(self) -> Iterator[sa.Connection]:
        """As `writing`, for who creates or upgrades tables: one process after the other."""
        with self.writing() as connection:
            if self.is_shared:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
            yield connection


def _begun(engine: sa.Engine, statement: str) -> sa.Connection:
    """A connection on which a first statement ran: a new one where the server has ended those that were kept."""
    connection = engine.connect()
    try:
        connection.exec_driver_sql(statement)
    except exc.DBAPIError as error:
        connection.close()
        if not error.connection_invalidated:
            raise
        # With it went all that were kept.
        connection = engine.connect()
        try:
            connection.exec_driver_sql(statement)
        except BaseException:
            connection.close()
            raise
    return connection


def _read_state(connection: sa.Connection) -> tuple[int, str]:
    """The format and the id of the database; 0 and nothing where it is empty."""
    if not connection.dialect.has_table(connection, schema.state.name):
        return 0, ""
    row = connection.execute(sa.select(schema.state.c.schema_version, schema.state.c.log_id)).one()
    return row.schema_version, row.log_id


#: Of a URL of PostgreSQL, what stands before several hosts, the hosts, and the path.
_HOSTS = re.compile(r"^(postgres[^:/]*://(?:[^/?#]*@)?)((?:[^/?#@:,]*(?::\d*)?,)+[^/?#@:,]*(?::\d*)?)(/[^?#]*)?\??")


def _with_hosts_as_parameters(found: re.Match[str]) -> str:
    """As SQLAlchemy has them; libpq lists them with commas."""
    hosts = "&".join(f"host={host}" for host in found[2].split(","))
    return f"{found[1]}{found[3] or '/'}?{hosts}&"


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(_HOSTS.sub(_with_hosts_as_parameters, url))
    except (exc.ArgumentError, ValueError):
        # The cause's text may hold a part of the password.
        raise SettingsError(f"{_SETTING}: this is not a URL", hint=_hint()) from None
    match parsed.drivername:
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return _sqlite_engine(parsed)
        case "postgresql" | "postgres" | "postgresql+psycopg":
            with importing:
                connecting = {name: value for name, value in _CONNECTING.items() if name not in parsed.query}
                return sa.create_engine(
                    parsed.set(drivername="postgresql+psycopg"),
                    # A pooler may give the next transaction another session, which has none of the statements.
                    connect_args={**connecting, "prepare_threshold": None},
                    # Not needed here, and looking it up costs a round trip for each new connection.
                    use_native_hstore=False,
                    hide_parameters=True,
                )
    raise SettingsError(f"{_SETTING}: the run log cannot be kept in `{parsed.drivername}:`", hint=_hint())


def _hint() -> str:
    return f"Set {_SETTING} to `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`."


def _sqlite_engine(url: URL) -> sa.Engine:
    # SQLite would make it without the right of a group to write it. Never by open(): to close a file that another
    # connection has open takes this process's locks from it, and then others delete the log that it writes.
    with suppress(OSError, AttributeError):
        os.mknod(url.database or "", 0o660)
    # Without an isolation level the driver leaves BEGIN to us.
    with importing:
        engine = sa.create_engine(
            url, connect_args={"isolation_level": None, "timeout": _WAIT_SECONDS}, hide_parameters=True
        )

    @sa.event.listens_for(engine, "connect")
    def sync_to_disk(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA synchronous = FULL")

    return engine


@contextmanager
def explained() -> Iterator[None]:
    """Raise StateDatabaseError, without values and URLs, for the database's own errors."""
    try:
        yield
    except exc.DataError:
        raise UnusableValueError(
            f"{_SETTING}: the run log cannot contain such a value",
            hint="A text may have no NUL character, and a number no more digits than the column.",
        ) from None
    except (exc.DBAPIError, exc.TimeoutError) as error:
        raise _explanation(error) from None


def _explanation(error: exc.SQLAlchemyError) -> StateDatabaseError:
    cause = error.orig if isinstance(error, exc.DBAPIError) else None
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StateDatabaseError(
            f"{_SETTING}: the file of the run log is damaged",
            hint="Move it away together with the files beside it that end in `-wal` and `-shm`; the next command makes"
            " a new one. History and pauses are then gone; nothing in the store is.",
        )
    if code.startswith(("SQLITE_BUSY", "55P03")):
        return StateDatabaseError(
            f"{_SETTING}: another process has been writing the run log for {_WAIT_SECONDS} seconds",
            hint="Look for a Syncer process that hangs.",
        )
    if code.startswith(_NO_ROOM):
        return StateDatabaseError(
            f"{_SETTING}: the run log cannot be written: its disk is full, or fails",
            hint="Free some space there (by default it is in SYNCER_STATE_DIR) and run the command again; what the"
            " store has taken stays known.",
        )
    # Any other kind may quote values.
    speaks = isinstance(error, exc.OperationalError | exc.ProgrammingError)
    reason = str(cause).strip().split("\n")[0] if speaks else code or type(error).__name__
    return StateDatabaseError(
        f"{_SETTING}: the run log cannot be used: {reason}",
        hint=f"Check that {_SETTING} (by default a file in SYNCER_STATE_DIR) names a database that can be written, and"
        " its user and password.",
    )
