"""Emails and phones that change owner within one run: whose row waits until another one has let go of them.

Where they are unique, a store refuses one that somebody else has, and takes rows side by side. So the rows that only
give one up go first, and those that take one wait for the answers. Of rows that do both, perhaps in a circle, it is
unset before anything else. An id moves by no store's rules.
"""

from __future__ import annotations

from syncer.model.types import Action, PersonKey
from syncer.snapshot.columns import ColumnMap, StoredColumn
from syncer.snapshot.identifiers import key_of
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType


def find_waiting(session: Session, layout: ColumnMap) -> None:
    """Make the table `waiting` of the rows about to be sent that take what another row had when it was acknowledged.

    Shapes:
        waiting: k…, row_id, and as `gives` a JSON array of the names of what others take that this one had; NULL where
            there is none.
    """
    k = session.k
    session.execute("DROP TABLE IF EXISTS temp.waiting")
    session.execute(
        f"CREATE TEMP TABLE taking AS SELECT {k}, 0::BIGINT AS row_id, '' AS name, '' AS taken FROM snapshot LIMIT 0"
    )
    moving = [c for c in layout.fed if c.fed in layout.schema.unique and c.name != PersonKey.ID and c.was is not None]
    for column in moving:
        _find_taking(session, column)
    had = [f"SELECT {k}, '{c.name}' AS name, {_key(c, c.type, 'b')} AS had FROM snapshot b" for c in moving]
    known = " UNION ALL ".join(had) or f"SELECT {k}, name, taken AS had FROM taking"
    session.execute(
        f"CREATE TEMP TABLE waiting AS WITH late AS (SELECT DISTINCT {k}, row_id FROM taking), "
        f"given AS (SELECT {session.keys_of('b')}, to_json(list(b.name ORDER BY b.name)) AS names FROM ({known}) b "
        f"SEMI JOIN late l ON {session.same_keys('b', 'l')} "
        f"SEMI JOIN taking t ON t.name = b.name AND t.taken = b.had GROUP BY ALL) "
        "SELECT late.*, CAST(g.names AS VARCHAR) AS gives "
        f"FROM late LEFT JOIN given g ON {session.same_keys('late', 'g')}"
    )
    session.execute("DROP TABLE taking")


def _find_taking(session: Session, column: StoredColumn) -> None:
    """Add to `taking` (k…, row_id, name, taken) the rows that take in one *column* what another row had."""
    assert column.fed is not None
    k = session.k
    sent = f"(SELECT {k}, row_id FROM changes WHERE change <> 'removed' UNION ALL SELECT {k}, row_id FROM resent)"
    new, old = _key(column, column.fed.kind, "s"), _key(column, column.type, "b")
    session.execute(
        f"INSERT INTO taking WITH wanted AS (SELECT {session.keys_of('o')}, o.row_id, {new} AS taken FROM {sent} o "
        f"JOIN staged s ON s.rowid = o.row_id WHERE {new} <> ''), "
        f"known AS (SELECT {session.keys_of('b')}, {old} AS had FROM snapshot b) "
        f"SELECT {session.keys_of('t')}, t.row_id, '{column.name}', t.taken FROM wanted t "
        f"JOIN known b ON b.had = t.taken AND NOT ({session.same_keys('t', 'b')})"
    )


def _key(column: StoredColumn, kind: ColumnType, side: str) -> str:
    return key_of(column.name, kind, f"{side}.{column.physical}")


def release_queries(session: Session, layout: ColumnMap, *, rows: int) -> list[str]:
    """A query for at most so many *rows* each, that unsets what waiting rows give up."""
    giving = session.count("SELECT count(gives) FROM waiting")
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in layout.own)
    query = (
        f"SELECT o.seq, '{Action.CLEAR}' AS action, {session.keys_of('o')}, '{{}}' AS attributes, "
        f"w.gives AS cleared{own} FROM outbox o JOIN waiting w USING (row_id) WHERE w.gives IS NOT NULL ORDER BY o.seq"
    )
    return [f"{query} LIMIT {rows} OFFSET {done}" for done in range(0, giving, rows)]
