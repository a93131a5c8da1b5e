"""Rows that the store does not have yet, loaded by COPY straight into their table: half of the work of an INSERT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors

from connectors.sql_store import entities
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.people import NAMED
from syncer.model.types import Action, PersonKey, Target

#: How many of a batch's rows to look up before all count as new.
SAMPLED_ROWS = 100

_KNOWN_EVENTS = """
    SELECT FROM unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS s (name, hash)
    JOIN events AS e ON e.name = s.name COLLATE "C" AND substr(e.event_id, 11) = s.hash COLLATE "C" LIMIT 1"""

_GIVEN = "unnest(CAST(%s AS text[])) WITH ORDINALITY AS given (name, place)"


@dataclass(frozen=True, slots=True)
class Loader:
    """What loads with; each load is part of the caller's transaction, and leaves nothing if it cannot be."""

    connection: psycopg.Connection
    dialect: SQLDialect
    execute: Execute
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
        """The numbers of these people, made where they are missing; None where one has no number, or several."""
        places = pa.array(range(len(names)), pa.int64())
        self.connection.execute(self.dialect.by_index)
        named, numbers = self._known(key, names)
        if create and len(unknown := names.filter(pc.is_null(pc.index_in(places, named)))):
            made = f"INSERT INTO people ({key}, attributes) SELECT name, '{{}}' FROM {_GIVEN}"
            self.connection.execute(made, [_array(unknown)])
            named, numbers = self._known(key, names)
        found = numbers.take(pc.index_in(places, named))
        return found if len(named) == len(names) and not found.null_count else None

    def _known(self, key: PersonKey, names: pa.Array) -> list[pa.Array]:
        """The places, from 0 on, of the names that people have, and the numbers of these."""
        given = f'SELECT name COLLATE "C" AS {key}, place - 1 AS place FROM {_GIVEN}'
        known = f"SELECT b.place, p.person_id AS person FROM ({given}) AS b JOIN people AS p ON {NAMED[key]}"
        return self.numbers_of(known, "place", "person", values=[_array(names)])


def _array(names: pa.Array) -> str:
    """Names as the text of an array, as the server reads it."""
    for special in ("\\", '"'):
        names = pc.replace_substring(names, special, f"\\{special}")
    quoted = pc.binary_join_element_wise('"', names, '"', "")
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(names)], quoted), ",")
    return f"{{{joined[0].as_py()}}}"
