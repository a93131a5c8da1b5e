"""What runs leave in a store beside what they sent: who wrote last, and which identifiers people have lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from connectors.sql_store import identifiers
from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.upgrades import WITH_FENCES, WITH_MOVES
from syncer.model.protocols import IDENTIFIERS, MOVED, Moves

#: The fence counts the runs that wrote.
FENCE = (
    "INSERT INTO sync_fences (ledger, sync, fence, run_id) VALUES (:ledger, :sync, 1, :run_id) "
    "ON CONFLICT (ledger, sync) DO UPDATE SET fence = sync_fences.fence + 1, run_id = excluded.run_id "
    "WHERE sync_fences.run_id <> excluded.run_id"
)


class Traces(StoreDatabase):
    """See `Fenced` and `NumbersPeople`."""

    #: Of the run that writes, as FENCE has its values; empty where none does.
    _fence: dict[str, str]

    def fences(self, sync: str) -> dict[str, str]:
        """See `Fenced.fences`."""
        if self._format < WITH_FENCES:
            return {}
        return dict(self._fetch("SELECT ledger, run_id FROM sync_fences WHERE sync = :sync", sync=sync))

    def fence(self, *, ledger: str, sync: str, run_id: str) -> None:
        """See `Fenced.fence`."""
        self._fence = {"ledger": ledger, "sync": sync, "run_id": run_id}

    def forget_fence(self, *, ledger: str, sync: str) -> None:
        """See `Fenced.forget_fence`."""
        with self._transaction():
            self._execute("DELETE FROM sync_fences WHERE ledger = :ledger AND sync = :sync", ledger=ledger, sync=sync)

    def moves_since(self, seq: int) -> Moves:
        """See `NumbersPeople.moves_since`."""
        oldest: Any = None
        newest: Any = None
        if self._format >= WITH_MOVES:
            ((oldest, newest),) = self._fetch("SELECT min(seq), max(seq) FROM identifier_moves")
        if newest is None or (newest == seq and seq):
            return Moves(
                identifiers=IDENTIFIERS.empty_table(), newest=newest or 0, is_incomplete=seq > 0 and not newest
            )
        lost = self._columns(identifiers.MOVES.format(int(seq)), ("kind", "value"))
        moved = pa.table({"entity": [MOVED] * len(lost["kind"])} | lost, schema=IDENTIFIERS)
        return Moves(identifiers=moved, newest=newest, is_incomplete=not oldest - 1 <= seq <= newest)

    def forget_moves(self, before: datetime) -> None:
        """See `NumbersPeople.forget_moves`; the newest keeps its number, for the next ones to follow."""
        limit = before.isoformat(timespec="milliseconds")
        old = f"SELECT 1 FROM identifier_moves {identifiers.OLD} LIMIT 1"
        if self._format >= WITH_MOVES and self._fetch(old, before=limit):
            with self._transaction():
                for statement in identifiers.FORGET:
                    self._execute(statement, before=limit)

    def _columns(self, query: str, names: Sequence[str], **values: str) -> dict[str, list[Any]]:
        """The columns of a query's result, of which each comes as one value."""
        aggregates = ", ".join(f"CAST({self.dialect.as_array}({name}) AS text)" for name in names)
        ((*texts,),) = self._fetch(f"SELECT {aggregates} FROM ({query}) AS r", **values)
        return {name: json.loads(text or "[]") for name, text in zip(names, texts, strict=True)}
