"""The rows of a ledger that others have touched since: by removing, unsetting, or moving an identifier."""

from __future__ import annotations

from syncer.model.protocols import MOVED, UNSET
from syncer.model.types import Entity
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal


def doubt(session: Session, which: str) -> None:
    """Put the rows of the snapshot in doubt of which the SQL *which* is true."""
    k = session.k
    session.execute(
        f"UPDATE in_doubt SET unset = NULL FROM (SELECT {k} FROM snapshot s WHERE {which}) d "
        f"WHERE in_doubt.unset AND {session.same_keys('in_doubt', 'd')}"
    )
    session.execute(
        f"INSERT INTO in_doubt ({k}) SELECT {k} FROM snapshot s ANTI JOIN in_doubt USING ({k}) WHERE {which}"
    )


def is_unset(session: Session, removed: str) -> str:
    """SQL for whether a table of IDENTIFIERS says that another sync unset an attribute of the row."""
    _, kind, value = session.entity
    entity = literal(UNSET[session.target.entity])
    return f"{value} IN (SELECT value FROM {removed} WHERE entity = {entity} AND kind = {kind})"


def doubt_unset(session: Session, removed: str) -> None:
    """Put rows in doubt of which others unset an attribute; *removed*: a table of IDENTIFIERS."""
    doubt_in_part(session, is_unset(session, removed))


def doubt_in_part(session: Session, which: str) -> None:
    """Put the rows of the snapshot s in doubt, as `unset`, of which the SQL *which* is true.

    The store may lack a value of them, and no more, unless more of them is in doubt.
    """
    k = session.k
    kept = f"EXISTS (SELECT 1 FROM kept WHERE {session.same_keys('kept', 's')})"
    session.execute(
        f"INSERT INTO in_doubt ({k}, unset) SELECT {k}, NOT {kept} FROM snapshot s ANTI JOIN in_doubt USING ({k}) "
        f"WHERE {which}"
    )


def find_deleted(session: Session, removed: str) -> None:
    """Fill `deleted_elsewhere` (k…) with the people of the snapshot whom others deleted; *removed*: IDENTIFIERS."""
    entity, kind, value = session.entity
    is_about_people = session.target.entity is Entity.PERSON
    if is_about_people:
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE deleted_elsewhere AS SELECT {session.k} FROM snapshot WHERE {value} IN "
            f"(SELECT value FROM {removed} WHERE entity = {entity} AND kind = {kind})"
        )


def doubt_moved(session: Session, table: str) -> None:
    """Mark rows in doubt of which nobody knows who got them, now that their identifier moved; *table*: IDENTIFIERS."""
    moved = f"(SELECT * FROM {table} WHERE entity = {literal(MOVED)})"
    if not session.any(f"SELECT 1 FROM {moved}"):
        return
    known = f"SELECT {session.k} FROM snapshot WHERE person IS NOT NULL"
    session.execute(
        f"UPDATE in_doubt SET moved = TRUE WHERE ({session.touched(moved)}) AND NOT EXISTS "
        f"(SELECT 1 FROM ({known}) s WHERE {session.same_keys('in_doubt', 's')})"
    )
