"""What messages may repeat of Snowflake's errors, and the next step.

The service quotes values of rows in some texts. So messages repeat only its texts about names, syntax and sessions, by
their number. They repeat the driver's own texts without what is in quotes, and without addresses: those of results are
secrets.
"""

from __future__ import annotations

import re
from typing import Any

from connectors.support.connection import ConnectionName
from connectors.support.warehouse import RUN_AGAIN
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT

#: The first numbers of errors about values, of the driver's own errors, and of errors about logins.
_VALUES, _DRIVER, _LOGINS = 100_000, 200_000, 390_000

#: Number to the words that replace the service's text.
_TEXTS = {
    100035: "a text is not a timestamp",
    100037: "a text is not a boolean",
    100038: "a text is not a number",
    100040: "a text is not a date",
    100046: "a number is out of range",
    100051: "division by zero",
    100069: "a text is not JSON",
    100071: "a VARIANT cannot be cast to the type",
    100078: "a text is too long",
}
_VALUE_HINT = (
    "Look for the value that does not fit; the functions that begin with TRY_ give NULL for it. `syncer explain-error "
    "RUN_ID` shows a query that finds the row."
)

_NAME_HINT = "Check the name; if it is right, ask for USAGE on its database and schema, and SELECT on it."
#: Number to the next step.
_HINTS = {
    8: SELECT_HINT,
    606: "Add `?warehouse=NAME` to {setting}__URL, one that this role may use.",
    604: "Somebody cancelled it on the server; run the sync again.",
    630: "A limit on the server is lower than `timeout`; ask for a higher one, or make the query cheaper.",
    904: "Check the name; one that was made in quotes and lower case must be quoted.",
    2003: _NAME_HINT,
    2043: _NAME_HINT,
    3001: "Ask for USAGE on its database and schema, and SELECT on it, for this role.",
    90073: "Ask who looks after the warehouse: its resource monitor has stopped it.",
    90105: "Name the database in {setting}__URL, as in snowflake://user@account/database/schema.",
    90106: "Name the schema in {setting}__URL, as in snowflake://user@account/database/schema.",
    390144: "Check the user in {setting}__URL, and that {setting}__KEY belongs to the public key set for this user.",
    390189: "Check `role` in {setting}__URL, and that it was granted to this user.",
    390201: "Check database, schema and `warehouse` in {setting}__URL, and that `role` has USAGE on each.",
    390303: "Get a new access token for {setting}__TOKEN.",
    390318: "Get a new access token for {setting}__TOKEN.",
    394400: "Check {setting}__TOKEN and the user in {setting}__URL, and that the token has not run out.",
}
_LOGIN_HINT = "Check user and password in {setting}__URL; in a URL `@` is `%40`, `/` is `%2F`."

#: Part of the driver's text to the reason that messages give, and the next step.
_CONNECTION = {
    r"dns|resolve|lookup": ("the host cannot be found", "Check the account in {setting}__URL."),
    r"refused": ("the connection was refused", "Check `host` and `port` in {setting}__URL."),
    r"certificate|tls|ssl": ("its certificate was not accepted", "Check the account in {setting}__URL."),
    r"40[34]|forbidden|not found": ("there is no such account", "Check the account in {setting}__URL."),
    r"time": ("there was no answer in time", "Check the account in {setting}__URL, and that no firewall is between."),
}


def login_failure(error: Any, named: ConnectionName, *, where: str) -> WarehouseError:
    """The error to raise if logging in raised *error*."""
    if error.errno >= _LOGINS:
        message, hint = f"Snowflake refuses the login: {_text(error)}", _HINTS.get(error.errno, _LOGIN_HINT)
    else:
        found = (words for pattern, words in _CONNECTION.items() if re.search(pattern, str(error.raw_msg), re.I))
        reason, hint = next(found, (_drivers_text(error), "Check {setting}__URL."))
        message = f"cannot connect to Snowflake{where and f' at {where}'}: {reason} ({_drivers_number(error)})"
    return WarehouseError(f"{named.label}: {message}", hint=named.hint(hint))


def query_failure(error: Any, named: ConnectionName) -> WarehouseError:
    """The error to raise if a statement raised *error*; `query_line` is a line of the statement."""
    label, number = named.label, error.errno
    if number >= _LOGINS:
        return WarehouseError(f"{label}: the connection was lost (Snowflake's error {number})", hint=RUN_AGAIN)
    if not error.sqlstate or number >= _DRIVER:
        said = f"{_drivers_text(error)} ({_drivers_number(error)})"
        return WarehouseError(f"{label}: Snowflake's driver failed: {said}", hint=RUN_AGAIN)
    if number >= _VALUES:
        text = _TEXTS.get(number, "a value does not fit")
        return WarehouseError(f"{label}: {text} (Snowflake's error {number})", hint=_VALUE_HINT)
    hint = named.hint(_HINTS.get(number, ""))
    # It counts lines from 1, and positions from 0.
    place = re.search(r"line (\d+) at position (\d+)", error.raw_msg)
    line, column = (int(place[1]), int(place[2]) + 1) if place else (None, None)
    return WarehouseError(f"{label}: {_text(error)}", hint=hint, query_line=line, query_column=column)


def missing_name(error: Any) -> str:
    """The last part of the name that *error* says does not exist, or empty."""
    found = re.search(r"Object '(?:.*\.)?\"?([^.'\"]+)\"?' does not exist", str(error.raw_msg))
    return found[1] if found else ""


def _text(error: Any) -> str:
    """The service's own text in one line, without its usual beginning."""
    text = re.sub(r"^(SQL compilation error:)?\s*(error )?(line \d+ at position \d+)?\s*", "", str(error.raw_msg))
    text = re.sub(r" line \d+ at position \d+", "", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")


#: In a text of the driver: addresses, what is in quotes, and long words of letters and digits, such as tokens.
_HIDDEN = re.compile(r"\w+://\S+|\"[^\"]*\"|'[^']*'|`[^`]*`|\S*(?:\d\S*){8,}")
_LONGEST_TEXT = 200


def _drivers_text(error: Any) -> str:
    """The driver's own text, if it has one, in one line."""
    text = re.sub(r"\s+", " ", _HIDDEN.sub("…", str(error.raw_msg))).strip().rstrip(".")
    return text[:_LONGEST_TEXT] or "it does not say why"


def _drivers_number(error: Any) -> str:
    return f"the driver's error {error.errno:06d}" if error.errno >= 0 else "without a number"
