"""SQLAlchemy's URLs, and the drivers that they need."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from syncer.model.errors import SettingsError
from syncer.model.spelling import did_you_mean

#: Dialect to the extra that installs a driver, and the start of that driver's URLs.
_EXTRAS = {
    "clickhouse": ("clickhouse", "clickhousedb"),
    "clickhousedb": ("clickhouse", "clickhousedb"),
    "databricks": ("databricks", "databricks"),
    "mssql": ("mssql", "mssql+pymssql"),
    "oracle": ("oracle", "oracle+oracledb"),
    "trino": ("trino", "trino"),
}


def parsed_url(label: str, url: str) -> tuple[URL, Any]:
    """The URL and SQLAlchemy's dialect for it, whose driver is installed.

    Raises:
        SettingsError: there is no such dialect or driver, or the URL cannot be read; the message has no part of it.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(f"{label}: its URL cannot be read", hint="Write it as SQLAlchemy does.") from None
    name = parsed.get_backend_name()
    try:
        found = parsed.get_dialect()
        found.import_dbapi()
    except NoSuchModuleError:
        raise SettingsError(
            f"{label}: no warehouse has URLs that start with `{parsed.drivername}:`, "
            "and no SQLAlchemy dialect of this name is installed",
            hint=_step(name),
        ) from None
    except ImportError as exc:
        raise SettingsError(
            f"{label}: the driver of `{parsed.drivername}:` URLs is not installed",
            hint=_step(name) if name in _EXTRAS else f"Install it with `pip install {exc.name}`.",
        ) from None
    return (_read_only_file(parsed) if name == "sqlite" else parsed), found


def _step(name: str) -> str:
    if name in _EXTRAS:
        extra, start = _EXTRAS[name]
        return f"Install it with `pip install 'syncer[{extra}]'`; its URLs start with `{start}:`."
    others = [one for entry in entry_points(group="syncer.warehouses") for one in entry.load().schemes if one.isalpha()]
    return did_you_mean(name, [*others, *_EXTRAS], or_list=False) or (
        f"Use one of {', '.join(others)}, or install the dialect."
    )


def _read_only_file(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return url
    return url.set(database="file:" + quote(url.database), query={**url.query, "mode": "ro", "uri": "true"})
