"""Removals: where the deletion of a person or object is seen by every sync of that store.

Every entry of a store has a number, its `seq`; new numbers are greater than all before, and who has read up to a
number has seen every entry below it. An entry is open from before its deletion is sent until after the store has
answered. It is numbered again when it is closed, so that a sync that looked meanwhile, and may have delivered before
the deletion took effect, looks again.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from syncer.model.protocols import IDENTIFIERS, text_table
from syncer.state.database import StateDatabase
from syncer.state.schema import removals

_KEY = ("store_id", "sync", *IDENTIFIERS.names)
_COLUMNS = [*_KEY, "seq", "open"]


class Removals:
    """The removals in a state database."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def announce(self, store_id: str, sync: str, identifiers: pa.Table) -> None:
        """Record, durably and before it is sent, that *sync* deletes these; announcing them again renews them.

        Shapes:
            identifiers: IDENTIFIERS; may be empty, and hold a row twice.
        """
        if not identifiers.num_rows:
            return
        distinct = identifiers.select(IDENTIFIERS.names).group_by(IDENTIFIERS.names).aggregate([])
        insert = self._database.insert(removals)
        renew = {"seq": insert.excluded.seq, "open": sa.true()}
        renewed = insert.on_conflict_do_update(index_elements=_KEY, set_=renew)
        with self._database.writing() as connection:
            newest = _lock(connection, store_id)
            if connection.dialect.name == "postgresql":
                # A statement for each row would cost the client seven times as much.
                connection.execute(renewed.from_select(_COLUMNS, _numbered(store_id, sync, distinct, newest)))
            else:
                same = {"store_id": store_id, "sync": sync, "open": True}
                rows = enumerate(distinct.to_pylist(), start=newest + 1)
                connection.execute(renewed, [row | same | {"seq": seq} for seq, row in rows])

    def close_open(self, store_id: str, sync: str) -> None:
        """Record that every deletion that *sync* announced has been answered, or will be announced again."""
        is_open = (removals.c.store_id == store_id) & (removals.c.sync == sync) & removals.c.open
        numbered = sa.select(removals.c.seq, sa.func.row_number().over(order_by=removals.c.seq).label("n"))
        with self._database.writing() as connection:
            newest = _lock(connection, store_id)
            left_open = numbered.where(is_open).subquery()
            connection.execute(
                removals.update()
                .where(removals.c.store_id == store_id, removals.c.seq == left_open.c.seq)
                .values(open=False, seq=newest + left_open.c.n)
            )

    def since(self, store_id: str, seq: int, *, except_sync: str) -> tuple[pa.Table, int]:
        """What other syncs removed from a store after *seq*, and what they may be removing now.

        Shapes:
            returns: IDENTIFIERS, no row twice, in any order; and the newest `seq` there is, to ask from next time
                (0 where there is none).
        """
        others = sa.select(*[removals.c[name] for name in IDENTIFIERS.names]).where(
            removals.c.store_id == store_id, removals.c.sync != except_sync
        )
        query = sa.union(others.where(removals.c.seq > seq), others.where(removals.c.open))
        with self._database.reading() as connection:
            found = connection.execute(query).all()
            newest = _newest(connection, store_id)
        return text_table(IDENTIFIERS.names, found), newest


def _numbered(store_id: str, sync: str, identifiers: pa.Table, newest: int) -> sa.Select[Any]:
    arrays = [sa.cast(identifiers[name].to_pylist(), sa.ARRAY(sa.Text)) for name in IDENTIFIERS.names]
    new = sa.func.unnest(*arrays).table_valued(*IDENTIFIERS.names, with_ordinality="n").render_derived()
    same = (sa.literal(store_id), sa.literal(sync))
    return sa.select(*same, *[new.c[name] for name in IDENTIFIERS.names], newest + new.c.n, sa.true())


def _lock(connection: sa.Connection, store_id: str) -> int:
    """Let no other transaction number entries until this one has ended; gives the newest number."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {removals.name} IN SHARE ROW EXCLUSIVE MODE")
    return _newest(connection, store_id)


def _newest(connection: sa.Connection, store_id: str) -> int:
    return (
        connection.execute(sa.select(sa.func.max(removals.c.seq)).where(removals.c.store_id == store_id)).scalar_one()
        or 0
    )
