"""What Syncer knows of each database beside what SQLAlchemy does: how it reads only, and all of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from connectors.sqlalchemy.values import BROKEN_TEXT
from connectors.support.warehouse import quote_identifier, quote_literal
from syncer.model.importing import importing


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What a database has beside SQLAlchemy's own."""

    #: The database's name for people.
    product: str
    #: The statements that open the transaction of a query.
    read_only: tuple[str, ...] = ()
    #: Whether no role can write.
    is_locked: bool = False
    #: The statement that describes the columns of a query, of its text `{text}` or its text as a `{literal}`, and where
    #: in the rows that it returns name and type are. Empty: the query itself with LIMIT 0.
    description: str = ""
    described_at: tuple[int, int] = (0, 1)
    #: Whether the driver's cursors describe a query by `parse`.
    parses: bool = False
    #: The time in UTC, without a zone, of the column `{0}`, which has a zone that the driver drops.
    in_utc: str = ""
    #: Whether a value of bytes is a text as the database keeps it.
    bytes_are_text: bool = False
    #: How SQLAlchemy is to execute a query.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Prepares the driver's new connection; returns why its results cannot be trusted and the next step, or None.
    prepare: Callable[[Any], tuple[str, str] | None] = lambda _: None
    #: The statement that returns its clock, in seconds since 1970; empty if Syncer knows none.
    clock: str = ""
    #: What to do if it cannot be reached, before "in" and the setting's name.
    unreachable: str = "Check host, port, user, password and database"


def _return_all(connection: Any) -> tuple[str, str] | None:
    """Let ClickHouse fail where a profile would let it return a part of a result.

    Source: https://clickhouse.com/docs/operations/settings/settings, read 2026-11-29.
    """
    client = connection.client
    for name, setting in client.server_settings.items():
        wanted = "throw" if "overflow_mode" in name else _WHOLE.get(name, setting.value)
        if setting.value == wanted:
            continue
        if setting.readonly:
            return (
                f"results may be incomplete: this user's setting `{name}` is `{setting.value}`",
                f"Ask who looks after the server to set it to `{wanted}` for this user.",
            )
        client.set_client_setting(name, wanted)
    return None


#: Settings of ClickHouse that end a result early, or leave out a part, without an error.
_WHOLE = {"limit": "0", "offset": "0", "skip_unavailable_shards": "0", "partial_result_on_first_cancel": "0"}

_DATABASES = {
    "clickhousedb": Database(
        product="ClickHouse",
        clock="SELECT toUnixTimestamp(now()) AS t",
        description="DESCRIBE TABLE ({text}\n)",
        bytes_are_text=True,
        # The driver would give text that is no UTF-8 as hexadecimal digits.
        options={"query_formats": {"String": "bytes"}},
        prepare=_return_all,
    ),
    "cockroachdb": Database(
        product="CockroachDB",
        read_only=("SET TRANSACTION READ ONLY",),
        clock="SELECT extract(epoch FROM now()) AS t",
    ),
    "databricks": Database(product="Databricks", clock="SELECT unix_timestamp() AS t"),
    "mssql": Database(
        product="SQL Server",
        # https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-describe-first-result-set-transact-sql
        description="EXEC sp_describe_first_result_set @tsql = N{literal}",
        described_at=(2, 5),
        clock="SELECT DATEDIFF_BIG(second, '1970-01-01', SYSUTCDATETIME()) AS t",
    ),
    "oracle": Database(
        product="Oracle Database",
        read_only=("SET TRANSACTION READ ONLY",),
        parses=True,
        in_utc="SYS_EXTRACT_UTC({0})",
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


def description(of: Database, text: str) -> str:
    """The statement that describes the query *text*."""
    return of.description.format(text=text, literal=quote_literal(text))


def with_instants(of: Database, text: str, names: Sequence[str], has_zone: Sequence[bool]) -> str:
    """The query *text* with the columns that have a zone in UTC, of the *names* that the database gives them."""
    if not of.in_utc or not any(has_zone):
        return text
    columns, before, rows = [quote_identifier(name) for name in names], "", f"(\n{text}\n)"
    if len({*names}) < len(names):
        # A subquery in brackets cannot name its columns.
        columns = [f"c{number}" for number in range(len(names))]
        before, rows = f"WITH q ({', '.join(columns)}) AS (\n{text}\n)\n", "q"
    selected = (of.in_utc.format(c) if zone else c for c, zone in zip(columns, has_zone, strict=True))
    return f"{before}SELECT {', '.join(selected)} FROM {rows}"


def keep_values(connection: Any) -> None:
    """Make a driver return what it would change or refuse: JSON and ranges (psycopg), broken UTF-8 (sqlite3)."""
    driver = type(connection).__module__.partition(".")[0]
    if driver == "psycopg":
        with importing:
            from psycopg.types.string import TextLoader

        ranges = [
            f"{kind}{many}range" for kind in ("int4", "int8", "num", "date", "ts", "tstz") for many in ("", "multi")
        ]
        for name in ("json", "jsonb", *ranges):
            connection.adapters.register_loader(name, TextLoader)
    elif driver == "sqlite3":
        connection.text_factory = partial(str, encoding="utf-8", errors=BROKEN_TEXT)
