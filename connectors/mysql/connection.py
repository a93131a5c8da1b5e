"""A connection to MySQL or MariaDB by its URL."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors.mysql.errors import connection_fault
from connectors.support.connection import ConnectionName, driver, url_parameters
from syncer.model.errors import WarehouseError
from syncer.model.spelling import did_you_mean

_CONNECT_SECONDS = 15
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_PARAMETERS = ("charset", "ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "unix_socket")
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
#: Text arrives as UTF-8 whatever the tables hold.
_CHARSETS = ("utf8mb4", "utf8", "utf8mb3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is and how to log in."""

    named: ConnectionName
    host: str
    port: int
    unix_socket: str
    #: For pymysql.connect, beside host and port.
    arguments: Mapping[str, Any] = field(repr=False)


def address(named: ConnectionName, url: str) -> Address:
    """What the URL of a warehouse says.

    Raises:
        SettingsError: the URL cannot be read, or names a file of certificates that cannot.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 3306
        # These hold parts of a password with an unquoted `/` or `?`, which no message may show.
        if any("@" in part for part in (parts.path, parts.query, parts.fragment)):
            raise ValueError
    except ValueError:
        raise named.unreadable("mysql://user:password@host:3306/database") from None
    parameters = _parameters(named, parts.query)
    return Address(
        named=named,
        host=parts.hostname or "localhost",
        port=port,
        unix_socket=parameters.get("unix_socket", ""),
        arguments={
            "user": unquote(parts.username or ""),
            # The driver would write a text as Latin-1.
            "password": unquote(parts.password or "").encode(),
            "database": unquote(parts.path[1:]) or None,
            **_encryption(named, parameters),
        },
    )


def connect(to: Address, *, seconds: float = _CONNECT_SECONDS) -> Any:
    """A pymysql.Connection that waits for answers as long as it takes.

    Units:
        seconds: for each step of connecting.
    Raises:
        SettingsError: the driver is not installed.
        WarehouseError: the server cannot be reached or refuses.
    """
    pymysql = driver("pymysql", extra="mysql", label=to.named.label)
    try:
        connection = pymysql.connect(
            **to.arguments,
            host=to.host,
            port=to.port,
            charset="utf8mb4",
            autocommit=None,
            program_name="syncer",
            connect_timeout=seconds,
            read_timeout=seconds,
            defer_connect=True,
        )
        if to.unix_socket:
            _connect_by_socket(connection, to.unix_socket, seconds)
        else:
            connection.connect()
            _keep_alive(connection._sock)
    # RuntimeError: a way to log in that needs another package; ValueError: a host that cannot be one.
    except (pymysql.Error, OSError, RuntimeError, ValueError) as exc:
        fault, hint = connection_fault(exc)
    else:
        connection._read_timeout = None
        return connection
    where = to.unix_socket or f"{to.host}:{to.port}"
    raise WarehouseError(f"{to.named.label}: cannot connect to {where}: {fault}", hint=to.named.hint(hint))


def _parameters(named: ConnectionName, query: str) -> dict[str, str]:
    parameters = url_parameters(named, query, _PARAMETERS)
    mode = parameters.get("ssl_mode", "PREFERRED").upper()
    if mode not in _MODES:
        raise named.unusable("URL has an unknown `ssl_mode`", did_you_mean(mode, _MODES))
    if parameters.get("charset", "utf8mb4") not in _CHARSETS:
        raise named.unusable("URL has another `charset` than `utf8mb4`", "Take it out of {setting}__URL.")
    return parameters


def _encryption(named: ConnectionName, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Arguments for pymysql.connect, which by itself encrypts where the server can, and verifies nothing."""
    files = {name: parameters[name] for name in ("ssl_ca", "ssl_cert", "ssl_key") if parameters.get(name)}
    # As MySQL's own clients.
    usual = "VERIFY_CA" if "ssl_ca" in files else "REQUIRED" if files else "PREFERRED"
    mode = parameters.get("ssl_mode", usual).upper()
    if mode == "DISABLED" or ("unix_socket" in parameters and mode == "PREFERRED"):
        return {"ssl_disabled": True}
    if mode == "PREFERRED" and not files:
        return {}
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca"))
        if "ssl_cert" in files:
            context.load_cert_chain(files["ssl_cert"], keyfile=files.get("ssl_key"))
    except (OSError, ValueError) as exc:
        said = exc.strerror if isinstance(exc, OSError) and exc.strerror else "they hold no certificate or key"
        hint = "Check `ssl_ca`, `ssl_cert` and `ssl_key` in {setting}__URL."
        raise named.unusable(f"URL names certificates that cannot be read: {said}", hint) from None
    # Certificates that servers make for themselves are not strict.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("VERIFY") else ssl.CERT_NONE
    return {"ssl": context}


def _connect_by_socket(connection: Any, path: str, seconds: float) -> None:
    # The driver leaves a socket open that it could not connect.
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        own.settimeout(seconds)
        own.connect(path)
    except BaseException:
        own.close()
        raise
    # A password may go over it as it is.
    connection._secure = True
    connection.connect(own)


def _keep_alive(connected: socket.socket) -> None:
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
