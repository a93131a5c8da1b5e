"""A PostgreSQL warehouse with two logins: one that reads, and one that keeps the rows of snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingWarehouse:
    """One database."""

    #: As superuser.
    owner_url: str
    reader_url: str
    keeper_url: str

    def execute(self, *statements: str) -> None:
        """Change what the warehouse has."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query returns."""
        with psycopg.connect(self.owner_url) as connection:
            return connection.execute(query).fetchall()

    def kept(self) -> int | None:
        """How many rows the only snapshot has in the keeper's schema; None without a table."""
        tables = [name for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE tablename ~ '^kept_'")]
        return (
            sum(int(str(self.rows(f"SELECT count(*) FROM kept.{name}")[0][0])) for name in tables) if tables else None
        )


@contextmanager
def keeping_warehouse(url: str) -> Iterator[KeepingWarehouse]:
    """Make the two logins in a database of which the URL of a superuser is given; they go at the end."""
    place = urlsplit(url)
    database = place.path.strip("/")
    reader, keeper = f"reader_{database}", f"keeper_{database}"

    def login(role: str) -> str:
        return f"postgresql://{role}:pass-{role}@{place.hostname}:{place.port}/{database}"

    made = KeepingWarehouse(owner_url=url, reader_url=login(reader), keeper_url=login(keeper))
    for role in (reader, keeper):
        made.execute(f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'pass-{role}'")
    made.execute(f"CREATE SCHEMA kept AUTHORIZATION {keeper}", f"GRANT pg_read_all_data TO {reader}")
    try:
        yield made
    finally:
        made.execute("DROP SCHEMA IF EXISTS kept CASCADE")
        for role in (reader, keeper):
            made.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
