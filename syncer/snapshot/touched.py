"""The rows of a ledger that others have touched since: by removing, unsetting, or moving an identifier."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.protocols import MOVED, UNSET
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal


def is_unset(session: Session, removed: str) -> str:
    """SQL for whether a table of IDENTIFIERS says that another sync unset an attribute of the row."""
    _, kind, value = session.entity
    entity = literal(UNSET[session.target.entity])
    return f"{value} IN (SELECT value FROM {removed} WHERE entity = {entity} AND kind = {kind})"


def doubt_unset(session: Session, removed: str) -> None:
    """Put rows in doubt of which others unset an attribute (`unset`), unless more of them is in doubt.

    *removed*: a table of IDENTIFIERS.
    """
    k = session.k
    kept = f"EXISTS (SELECT 1 FROM kept WHERE {session.same_keys('kept', 's')})"
    session.execute(
        f"INSERT INTO in_doubt ({k}, unset) SELECT {k}, NOT {kept} FROM snapshot s ANTI JOIN in_doubt USING ({k}) "
        f"WHERE {is_unset(session, removed)}"
    )


def doubt_moved(session: Session, moved: pa.Table) -> None:
    """Mark rows in doubt of which nobody knows who got them, now that their identifier moved. *moved*: IDENTIFIERS."""
    if MOVED not in moved["entity"].unique().to_pylist():
        return
    session.connection.register("moved_away", moved.filter(pc.equal(moved["entity"], MOVED)))
    known = f"SELECT {session.k} FROM snapshot WHERE person IS NOT NULL"
    session.execute(
        f"UPDATE in_doubt SET moved = TRUE WHERE ({session.touched('moved_away')}) AND NOT EXISTS "
        f"(SELECT 1 FROM ({known}) s WHERE {session.same_keys('in_doubt', 's')})"
    )
    session.connection.unregister("moved_away")
