"""The open snapshot of one sync, as every stage of a run uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb

from syncer.model.types import Target


class Meta:
    """The table `meta` of a file; each change is part of the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def get(self, name: str) -> str | None:
        """What was said last; None where nothing was."""
        rows = self._connection.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchall()
        return rows[0][0] if rows else None

    def set(self, **values: str) -> None:
        """Say something anew."""
        for name, value in values.items():
            self._connection.execute("DELETE FROM meta WHERE name = ?", [name])
            self._connection.execute("INSERT INTO meta VALUES (?, ?)", [name, value])

    def knows_claim(self, newest: str, *, log_id: str) -> bool:
        """Whether the sync's newest claim in a run log was made from this file."""
        if self.get("log_id") not in (None, log_id):
            return newest == ""
        # A run that died between its two writes has sent nothing: the claim before its own is the newest then.
        return newest in (self.get("claimed_by") or "", self.get("claimed_after") or "")


@dataclass(frozen=True, kw_only=True)
class Session:
    """A connection that holds a sync's file; see `file` for its tables."""

    connection: duckdb.DuckDBPyConnection
    sync: str
    target: Target

    @cached_property
    def meta(self) -> Meta:
        """What the file says of itself."""
        return Meta(self.connection)

    @cached_property
    def keys(self) -> list[str]:
        """The columns of the key, in every table: k1 to kn."""
        return [f"k{i + 1}" for i in range(len(self.target.key_columns))]

    @cached_property
    def k(self) -> str:
        """SQL for the columns of the key."""
        return ", ".join(self.keys)

    def keys_of(self, table: str) -> str:
        """SQL for the columns of the key of one table."""
        return ", ".join(f"{table}.{key}" for key in self.keys)

    def same_keys(self, left: str, right: str) -> str:
        """SQL for whether the rows of two tables have the same key; not true where a part of it is NULL."""
        return " AND ".join(f"{left}.{key} = {right}.{key}" for key in self.keys)

    def execute(self, statement: str, parameters: Any = None) -> None:
        """Run a statement whose result nobody wants."""
        self.connection.execute(statement, parameters)

    def rows(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """All rows of a query; for a few."""
        return self.connection.execute(query, parameters).fetchall()

    def count(self, query: str, parameters: Any = None) -> int:
        """The one number of a query, or how many rows a statement touched."""
        return int(self.rows(query, parameters)[0][0])

    def any(self, query: str) -> bool:
        """Whether a query has a row."""
        return bool(self.rows(f"{query} LIMIT 1"))

    def has_table(self, name: str) -> bool:
        """Whether the file has a table of this name."""
        return bool(self.count("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [name]))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """What happens within becomes durable at its end, or not at all."""
        self.connection.execute("BEGIN")
        try:
            yield self
        except BaseException:
            with suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")


def key_text(keys: list[str]) -> str:
    """SQL for a key as people see and type it: one column's text, or a JSON array of several."""
    return keys[0] if len(keys) == 1 else f"CAST(json_array({', '.join(keys)}) AS VARCHAR)"
