"""What reading a state database costs, in numbers that are the same on every machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import runs


def cost_of(database: StateDatabase, read: Callable[[], object]) -> int:
    """Rows of the runs that PostgreSQL's plans look at; hundreds of instructions of SQLite's virtual machine."""
    return _rows(database, read) if database.is_shared else _instructions(database, read)


def _instructions(database: StateDatabase, read: Callable[[], object]) -> int:
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 100)

    sa.event.listen(sa.Pool, "checkout", watch)
    try:
        read()
    finally:
        sa.event.remove(sa.Pool, "checkout", watch)
    with database.reading() as connection:
        connection.connection.driver_connection.set_progress_handler(None, 0)  # type: ignore[union-attr]
    return counted


def _rows(database: StateDatabase, read: Callable[[], object]) -> int:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        read()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    found = 0
    for statement, parameters in asked:
        if statement.startswith(("SELECT", "WITH")):
            with database.reading() as connection:
                explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
                found += _looked_at(explained.scalar_one()[0]["Plan"])
    return found


def _looked_at(plan: dict[str, Any]) -> int:
    below: int = sum(map(_looked_at, plan.get("Plans", ())))
    if plan.get("Relation Name") != runs.name:
        return below
    each: float = (
        plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    )
    return below + int(each * plan["Actual Loops"])
