"""A connection to Snowflake: its URL, and the login."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from connectors.snowflake.errors import login_failure
from connectors.snowflake.names import lowered
from connectors.snowflake.options import SnowflakeOptions
from connectors.support.column_case import PARAMETER, ColumnCase, column_case
from connectors.support.connection import ConnectionName, driver, is_loopback, url_parameters
from syncer.model.connectors import revealed

_EXTRA = "snowflake"
_PARAMETERS = ("warehouse", "role", "authenticator", "host", "port", "protocol", PARAMETER)
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_DOMAIN = re.compile(r"\.snowflakecomputing\.(com|cn)$")

#: Ways to log in without a person, with the secret that each needs.
_AUTHENTICATORS = {
    "snowflake": "a password in its URL",
    "snowflake_jwt": "{setting}__KEY",
    "oauth": "{setting}__TOKEN",
    "programmatic_access_token": "{setting}__TOKEN",
}

_LOGIN_SECONDS = 30
_REQUEST_SECONDS = 60
#: Parts of a result that the driver fetches at once, and the megabytes that it may keep ready.
_PREFETCHED_PARTS = 2
_PREFETCHED_MEGABYTES = 100

_SESSION = {
    "TIMEZONE": "UTC",
    "CLIENT_TELEMETRY_ENABLED": False,
    # In megabytes.
    "CLIENT_RESULT_CHUNK_SIZE": 48,
    "GEOGRAPHY_OUTPUT_FORMAT": "GeoJSON",
    "GEOMETRY_OUTPUT_FORMAT": "GeoJSON",
    "JSON_INDENT": 0,
    # Set for the account or the user, these would cut results silently, and fold names in quotes.
    "ROWS_PER_RESULTSET": 0,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
}
_DEFAULTS: dict[str, Any] = {
    "application": "syncer",
    "login_timeout": _LOGIN_SECONDS,
    "request_timeout": _REQUEST_SECONDS,
    "validate_default_parameters": True,
    # The privileges of the user's other roles do not count.
    "secondary_roles": "NONE",
    "client_session_keep_alive": True,
    "client_out_of_band_telemetry_enabled": False,
    "client_prefetch_threads": _PREFETCHED_PARTS,
    "client_memory_limit": _PREFETCHED_MEGABYTES,
    "arrow_number_to_decimal": True,
    # A query that still runs when the session ends is cancelled.
    "server_session_keep_alive": False,
    "enable_server_session_keep_alive_auto_detection": False,
}


def connect(named: ConnectionName, url: str, *, options: SnowflakeOptions, sync: str) -> Any:
    """A connection of snowflake.connector's.

    Raises:
        SettingsError: the URL or what goes beside it cannot be used, or the driver is not installed.
        WarehouseError: Snowflake cannot be reached or refuses.
    """
    parts, query = _parts(named, url)
    place = _place(named, parts, query)
    login = _login(named, parts, query.get("authenticator", "").lower(), options)
    connector = driver("snowflake.connector", extra=_EXTRA, label=named.label)
    _silence()
    session = _SESSION | {"QUERY_TAG": f"syncer: {sync}" if sync else "syncer"}
    try:
        return connector.connect(**_DEFAULTS, **place, **login, session_parameters=session)
    except connector.errors.Error as exc:
        failure = login_failure(exc, named, where=place.get("host", ""))
    raise failure


def names_of(named: ConnectionName, url: str) -> ColumnCase:
    """How the names of columns are read.

    Raises:
        SettingsError: the URL cannot be used.
    """
    _, query = _parts(named, url)
    return column_case(named, query.get(PARAMETER, ""), lowered)


def _silence() -> None:
    """Keep the driver from logging values of rows, and from detecting the platform of this machine."""
    os.environ["SNOWFLAKE_DISABLE_PLATFORM_DETECTION"] = "true"
    logger = logging.getLogger("snowflake.connector")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _parts(named: ConnectionName, url: str) -> tuple[SplitResult, dict[str, str]]:
    parts = urlsplit(re.sub(r"^snowflake\+\w+:", "snowflake:", url))
    # These hold parts of a password that is not encoded, which no message may show.
    has_faults = any(mark in parts.path + parts.query + parts.fragment for mark in "@#") or parts.path.count("/") > 2
    account = parts.netloc.rpartition("@")[2].lower()
    if has_faults or parts.fragment or not _ACCOUNT.fullmatch(_DOMAIN.sub("", account)):
        raise named.unreadable("snowflake://user:password@account/database/schema?warehouse=…&role=…")
    return parts, url_parameters(named, parts.query, _PARAMETERS, strict=True)


def _place(named: ConnectionName, parts: SplitResult, query: Mapping[str, str]) -> dict[str, Any]:
    host = query.get("host", parts.hostname if _DOMAIN.search(parts.hostname or "") else "") or ""
    found: dict[str, Any] = {"account": _DOMAIN.sub("", parts.hostname or "")}
    if host:
        found["host"] = host
    if is_loopback(host):
        found["use_proxy_env"] = False
    if "port" in query:
        if not query["port"].isdecimal():
            raise named.unusable("URL has a port that is not a number", "Correct {setting}__URL.")
        found["port"] = int(query["port"])
    if "protocol" in query:
        if query["protocol"] not in ("https", "http") or (query["protocol"] == "http" and not is_loopback(host)):
            hint = "Leave `protocol` out of {setting}__URL; `http` is only for 127.0.0.1."
            raise named.unusable("URL has a protocol that is not safe", hint)
        found["protocol"] = query["protocol"]
    names = [unquote(part) for part in parts.path.split("/")[1:]]
    found |= {key: name for key, name in zip(("database", "schema"), names, strict=False) if name}
    return found | {key: query[key] for key in ("warehouse", "role") if key in query}


def _login(named: ConnectionName, parts: SplitResult, authenticator: str, options: SnowflakeOptions) -> dict[str, Any]:
    key, token = revealed(options.key), revealed(options.token)
    given = {"snowflake": parts.password, "snowflake_jwt": key, "oauth": token, "programmatic_access_token": token}
    if authenticator and authenticator not in _AUTHENTICATORS:
        raise named.unusable(
            f"URL has the authenticator `{authenticator}`, which is unknown or needs a person",
            f"Use one of: {', '.join(_AUTHENTICATORS)}.",
        )
    if sum(bool(secret) for secret in (parts.password, key, token)) > 1:
        hint = "Keep one of: a password in {setting}__URL, {setting}__KEY, {setting}__TOKEN."
        raise named.unusable("settings hold more than one secret to log in with", hint)
    chosen = authenticator or next((way for way, secret in given.items() if secret), "snowflake")
    if not given[chosen]:
        hint = "Give it a password, {setting}__KEY or {setting}__TOKEN to log in with."
        raise named.unusable(f"settings lack {named.hint(_AUTHENTICATORS[chosen])}", hint)
    if not parts.username and chosen != "oauth":
        raise named.unusable("URL names no user", "Write {setting}__URL as snowflake://user:password@account/….")
    login: dict[str, Any] = {"authenticator": chosen.upper()}
    if parts.username:
        login["user"] = unquote(parts.username)
    if chosen == "snowflake":
        return login | {"password": unquote(parts.password or "")}
    if chosen == "snowflake_jwt":
        return login | {"private_key": _private_key(named, options)}
    return login | {"token": token}


def _private_key(named: ConnectionName, options: SnowflakeOptions) -> bytes:
    """The key as DER. A fault is found here, so that no message of the driver repeats parts of it."""
    module = driver("cryptography.hazmat.primitives.serialization", extra=_EXTRA, label=named.label)
    passphrase = revealed(options.key_passphrase).encode() or None
    hint = "Check {setting}__KEY, an RSA key as PEM (PKCS#8), and {setting}__KEY_PASSPHRASE."
    try:
        key = module.load_pem_private_key(revealed(options.key).encode(), passphrase)
        der: bytes = key.private_bytes(module.Encoding.DER, module.PrivateFormat.PKCS8, module.NoEncryption())
    except Exception:  # What is raised differs by the fault, and may hold parts of the key.
        raise named.unusable("private key cannot be read", hint) from None
    return der
