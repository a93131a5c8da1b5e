"""Rows that the store does not have yet, loaded by COPY straight into their table: half of the work of an INSERT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors

from connectors.sql_store import entities, events
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.people import NAMED
from syncer.model.types import Action, PersonKey, Target

#: How many of a batch's rows to look up before all count as new.
SAMPLED_ROWS = 100

_KNOWN_EVENTS = """
    SELECT FROM unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS s (name, hash)
    JOIN events AS e ON e.name = s.name COLLATE "C" AND substr(e.event_id, 11) = s.hash COLLATE "C" LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Loader:
    """What loads with; each load is part of the caller's transaction, and leaves nothing if it cannot be."""

    connection: psycopg.Connection
    dialect: SQLDialect
    execute: Execute
    #: Fills the temporary table `batch`.
    stage: Callable[[pa.Table], None]
    copy: Callable[[str, pa.Table], None]
    #: The columns of a query, all numbers.
    numbers_of: Callable[..., list[pa.Array]]

    def load_collection(self, collection: str, rows: pa.Table) -> bool:
        """Load the rows as new ones of a collection; False, and nothing is stored, if they are not."""
        known = "SELECT FROM collection_rows WHERE collection = %s AND key = ANY(%s) LIMIT 1"
        sample = [collection, rows["key"][:SAMPLED_ROWS].to_pylist()]
        only_puts = pc.all(pc.equal(rows["action"], str(Action.PUT))).as_py()
        if not only_puts or self.connection.execute(known, sample).rowcount:
            return False
        given = {"collection": pa.repeat(collection, len(rows)), "key": rows["key"], "data": rows["attributes"]}
        try:
            with self.connection.transaction():
                entities.touch_collection(self.execute, self.dialect, collection)
                self.copy("collection_rows", pa.table(given))
        except errors.UniqueViolation:
            return False
        return True

    def load_events(self, target: Target, rows: pa.Table, *, create: bool) -> bool:
        """Load the rows as new events of their people; False, and nothing is stored, if one is there or has nobody."""
        key, kind = target.person, target.events.kind
        sample = [rows[name][:SAMPLED_ROWS] for name in ("name", "event_id")]
        hashes = pc.utf8_slice_codeunits(sample[1], 10)
        if (
            key is PersonKey.CIO_ID
            or rows[str(key)].null_count
            or self.connection.execute(_KNOWN_EVENTS, [sample[0].to_pylist(), hashes.to_pylist()]).rowcount
        ):
            return False
        people = rows[str(key)].combine_chunks().dictionary_encode()
        try:
            with self.connection.transaction():
                if (numbers := self._numbers(key, people.dictionary, create=create)) is None:
                    raise psycopg.Rollback
                given = rows.select(["event_id", "name", "occurred_at"])
                given = given.append_column("person_id", numbers.take(people.indices))
                given = given.append_column("kind", pa.repeat(str(kind), len(rows)))
                self.copy("events", given.append_column("data", rows["attributes"]))
                return True
        except errors.UniqueViolation:
            pass
        return False

    def _numbers(self, key: PersonKey, names: pa.Array, *, create: bool) -> pa.Array | None:
        """The numbers of the people of these names, made where they are missing; None where they may not be made."""
        places = pa.array(range(len(names)), pa.int64())
        self.stage(pa.table({"seq": places, str(key): names}))
        self.connection.execute(self.dialect.by_index)
        if create:
            events.make_people(self.execute, key)
        known = f"SELECT b.seq, p.person_id AS person FROM batch AS b JOIN people AS p ON {NAMED[key]}"
        seqs, numbers = self.numbers_of(known, "seq", "person")
        return numbers.take(pc.index_in(places, seqs)) if len(seqs) == len(names) else None
