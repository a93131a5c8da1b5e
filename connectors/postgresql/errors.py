"""What messages may repeat of PostgreSQL's errors, and the next step.

libpq's and the server's own texts can hold parts of a password (a URL that is not percent-encoded), values of rows
(class 22, DETAIL) or the query. So no psycopg error is chained to ours, and messages quote only checked parts.
"""

from __future__ import annotations

import re

import psycopg

from connectors.support.warehouse import RUN_AGAIN
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT

#: Classes whose primary message names settings, tables, columns and functions, never a row's values.
#: https://www.postgresql.org/docs/18/errcodes-appendix.html
_QUOTABLE = {"08", "0A", "25", "28", "3D", "3F", "42", "53", "55", "57", "58"}

#: Part of libpq's or the server's text to the next step.
_CONNECTION_HINTS = {
    r"password|SCRAM|authentication": "Check user and password in {setting}__URL; in a URL `@` is `%40`, `/` is `%2F`.",
    r"database .* does not exist": "Check the database's name in {setting}__URL.",
    r"role .* (does not exist|is not permitted)": "Check the user in {setting}__URL; it must be able to log in.",
    r"permission denied for database": "Ask its owner to GRANT CONNECT on the database to this user.",
    r"resolve host": "Check the host in {setting}__URL, and that this machine can look it up.",
    r"Connection refused|No such file": "Check host and port in {setting}__URL, and that the server runs.",
    r"timeout|timed out|unreachable|No route": "Check host and port in {setting}__URL, and the firewalls in between.",
    r"pg_hba": "Ask for an entry in pg_hba.conf for this machine, or add `?sslmode=require` to {setting}__URL.",
    r"SSL|certificate|channel binding": "Check `sslmode` and the certificates in {setting}__URL.",
    r"too many|slots": "Wait until others disconnect, or ask for a higher connection limit.",
    r"starting up|shutting down|recovery": "Try again when the server is up.",
}
#: SQLSTATE, or its class, to the next step.
_QUERY_HINTS = {
    "0A": SELECT_HINT,
    "25006": SELECT_HINT,
    "42501": "Ask its owner to GRANT SELECT on it, and USAGE on its schema, to this role.",
    "42P01": "Check the name; a table outside of the role's search path needs its schema, as in `schema.table`.",
    "57014": "Somebody cancelled it on the server; run the sync again.",
    "22": "`syncer explain-error RUN_ID` shows a query that finds the row.",
    "08": RUN_AGAIN,
    "40": RUN_AGAIN,
    "53": "Nothing of the result was used; ask who runs the server, or make the query cheaper.",
    "57": RUN_AGAIN,
}


#: The type that a value does not fit, in the server's English texts; a value comes behind it, or before "is".
_TYPE = re.compile(
    r"^invalid input syntax for type ([a-z][a-z ]*)(?:: |$)|is out of range for type ([a-z][a-z ]*)$"
    r"|^(smallint|integer|bigint) out of range$"
)


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time; the text says in how many seconds."""


def reason(error: psycopg.Error) -> str:
    """What a message may say of an error of the server or the connection: no value, no query."""
    if isinstance(error, NoAnswerError):
        return str(error)
    if error.sqlstate is None:
        return "the connection was lost"
    if error.sqlstate[:2] in _QUOTABLE and error.diag.message_primary:
        return error.diag.message_primary
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{words} (SQLSTATE {error.sqlstate})"


def connection_fault(error: psycopg.Error) -> tuple[str, str]:
    """Why a connection failed, and the next step, which may refer to `{setting}`."""
    said = re.split(r"FATAL: *|failed: |bad: ", str(error).partition("\n")[0])[-1]
    hints = (hint for pattern, hint in _CONNECTION_HINTS.items() if re.search(pattern, said))
    return said, next(hints, "Check {setting}__URL.")


def query_failure(label: str, error: psycopg.Error, sql: str | None = None) -> WarehouseError:
    """The error to raise for *error*; if the server parsed *sql*, with the line of the fault."""
    state = error.sqlstate or "08"
    line = column = None
    if sql is not None and error.diag.statement_position:
        before = sql[: int(error.diag.statement_position) - 1]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    hint = _QUERY_HINTS.get(state) or _QUERY_HINTS.get(state[:2], "")
    if state.startswith("42") and not hint:
        hint = error.diag.message_hint or ""
    type_ = _TYPE.search(error.diag.message_primary or "") if state.startswith("22") else None
    cast = f": a value cannot be cast to {type_[1] or type_[2] or type_[3]}" if type_ else ""
    return WarehouseError(f"{label}: {reason(error)}{cast}", hint=hint, query_line=line, query_column=column)
