"""Who is who: what people are known by now, and what they were known by, as SQL over keys in the temporary `batch`."""

from __future__ import annotations

from collections.abc import Collection

from connectors.sql_store.people import NAMED
from syncer.model.types import PersonKey, Target

#: A query for the identifiers that people lost after the number that is formatted in.
MOVES = "SELECT kind, value FROM identifier_moves WHERE seq > {} AND value <> ''"

#: Which moves are older than `:before`, and still have their value.
OLD = "WHERE moved_at < :before AND value <> ''"

#: Statements that forget those.
FORGET = (
    f"DELETE FROM identifier_moves {OLD} AND seq < (SELECT max(seq) FROM identifier_moves)",
    f"UPDATE identifier_moves SET value = '' {OLD}",
)


def query(target: Target, columns: Collection[str]) -> str:
    """A query for every name of the entities whose keys are in the batch, with these *columns*: kind, value."""
    if not target.entity.traits.names_person:
        return (
            "SELECT o.object_type, o.object_id FROM batch AS b JOIN objects AS o "
            "ON o.object_type = :object_type AND o.object_id = b.object_id"
        )
    people = f"FROM batch AS b JOIN people AS p ON {NAMED[target.person]}"
    if "person" in columns:
        by_number = "SELECT p.* FROM batch AS b JOIN people AS p ON p.person_id = b.person"
        people = f"FROM (SELECT p.* {people} WHERE b.person IS NULL UNION ALL {by_number}) AS p"
    return (
        f"SELECT 'id', p.id {people} WHERE p.id IS NOT NULL "
        f"UNION ALL SELECT 'email', p.email {people} WHERE p.email IS NOT NULL "
        f"UNION ALL SELECT 'cio_id', CAST(p.person_id AS text) {people}"
    )


def whereabouts_query(key: PersonKey) -> str:
    """A query for what `NumbersPeople.whereabouts` finds of each row, in the order of `seq`."""
    return (
        f"SELECT p.person_id AS named, q.person_id IS NOT NULL AS is_there, q.{key} AS known_as FROM batch AS b "
        f"LEFT JOIN people AS p ON {NAMED[key]} LEFT JOIN people AS q ON q.person_id = b.person ORDER BY b.seq"
    )
