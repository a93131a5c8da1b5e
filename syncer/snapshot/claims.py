"""The visitors whom the rows of a snapshot claimed, beside whose they are in the store; see `store_comparison`."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from syncer.snapshot import visitors
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal

_CLAIMS = f"snapshot h JOIN wanted w ON h.rowid = w.row_id WHERE h.{visitors.COLUMN} IS NOT NULL"


def are_made(session: Session) -> bool:
    """Whether the sync claims visitors, and the snapshot has some."""
    return session.target.names_visitors and not session.target.entity.traits.happens and visitors.are_in(session)


def claimed(session: Session) -> pa.Table:
    """The visitors of the rows that are looked at, in `anonymous`, each once."""
    found = f"SELECT DISTINCT h.{visitors.COLUMN} AS anonymous FROM {_CLAIMS}"
    return session.connection.sql(found).to_arrow_table()


def compare(session: Session, holders: Iterable[pa.Table]) -> int:
    """Add to `cells` the visitors that are nobody's any more; returns how many are other people's.

    Whoever has a visitor keeps them for ever, so no run can give them back to somebody else.

    Shapes:
        holders: of the visitors that are claimed; see `KnowsVisitors.holders`.
    """
    session.execute("CREATE OR REPLACE TEMP TABLE holders (anonymous VARCHAR, cio_id VARCHAR)")
    for part in holders:
        session.connection.register("part", part)
        session.execute("INSERT INTO holders SELECT anonymous, cio_id FROM part")
        session.connection.unregister("part")
    claims = f"SELECT {session.keys_of('h')}, h.{visitors.COLUMN} AS anonymous FROM {_CLAIMS}"
    rows = f"({claims}) c JOIN stored t ON {session.same_keys('c', 't')} LEFT JOIN holders o USING (anonymous)"
    session.execute(
        f"INSERT INTO cells SELECT {session.keys_of('c')}, {literal(visitors.VISITOR)}, "
        f"CAST(to_json(c.anonymous) AS VARCHAR), NULL FROM {rows} WHERE o.cio_id IS NULL"
    )
    return session.count(f"SELECT count(*) FROM {rows} WHERE o.cio_id <> t.cio_id")
