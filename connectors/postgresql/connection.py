"""A connection to PostgreSQL by its URL."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from connectors.postgresql.errors import connection_fault
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreError, WarehouseError

_DEFAULTS: dict[str, Any] = {
    "application_name": "syncer",
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def connect(named: ConnectionName, url: str, **arguments: Any) -> psycopg.Connection:
    """A connection to a warehouse or store.

    Shapes:
        url: `postgresql://` or `postgres://`, with libpq's parameters, which win over ours.
        arguments: as for psycopg.connect.
    Raises:
        SettingsError: the URL cannot be read.
        WarehouseError, StoreError: the server cannot be reached or refuses.
    """
    parameters = _parameters(named, url)
    try:
        return psycopg.connect(**_DEFAULTS | parameters | arguments, client_encoding="utf8")
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
