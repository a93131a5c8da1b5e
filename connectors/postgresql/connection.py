"""A connection to PostgreSQL by its URL."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

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

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """See psycopg; every call to the server comes here.

        Raises:
            NoAnswerError: there was no answer in time; the connection is closed.
        """
        try:
            return super().wait(_bounded(gen, self.patience), *args, **kwargs)
        except NoAnswerError:
            self.close()
            raise


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """The same generator, until so many seconds have passed; psycopg resumes it several times a second."""
    until = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() > until:
                raise NoAnswerError(f"the server did not answer within {seconds:.0f} seconds")
            state = gen.send(ready)
    except StopIteration as end:
        return end.value


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
