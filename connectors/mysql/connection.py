"""A connection to MySQL or MariaDB by its URL."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.mysql.errors import connection_hint, reason
from connectors.support.connection import driver
from syncer.model.errors import SettingsError, WarehouseError

_CONNECT_SECONDS = 15
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_PARAMETERS = ("charset", "ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "unix_socket")
_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
#: Text arrives as UTF-8 whatever the tables hold.
_CHARSETS = ("utf8mb4", "utf8", "utf8mb3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is and how to log in."""

    label: str
    #: The setting that says so.
    setting: str
    host: str
    port: int
    unix_socket: str
    #: For pymysql.connect, what the two above do not say.
    arguments: Mapping[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        """For people."""
        return self.unix_socket or f"{self.host}:{self.port}"


def address(name: str, url: str) -> Address:
    """The server that the URL of the warehouse called *name* speaks of.

    Raises:
        SettingsError: the URL cannot be read, or names a file of certificates that cannot.
    """
    setting = f"SYNCER_WAREHOUSES__{name.upper()}__URL"
    label = f"warehouse `{name}`"
    parts = urlsplit(url)
    try:
        port = parts.port or 3306
    except ValueError:
        raise _unreadable(label, setting) from None
    # An unquoted `/` or `?` in a password moves its rest to where messages would show it.
    if any("@" in part for part in (parts.path, parts.query, parts.fragment)):
        raise _unreadable(label, setting)
    parameters = _parameters(label, setting, parts.query)
    return Address(
        label=label,
        setting=setting,
        host=parts.hostname or "localhost",
        port=port,
        unix_socket=parameters.get("unix_socket", ""),
        arguments={
            "user": unquote(parts.username or ""),
            # The driver would write a text as Latin-1.
            "password": unquote(parts.password or "").encode(),
            "database": unquote(parts.path[1:]) or None,
            **_encryption(label, setting, parameters),
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
    pymysql = driver("pymysql", extra="mysql", label=to.label)
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
        said = reason(exc)
    else:
        connection._read_timeout = None
        return connection
    raise WarehouseError(
        f"{to.label}: cannot connect to {to.where}: {said}", hint=connection_hint(said).format(setting=to.setting)
    )


def _parameters(label: str, setting: str, query: str) -> dict[str, str]:
    parameters = {}
    for written, value in parse_qsl(query, keep_blank_values=True):
        name = written.replace("-", "_").lower()
        if name not in _PARAMETERS:
            near = get_close_matches(name, _PARAMETERS, n=1)
            raise SettingsError(
                f"{label}: its URL has an unknown parameter"
                + (f" `{written}`" if re.fullmatch(r"[\w-]{1,30}", written) else ""),
                hint=f"Did you mean `{near[0]}`?" if near else f"{setting} may have: {', '.join(_PARAMETERS)}.",
            )
        parameters[name] = value
    mode = parameters.get("ssl_mode", "PREFERRED").upper()
    if mode not in _MODES:
        near = get_close_matches(mode, _MODES, n=1)
        raise SettingsError(
            f"{label}: `ssl_mode` in its URL is none of {', '.join(_MODES)}",
            hint=f"Did you mean `{near[0]}`?" if near else f"Correct {setting}.",
        )
    if parameters.get("charset", "utf8mb4") not in _CHARSETS:
        raise SettingsError(f"{label}: `charset` in its URL can only be `utf8mb4`", hint=f"Take it out of {setting}.")
    return parameters


def _encryption(label: str, setting: str, parameters: Mapping[str, str]) -> dict[str, Any]:
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
        raise SettingsError(
            f"{label}: the certificates in its URL cannot be read: {said}",
            hint=f"Check `ssl_ca`, `ssl_cert` and `ssl_key` in {setting}.",
        ) from None
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


def _unreadable(label: str, setting: str) -> SettingsError:
    return SettingsError(
        f"{label}: its URL cannot be read",
        hint=f"Write {setting} as mysql://user:password@host:3306/database; "
        "in a user or password `@` is `%40`, `/` is `%2F`, `%` is `%25`.",
    )
