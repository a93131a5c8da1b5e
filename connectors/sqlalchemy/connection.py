"""A connection by SQLAlchemy's URL, and what the databases behind it can do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from syncer.model.errors import SettingsError
from syncer.model.spelling import did_you_mean

#: How Python marks the bytes of a text that are no UTF-8.
BROKEN_TEXT = "surrogateescape"

#: Dialect to the extra that installs a driver, and the start of that driver's URLs.
_EXTRAS = {
    "clickhouse": ("clickhouse", "clickhousedb"),
    "clickhousedb": ("clickhouse", "clickhousedb"),
    "databricks": ("databricks", "databricks"),
    "mssql": ("mssql", "mssql+pymssql"),
    "oracle": ("oracle", "oracle+oracledb"),
    "trino": ("trino", "trino"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What a database has beside SQLAlchemy's own."""

    #: The database's name for people.
    product: str
    #: The statements that open the transaction of a query.
    read_only: tuple[str, ...] = ()
    #: Whether no role can write.
    is_locked: bool = False
    #: The statement that describes a query's columns where LIMIT does not exist: a row each, with the name as its third
    #: value and the type as its sixth.
    description: str = ""
    #: The statement that returns its clock, in seconds since 1970; empty if Syncer knows none.
    clock: str = ""
    #: What to do if it cannot be reached, before "in" and the setting's name.
    unreachable: str = "Check host, port, user, password and database"


_DATABASES = {
    "clickhousedb": Database(product="ClickHouse", clock="SELECT toUnixTimestamp(now()) AS t"),
    "cockroachdb": Database(
        product="CockroachDB",
        read_only=("SET TRANSACTION READ ONLY",),
        clock="SELECT extract(epoch FROM now()) AS t",
    ),
    "databricks": Database(product="Databricks", clock="SELECT unix_timestamp() AS t"),
    "mssql": Database(
        product="SQL Server",
        # https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-describe-first-result-set-transact-sql
        description="EXEC sp_describe_first_result_set @tsql = N{}",
        clock="SELECT DATEDIFF_BIG(second, '1970-01-01', SYSUTCDATETIME()) AS t",
    ),
    "oracle": Database(
        product="Oracle Database",
        read_only=("SET TRANSACTION READ ONLY",),
        clock="SELECT ROUND((CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') * 86400) AS t FROM dual",
    ),
    "postgresql": Database(
        product="PostgreSQL",
        read_only=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SET LOCAL TimeZone = 'UTC'"),
        clock="SELECT extract(epoch FROM now()) AS t",
    ),
    "sqlite": Database(
        product="SQLite",
        read_only=("PRAGMA query_only = ON",),
        is_locked=True,
        unreachable="Write sqlite:///name for a path from the working folder, sqlite:////name for one from the root,",
    ),
    "trino": Database(product="Trino", clock="SELECT to_unixtime(now()) AS t"),
}


def database(name: str) -> Database:
    """The database of SQLAlchemy's dialect of this name."""
    return _DATABASES.get(name, Database(product=name))


def keep_values(connection: Any) -> None:
    """Make a driver return what it would change or refuse: digits in JSON (psycopg), broken UTF-8 (sqlite3)."""
    driver = type(connection).__module__.partition(".")[0]
    if driver == "psycopg":
        from psycopg.types.string import TextLoader

        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
    elif driver == "sqlite3":
        connection.text_factory = partial(str, encoding="utf-8", errors=BROKEN_TEXT)


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
