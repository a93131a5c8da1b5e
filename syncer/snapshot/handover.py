"""Emails that change owner within one run, where they are unique: whose row waits until another one has let go of it.

A store refuses an email that somebody else has, and takes rows side by side. So the rows that only give one up go
first, and those that take one wait for the answers. Of rows that do both, perhaps in a circle, the email is unset
before anything else. An id moves by no store's rules.
"""

from __future__ import annotations

from syncer.model.types import Action
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.session import Session
from syncer.snapshot.values import as_key

#: SQL for what a batch unsets.
_UNSET = """'["email"]'"""


def find_waiting(session: Session, layout: ColumnMap) -> None:
    """Make the table `waiting` of the rows about to be sent that take what another row had when it was acknowledged.

    Shapes:
        waiting: k…, row_id, and whether another one takes what this one had as `gives`.
    """
    k = session.k
    sent = f"(SELECT {k}, row_id FROM changes WHERE change <> 'removed' UNION ALL SELECT {k}, row_id FROM resent)"
    unique = next((c for c in layout.fed if c.fed is layout.schema.unique and c.name == "email"), None)
    session.execute("DROP TABLE IF EXISTS temp.waiting")
    if unique is None or unique.fed is None or unique.was is None:
        session.execute(f"CREATE TEMP TABLE waiting AS SELECT *, FALSE AS gives FROM {sent} WHERE FALSE")
        return
    new, old = (
        as_key(kind, f"{side}.{unique.physical}", fold=True)
        for kind, side in ((unique.fed.kind, "s"), (unique.type, "b"))
    )
    session.execute(
        f"CREATE TEMP TABLE waiting AS WITH taking AS ("
        f"SELECT {session.keys_of('o')}, o.row_id, {new} AS taken FROM {sent} o JOIN staged s ON s.rowid = o.row_id "
        f"WHERE {new} <> ''), known AS (SELECT {session.keys_of('b')}, {old} AS had FROM snapshot b), "
        f"late AS (SELECT t.* FROM taking t JOIN known b ON b.had = t.taken AND NOT ({session.same_keys('t', 'b')})) "
        f"SELECT t.* EXCLUDE taken, coalesce(b.had IN (SELECT taken FROM late), FALSE) AS gives "
        f"FROM late t LEFT JOIN known b ON {session.same_keys('t', 'b')}"
    )


def release_queries(session: Session, layout: ColumnMap, *, rows: int) -> list[str]:
    """A query for at most so many *rows* each, that unsets what waiting rows give up."""
    giving = session.count("SELECT count(*) FROM waiting WHERE gives")
    own = "".join(f", CAST(NULL AS VARCHAR) AS {c.name}" for c in layout.own)
    query = (
        f"SELECT o.seq, '{Action.CLEAR}' AS action, {session.keys_of('o')}, '{{}}' AS attributes, "
        f"{_UNSET} AS cleared{own} FROM outbox o JOIN waiting w USING (row_id) WHERE w.gives ORDER BY o.seq"
    )
    return [f"{query} LIMIT {rows} OFFSET {done}" for done in range(0, giving, rows)]
