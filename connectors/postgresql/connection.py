"""A connection to PostgreSQL, and what may be said of its errors.

libpq's and the server's own texts can hold parts of a password (a URL that is not percent-encoded), values of
rows (class 22, DETAIL) or the query; so no psycopg error is chained to ours, and only checked parts are quoted.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict

from syncer.model.errors import ConnectionFailedError, SettingsError, StoreError, WarehouseError

_ERRORS: dict[str, type[ConnectionFailedError]] = {"warehouse": WarehouseError, "store": StoreError}

_DEFAULTS: dict[str, Any] = {
    "application_name": "syncer",
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

#: Part of libpq's or the server's text to the next step.
_HINTS = {
    r"password|SCRAM|authentication": "Check user and password in {setting}; in a URL `@` is `%40`, `/` is `%2F`.",
    r"database .* does not exist": "Check the database's name in {setting}.",
    r"role .* (does not exist|is not permitted)": "Check the user in {setting}: it must be a role that may log in.",
    r"permission denied for database": "Ask its owner to GRANT CONNECT on the database to this user.",
    r"resolve host": "Check the host in {setting}, and that this machine can look it up.",
    r"Connection refused|No such file": "Check host and port in {setting}, and that the server runs.",
    r"timeout|timed out|unreachable|No route": "Check host and port in {setting}, and that no firewall is in between.",
    r"pg_hba": "Ask for an entry in pg_hba.conf for this machine, or add `?sslmode=require` to {setting}.",
    r"SSL|certificate|channel binding": "Check `sslmode` and the certificates in {setting}.",
    r"too many|slots": "Wait until others disconnect, or ask for a higher connection limit.",
    r"starting up|shutting down|recovery": "Try again when the server is up.",
}

#: Classes whose primary message names settings, tables, columns and functions, never a row's values.
#: https://www.postgresql.org/docs/18/errcodes-appendix.html
_QUOTABLE = {"08", "0A", "25", "28", "3D", "3F", "42", "53", "55", "57", "58"}


def connect(kind: Literal["warehouse", "store"], name: str, url: str, **arguments: Any) -> psycopg.Connection:
    """A connection to the warehouse or store called *name*.

    Shapes:
        url: `postgresql://` or `postgres://`, with libpq's parameters, which win over ours.
        arguments: as for psycopg.connect.
    Raises:
        SettingsError: the URL cannot be read.
        WarehouseError, StoreError: by *kind*: it cannot be reached or refuses.
    """
    setting = f"SYNCER_{kind.upper()}S__{name.upper()}__URL"
    parameters = _parameters(f"{kind} `{name}`", setting, url)
    try:
        return psycopg.connect(**_DEFAULTS | parameters | arguments, client_encoding="utf8")
    except psycopg.Error as exc:
        reason = re.split(r"FATAL: *|failed: |bad: ", str(exc).partition("\n")[0])[-1]
    where = ":".join(str(parameters[part]) for part in ("host", "port") if part in parameters)
    hints = (hint for pattern, hint in _HINTS.items() if re.search(pattern, reason))
    raise _ERRORS[kind](
        f"{kind} `{name}`: cannot connect to PostgreSQL{where and f' at {where}'}: {reason}",
        hint=next(hints, "Check {setting}.").format(setting=setting),
    )


def reason(error: psycopg.Error) -> str:
    """What a message may say of an error that the server or the connection raised: no value, no query."""
    if error.sqlstate is None:
        return "the connection was lost"
    if error.sqlstate[:2] in _QUOTABLE and error.diag.message_primary:
        return error.diag.message_primary
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{words} (SQLSTATE {error.sqlstate})"


def _parameters(label: str, setting: str, url: str) -> dict[str, Any]:
    with suppress(psycopg.ProgrammingError):
        parameters = conninfo_to_dict(re.sub(r"^(postgres(?:ql)?)\+\w+:", r"\1:", url))
        # An unquoted `@` or `/` in a password moves its rest to where messages would show it.
        if not any("@" in str(parameters.get(part, "")) for part in ("host", "port", "dbname")):
            return parameters
    raise SettingsError(
        f"{label}: its URL cannot be read",
        hint=f"Write {setting} as postgresql://user:password@host:5432/database, with libpq's parameters after `?`; "
        "in a user or password `@` is `%40`, `/` is `%2F`, `%` is `%25`.",
    )
