"""Visitors: each belongs to the first person who claims them, for ever, with the events that are nobody's so far.

A row of people may name a visitor, in the column `anonymous` of the batch. What is claimed already is looked for by the
visitor, and so are the events: neither takes longer because a store is large.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.people import TAKEN
from connectors.sql_store.staging import Answers, pairs
from connectors.sql_store.upgrades import WITH_VISITORS
from syncer.model.importing import importing
from syncer.model.types import Action, PersonKey, Target

#: What people are known by, as text, for each kind of identifier.
_KEY = {key: f"p.{key}" for key in PersonKey} | {PersonKey.CIO_ID: "CAST(p.person_id AS text)"}

#: The claims of visitors who belong to somebody who is known otherwise than the row says.
_CONTESTED = (
    "SELECT c.one, c.other FROM {pairs} JOIN visitors AS v ON v.anonymous_id = c.one "
    "JOIN people AS p ON p.person_id = v.person_id WHERE {key} IS DISTINCT FROM c.other"
)

#: The events of a visitor whom nobody has claimed are nobody's. To ask that of each event too would let PostgreSQL
#: look through all that are nobody's, since it takes them for few.
_CLAIM = (
    "UPDATE events AS e SET person_id = CAST(c.other AS bigint) FROM {pairs} WHERE e.anonymous_id = c.one "
    "AND NOT EXISTS (SELECT 1 FROM visitors AS v WHERE v.anonymous_id = c.one)",
    "INSERT INTO visitors (anonymous_id, person_id) SELECT c.one, CAST(c.other AS bigint) FROM {pairs} WHERE true "
    "ON CONFLICT DO NOTHING",
)


class VisitorTables(StoreDatabase):
    """A store that knows whose a visitor is."""

    def holders(self, visitors: pa.Table) -> Iterator[pa.Table]:
        """See `KnowsVisitors.holders`."""
        with importing:
            from connectors.sql_store import reading

        # A store from before there were visitors has none.
        if not self.is_new and self._format >= WITH_VISITORS:
            yield from reading.in_pages(
                lambda page: reading.holders(self._fetch, self.dialect, page["anonymous"].to_pylist()), visitors
            )

    def _write_claims(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        """Write people, and let those who are accepted have the visitors of `anonymous`; within a transaction."""
        write = partial(self._write, target, create=create)
        claims = rows.filter(pc.and_(pc.equal(rows["action"], str(Action.PUT)), pc.is_valid(rows["anonymous"])))
        # Most batches claim what is free, or theirs: they need no look at each row.
        answers = write(rows if self._is_contested(target.person, claims) else rows.drop_columns("anonymous"))
        self._claim(claims, answers)
        return answers

    def _is_contested(self, key: PersonKey, claims: pa.Table) -> bool:
        """Whether a visitor may be another's, or two rows claim one."""
        visitors = claims["anonymous"]
        if len(visitors.unique()) < len(visitors):
            return True
        return bool(self._contested(key, claims, " LIMIT 1"))

    def _would_be_taken(self, target: Target, rows: pa.Table) -> dict[int, str | None]:
        """By `seq`, why rows would be rejected whose visitor is somebody else's."""
        if target.entity.traits.happens or "anonymous" not in rows.column_names or self._format < WITH_VISITORS:
            return {}
        claims = rows.filter(pc.is_valid(rows["anonymous"]))
        found = {*self._contested(target.person, claims)}
        columns = (claims[name].to_pylist() for name in ("seq", "anonymous", str(target.person)) if found)
        return {seq: TAKEN for seq, *pair in zip(*columns, strict=True) if (pair[0], str(pair[1])) in found}

    def _contested(self, key: PersonKey, claims: pa.Table, limit: str = "") -> list[tuple[Any, ...]]:
        """The visitor and the key of claims that may be contested."""
        query = _CONTESTED.format(pairs=self.dialect.each_pair, key=_KEY[key]) + limit
        kind = "cio_id" if key is PersonKey.CIO_ID else str(key)
        return self._fetch(query, values=pairs(claims["anonymous"], claims[kind].cast(pa.string())))

    def _claim(self, claims: pa.Table, answers: Answers) -> None:
        """Let people have the visitors of the rows that were accepted, and their events."""
        taken = claims.filter(pc.invert(pc.is_in(claims["seq"], pa.array(list(answers.exceptions), pa.int64()))))
        if not len(taken):
            return
        people = taken["cio_id"] if answers.people is None else _people_of(taken, answers.people)
        values = pairs(taken["anonymous"], people)
        if self.dialect.by_index:
            self._execute(self.dialect.by_index)
        for statement in _CLAIM:
            self._execute(statement.format(pairs=self.dialect.each_pair), values=values)

    @abstractmethod
    def _write(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        """Write rows; within a transaction."""


def _people_of(rows: pa.Table, people: pa.Table) -> pa.ChunkedArray:
    """The number of each row's person."""
    return people["person"].take(pc.index_in(rows["seq"], people["seq"]))
