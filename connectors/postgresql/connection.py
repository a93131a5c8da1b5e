"""A connection to PostgreSQL by its URL."""

from __future__ import annotations

import atexit
import re
import select
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from connectors.postgresql.errors import NoAnswerError, connection_fault
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreError, WarehouseError

_Connection = TypeVar("_Connection", bound=psycopg.Connection)

_DEFAULTS: dict[str, Any] = {
    "application_name": "syncer",
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # Milliseconds that what was sent may stay unacknowledged; keepalives look only at a connection that is idle.
    "tcp_user_timeout": 60_000,
}


class BoundedConnection(psycopg.Connection):
    """A connection that closes if the server does not answer in time: a frozen one keeps its connections alive."""

    #: Seconds that one call may take.
    patience = 60.0
    #: Whether a call failed, so that nobody else may use it.
    has_failed = False
    #: Called several times a second while a call waits for the server.
    meanwhile: Callable[[], None] | None = None

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """See psycopg; every call to the server comes here.

        Raises:
            NoAnswerError: there was no answer in time; the connection is closed.
        """
        try:
            return super().wait(_bounded(gen, self.patience, self.meanwhile), *args, **kwargs)
        except NoAnswerError:
            self.close()
            raise
        except BaseException:
            self.has_failed = True
            raise


def _bounded(
    gen: Generator[Any, Any, Any], seconds: float, meanwhile: Callable[[], None] | None
) -> Generator[Any, Any, Any]:
    """The same generator, until so many seconds have passed; psycopg resumes it several times a second."""
    until = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() > until:
                raise NoAnswerError(f"the server did not answer within {seconds:.0f} seconds")
            if not ready and meanwhile is not None:
                meanwhile()
            state = gen.send(ready)
    except StopIteration as end:
        return end.value


def spelled(sql: str) -> str:
    """A statement whose variables are `:name`, as psycopg spells them."""
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", sql)


def connect(named: ConnectionName, url: str, **arguments: Any) -> psycopg.Connection:
    """A connection to a warehouse or store.

    Shapes:
        url: `postgresql://` or `postgres://`, with libpq's parameters, which win over ours.
        arguments: as for psycopg.connect.
    Raises:
        SettingsError: the URL cannot be read.
        WarehouseError, StoreError: the server cannot be reached or refuses.
    """
    return _connected(psycopg.Connection, named, url, **arguments)


def connect_bounded(named: ConnectionName, url: str, *, patience: float, **arguments: Any) -> BoundedConnection:
    """The same; no call takes longer than *patience* seconds."""
    connection = _connected(BoundedConnection, named, url, **arguments)
    connection.patience = patience
    return connection


def _connected(kind: type[_Connection], named: ConnectionName, url: str, **arguments: Any) -> _Connection:
    parameters = _parameters(named, url)
    try:
        return kind.connect(**_DEFAULTS | parameters | arguments, client_encoding="utf8")
    except psycopg.Error as exc:
        fault, hint = connection_fault(exc)
    where = ":".join(str(parameters[part]) for part in ("host", "port") if part in parameters)
    message = f"{named.label}: cannot connect to PostgreSQL{where and f' at {where}'}: {fault}"
    raise (WarehouseError if named.kind == "warehouse" else StoreError)(message, hint=named.hint(hint))


def _parameters(named: ConnectionName, url: str) -> dict[str, Any]:
    with suppress(psycopg.ProgrammingError):
        parameters = conninfo_to_dict(re.sub(r"^(postgres(?:ql)?)\+\w+:", r"\1:", url))
        # These hold parts of a password with an unquoted `@` or `/`, which no message may show.
        if not any("@" in str(parameters.get(part, "")) for part in ("host", "port", "dbname")):
            return parameters
    raise named.unreadable("postgresql://user:password@host:5432/database", ", with libpq's parameters after `?`")


#: Connections that wait for a next run, at most, of one URL and in all; for so many seconds.
_MOST_OF_ONE, _MOST = 4, 16
_WAITING_SECONDS = 30.0
#: For the answer of one that has waited.
_TRIED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    place: tuple[str, str]
    connection: BoundedConnection
    #: By the monotonic clock.
    since: float


_waiting: list[_Waiting] = []
_changes = threading.Lock()


def reused(named: ConnectionName, url: str, *, patience: float, autocommit: bool) -> BoundedConnection:
    """As `connect_bounded`, or a connection of an earlier run of this process, if it answers; to be given to `release`.

    Its session is as a new one's: everything that was set there is reset.
    """
    while found := _taken((named.kind, url)):
        if _begins_anew(found):
            found.patience, found.autocommit = patience, autocommit
            return found
        found.close()
    connection = connect_bounded(named, url, patience=patience, autocommit=autocommit)
    # Nothing that was prepared would outlast the reset.
    connection.prepare_threshold = None
    return connection


def release(connection: BoundedConnection, named: ConnectionName, url: str) -> None:
    """Keep a connection for the next run if no call on it failed, or close it; calling it twice is fine."""
    is_idle = not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE
    place = (named.kind, url)
    with _changes:
        if any(one.connection is connection for one in _waiting):
            return
        of_one = sum(one.place == place for one in _waiting)
        is_kept = is_idle and not connection.has_failed and of_one < _MOST_OF_ONE and len(_waiting) < _MOST
        if is_kept:
            _waiting.append(_Waiting(place, connection, time.monotonic()))
            if len(_waiting) == 1:
                threading.Thread(target=_close_idle, name="idle connections", daemon=True).start()
    if not is_kept:
        connection.close()


def _taken(place: tuple[str, str]) -> BoundedConnection | None:
    with _changes:
        found = next((one for one in reversed(_waiting) if one.place == place), None)
        if found is not None:
            _waiting.remove(found)
    return None if found is None else found.connection


def _begins_anew(connection: BoundedConnection) -> bool:
    """Reset a session; returns whether the server did so."""
    connection.patience = _TRIED_SECONDS
    try:
        # What is there to read is that the server has ended the session.
        if select.select([connection.pgconn.socket], [], [], 0)[0]:
            return False
        connection.autocommit = True
        connection.execute("DISCARD ALL")
    except (psycopg.Error, ValueError):
        return False
    return True


def _close_idle() -> None:
    """Close what has waited for too long, as long as anything waits."""
    while True:
        with _changes:
            if not _waiting:
                return
            wait = _waiting[0].since + _WAITING_SECONDS - time.monotonic()
            late = _waiting.pop(0) if wait <= 0 else None
        if late:
            late.connection.close()
        else:
            time.sleep(wait)


@atexit.register
def _close_all() -> None:
    with _changes:
        for one in _waiting:
            one.connection.close()
        _waiting.clear()
