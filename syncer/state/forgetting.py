"""Forgetting one person: what the run log has of rejected rows about them."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from syncer.state.database import StateDatabase, explained
from syncer.state.schema import rejection_totals, rejections

#: Whether a rejected row is about the person: sync, key, and its values as a JSON object or None.
IsAbout = Callable[[str, str, str | None], bool]


def forget_rejections(database: StateDatabase, is_about: IsAbout) -> int:
    """Delete rejected rows; returns how many. In SQLite, nothing is left of them in the file.

    Raises:
        StateDatabaseError: they could not be deleted, or the file could not be written anew.
    """
    row = rejections.c
    with database.writing() as connection:
        known = connection.execute(sa.select(row.sync, row.position, row.key, row.row_values)).all()
        found = [each for each in known if is_about(each.sync, each.key, each.row_values)]
        for each in found:
            connection.execute(rejections.delete().where(row.sync == each.sync, row.position == each.position))
            total = rejection_totals.c
            one_less = rejection_totals.update().where(total.sync == each.sync).values(total=total.total - 1)
            connection.execute(one_less)
    _write_anew(database)
    return len(found)


def _write_anew(database: StateDatabase) -> None:
    """Write an SQLite file anew, with its log: free pages have what was deleted before."""
    if database.is_shared:
        return
    connection = database.own_connection()
    with explained():
        try:
            connection.exec_driver_sql("VACUUM")
            # What another process still reads stays in the log until it has ended.
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
