"""What messages may repeat of an error of MySQL or MariaDB, and the next step: no value, no query.

Most of the servers' messages quote values ("Truncated incorrect INTEGER value: 'Ann'"), so ours repeat only those of
chosen numbers.
"""

from __future__ import annotations

import re
import socket
import ssl
from importlib import import_module

from connectors.support.warehouse import RUN_AGAIN
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT

SYNTAX = 1064

#: Numbers whose messages name tables, columns, functions, users and settings only.
#: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html,
#: https://mariadb.com/docs/server/reference/error-codes
# fmt: off
_QUOTABLE = {
    1040, 1044, 1045, 1046, 1049, 1051, 1052, 1053, 1054, 1055, 1056, 1060, 1066, 1072, 1081, 1102, 1103, 1104, 1109,
    1110, 1111, 1115, 1116, 1120, 1129, 1130, 1140, 1142, 1143, 1146, 1147, 1158, 1159, 1160, 1161, 1166, 1176, 1184,
    1191, 1193, 1203, 1205, 1213, 1221, 1222, 1226, 1227, 1234, 1235, 1241, 1242, 1248, 1250, 1251, 1253, 1267, 1270,
    1271, 1273, 1290, 1305, 1317, 1318, 1347, 1356, 1370, 1390, 1412, 1415, 1418, 1449, 1524, 1582, 1583, 1584, 1630,
    1637, 1698, 1702, 1792, 1820, 1862, 1969, 3024, 3118, 3159, 4151,
}
# fmt: on

_CHEAPER = "A limit of the query, the server or this user ended it; raise it, or make the query cheaper."
_GRANT = "Ask its owner to GRANT SELECT on it to this user."
_HINTS = {
    SYNTAX: "",
    1044: "Ask its owner to GRANT SELECT on the database's tables to this user.",
    1046: "Name the database in the warehouse's URL, or write `database.table`.",
    1142: _GRANT,
    1143: _GRANT,
    1146: "Check the name; a table of another database needs its name, as in `database.table`.",
    1205: RUN_AGAIN,
    1213: RUN_AGAIN,
    1412: RUN_AGAIN,
    1317: "Somebody cancelled it on the server; run the sync again.",
    1370: "Ask its owner to GRANT EXECUTE on it to this user.",
    1792: SELECT_HINT,
    # Another limit of time than ours, in MariaDB and in MySQL.
    1969: _CHEAPER,
    3024: _CHEAPER,
}

#: Part of the reason why a connection failed to the next step.
_CONNECTION_HINTS = {
    r"Access denied for user .* to database": "Check the database's name in {setting}__URL, or ask its owner to"
    " GRANT SELECT on its tables to this user.",
    r"Access denied|account is locked": "Check user and password in {setting}__URL; there `@` is `%40`, `/` is `%2F`.",
    r"Unknown database": "Check the database's name in {setting}__URL.",
    r"cannot be looked up": "Check the host in {setting}__URL, and that this machine can look it up.",
    r"refused|No such file": "Check host and port in {setting}__URL, and that the server runs.",
    r"timed out|unreachable|No route|was lost": "Check host and port in {setting}__URL, and the firewalls in between.",
    r"is not allowed to connect|blocked": "Ask for a user who may connect from this machine.",
    r"SSL|TLS|certificate|secure transport": "Check `ssl_mode` and `ssl_ca` in {setting}__URL.",
    r"[Tt]oo many|max_.*connections": "Wait until others disconnect, or ask for a higher connection limit.",
    r"package": "Install that package beside Syncer, or ask for a user who logs in with a password.",
}


#: Frequent numbers, with better words than the driver's names of them.
_WORDS = {
    1105: "the server refused a value or an operation",
    1292: "a value cannot be converted to the type",
    1366: "a value cannot be converted to the type",
    1525: "a value cannot be converted to the type",
    1690: "a number is out of range",
}


#: The type that a value does not fit; the value comes behind it.
_TYPE = re.compile(r"^(?:Incorrect|Truncated incorrect) (INTEGER|DOUBLE|DECIMAL|DATE|DATETIME|TIME|TIMESTAMP) value: ")


def reason(error: Exception) -> str:
    """What a message may say of an error of the driver."""
    if isinstance(error, OSError):
        return _of_the_system(error)
    number, message = number_and_message(error)
    if number == SYNTAX:
        return _syntax(message)
    if number in _QUOTABLE:
        return " ".join(message.split())
    if 2000 <= number < 3000 or number == 0:
        return _of_the_connection(message, getattr(error, "original_exception", None))
    words, type_ = _WORDS.get(number) or _words(number), _TYPE.match(message)
    return f"{words} (error {number})" + (f": a value cannot be cast to {type_[1]}" if type_ else "")


def connection_fault(error: Exception) -> tuple[str, str]:
    """Why a connection failed, and the next step, which may refer to `{setting}`."""
    said = reason(error)
    hints = (step for pattern, step in _CONNECTION_HINTS.items() if re.search(pattern, said))
    return said, next(hints, "Check {setting}__URL.")


def query_failure(label: str, error: Exception) -> WarehouseError:
    """The error to raise for *error*; for a mistake of syntax with the line of it."""
    number, message = number_and_message(error)
    hint = RUN_AGAIN if 2000 <= number < 3000 or number in (0, 1053) else _HINTS.get(number, "")
    found = re.search(r"at line (\d+)$", message) if number == SYNTAX else None
    return WarehouseError(f"{label}: {reason(error)}", hint=hint, query_line=int(found[1]) if found else None)


def number_and_message(error: Exception) -> tuple[int, str]:
    """As the server or the driver sent it; the message must not be shown."""
    number, message = (*error.args, "", "")[:2]
    return (number, str(message)) if isinstance(number, int) else (0, str(number))


def _syntax(message: str) -> str:
    near = re.search(r" near '([A-Za-z_][\w$]*|[^\w\s'\"]\S?)?", message)
    return "you have an error in your SQL syntax" + (f" near `{near[1]}`" if near and near[1] else "")


def _of_the_connection(message: str, cause: Exception | None) -> str:
    if isinstance(cause, OSError):
        return _of_the_system(cause)
    if "package" in message:
        needed = re.search(r"'(\w+)' package|(pynacl)", message)
        return f"this user's way to log in needs the package {needed[1] or needed[2] if needed else ''}".rstrip()
    if "SSL" in message:
        return "the server does not speak TLS"
    if "plugin" in message or "auth" in message:
        return "this user's way to log in is not supported"
    return "the connection was lost"


def _of_the_system(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host cannot be looked up"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the connection was closed'}".replace("_", " ")
    return error.strerror or ("timed out" if isinstance(error, TimeoutError) else "the connection was lost")


def _words(number: int) -> str:
    names = vars(import_module("pymysql.constants.ER"))
    name = next((name for name, value in names.items() if value == number and name.isupper()), "the query failed")
    return name.replace("_", " ").lower()
