"""What has to be known of the databases that are read by way of SQLAlchemy."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from syncer.model.errors import SettingsError

#: Dialect to the extra that brings a driver, and how a URL of that driver starts.
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
    """One database's ways."""

    #: The database's name for people.
    product: str
    #: What is run first, in the transaction of the query.
    read_only: tuple[str, ...] = ()
    #: Whether nothing can be written, whatever the role may do.
    is_locked: bool = False
    #: What tells a query's columns where LIMIT is not known: a row each, of which the third value is the name
    #: and the sixth the type.
    description: str = ""
    #: What to do where it cannot be reached, before "in" and the setting's name.
    unreachable: str = "Check host, port, user, password and database"


_DATABASES = {
    "clickhousedb": Database(product="ClickHouse"),
    "cockroachdb": Database(product="CockroachDB", read_only=("SET TRANSACTION READ ONLY",)),
    "databricks": Database(product="Databricks"),
    # https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-describe-first-result-set-transact-sql
    "mssql": Database(product="SQL Server", description="EXEC sp_describe_first_result_set @tsql = N{}"),
    "oracle": Database(product="Oracle Database", read_only=("SET TRANSACTION READ ONLY",)),
    "postgresql": Database(
        product="PostgreSQL",
        read_only=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SET LOCAL TimeZone = 'UTC'"),
    ),
    "sqlite": Database(
        product="SQLite",
        read_only=("PRAGMA query_only = ON",),
        is_locked=True,
        unreachable="Write sqlite:///name for a path from the working folder, sqlite:////name for one from the root,",
    ),
    "trino": Database(product="Trino"),
}

#: What drivers say that names tables, columns, settings and words of the query, and no value.
_QUOTABLE = [
    r"no such (?:table|column|function): [\w.]+",
    r'near "\w+": syntax error',
    r"ambiguous column name: [\w.]+",
    r"unable to open database file|database is locked|file is not a database|attempt to write a readonly database",
    r'(?:relation|column|function|schema|database|role) "?[\w.]+"? does not exist',
    r'syntax error at or near "\w+"',
    r"permission denied for \w+ \w+",
    r"cannot execute [A-Z ]+ in a read-only transaction",
    r"Invalid (?:object|column) name '[\w.]+'",
    r"Incorrect syntax near (?:the keyword )?'\w+'",
    r"The SELECT permission was denied on the object '\w+'",
    r"Login failed",
    r"(?:Table|Column|Schema|Catalog|Function) '[\w.]+' (?:does not exist|cannot be resolved|not registered)",
    r"ORA-\d{5}",
    r"\[[A-Z]+(?:[_.][A-Z]+)+\]",
    r"\([A-Z]+(?:_[A-Z]+)+\)",
    r"password authentication failed|could not translate host name|[Nn]ame or service not known",
    r"Connection refused|[Tt]imed out|timeout expired|[Cc]ertificate verify failed",
]


def database(name: str) -> Database:
    """What is known of SQLAlchemy's dialect of this name."""
    return _DATABASES.get(name, Database(product=name))


def reason(error: BaseException) -> tuple[str, str]:
    """What a message may say of a driver's error, and the word of the query that it names, or empty."""
    error = getattr(error, "orig", None) or error
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    code = getattr(error, "sqlstate", None) or next(iter(error.args), None)
    is_code = isinstance(code, int) or (isinstance(code, str) and re.fullmatch(r"[0-9A-Z]{5}", code))
    said = f"{kind} {code}" if is_code else kind
    found = re.search("|".join(_QUOTABLE), str(error))
    if found is None:
        return said, ""
    words = re.findall(r"[\w.]+", found[0])
    quoted = re.search(r"""["']([\w.]+)["']|: ([\w.]+)$|column ([\w.]+)""", found[0])
    word = next((group for group in quoted.groups() if group), "") if quoted else words[-1]
    return f"{said}: {found[0]}", word.rpartition(".")[2]


def keep_digits(connection: Any) -> None:
    """Make psycopg hand out JSON as the text that it is; its numbers would lose digits."""
    if type(connection).__module__.partition(".")[0] == "psycopg":
        from psycopg.types.string import TextLoader

        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)


def parsed_url(label: str, url: str) -> tuple[URL, Any]:
    """The URL and SQLAlchemy's dialect for it, whose driver is there.

    Raises:
        SettingsError: there is no such dialect or driver, or the URL cannot be read; no part of it is told.
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
    meant = difflib.get_close_matches(name, [*others, *_EXTRAS], n=1)
    if meant:
        return f"Did you mean `{meant[0]}`?"
    return f"Use one of {', '.join(others)}, or install the dialect."


def _read_only_file(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return url
    return url.set(database="file:" + quote(url.database), query={**url.query, "mode": "ro", "uri": "true"})
