"""What runs leave in a store beside what they sent: which identifiers people have lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from connectors.sql_store import identifiers
from connectors.sql_store.fences import Fences
from connectors.sql_store.upgrades import WITH_MOVES
from syncer.model.protocols import IDENTIFIERS, MOVED, Moves


class Traces(Fences):
    """See `NumbersPeople`."""

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
