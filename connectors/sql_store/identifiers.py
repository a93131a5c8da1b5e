"""Who is who: what people are known by now, and what they were known by, as SQL over keys in the temporary `batch`."""

from __future__ import annotations

from collections.abc import Collection

from connectors.sql_store.people import NAMED, listed
from syncer.model.types import PersonKey, Target

#: A query for the identifiers that people lost after the number that is formatted in.
MOVES = "SELECT kind, value FROM identifier_moves WHERE seq > {} AND value <> ''"

#: A query for the rows of the batch whose `person` the *key* does not name now: seq, and the columns of WHEREABOUTS.
#: By their numbers, people are found one after the other.
MOVED_ON = (
    "SELECT b.seq, p.person_id AS named, b.is_there, b.known_as FROM (SELECT b.seq, b.{key}, "
    "q.person_id IS NOT NULL AS is_there, q.{key} AS known_as FROM batch AS b LEFT JOIN people AS q "
    "ON q.person_id = b.person WHERE q.{key} IS DISTINCT FROM b.{key}) AS b LEFT JOIN people AS p ON {named}"
)

#: Which moves are older than `:before`, and still have their value.
OLD = "WHERE moved_at < :before AND value <> ''"

#: Statements that forget those.
FORGET = (
    f"DELETE FROM identifier_moves {OLD} AND seq < (SELECT max(seq) FROM identifier_moves)",
    f"UPDATE identifier_moves SET value = '' {OLD}",
)


#: Why a row is not put: for its person, and for its object.
_MISSING = ("the person does not exist yet", "the object does not exist yet")
_ABSENT = ("there is no such person, and `create` is false", "there is no such object, and `create` is false")


def query(target: Target, columns: Collection[str], names: Collection[str]) -> str:
    """A query for who is in the batch, with these *columns*: *names* and cio_id of people, object_id of objects."""
    if not target.entity.traits.names_person:
        return (
            "SELECT o.object_id FROM batch AS b JOIN objects AS o "
            "ON o.object_type = :object_type AND o.object_id = b.object_id"
        )
    found = f"SELECT {listed('p', names)}, p.person_id AS cio_id FROM batch AS b JOIN people AS p ON"
    if "person" not in columns:
        return f"{found} {NAMED[target.person]}"
    return f"{found} {NAMED[target.person]} WHERE b.person IS NULL UNION ALL {found} p.person_id = b.person"


def refused_query(target: Target, *, create: bool) -> str:
    """A query for the rows of the batch that would not be put: seq, reason; empty if all would be."""
    if target.action is not None:
        return ""
    links, key = _waits(target), target.person_key
    nobody, nothing = _MISSING if create or target.event else _ABSENT
    parts = []
    if key is not None and (links or not create or key is PersonKey.CIO_ID):
        is_number = key is PersonKey.CIO_ID and (create or target.event is not None)
        reason = "no person has this cio_id" if is_number and not links else nobody
        is_visitor = "b.anonymous IS NULL AND " if target.names_visitors and target.event else ""
        parts.append(f"WHEN {is_visitor}NOT EXISTS (SELECT 1 FROM people AS p WHERE {NAMED[key]}) THEN '{reason}'")
    if target.object_type is not None and (links or not create):
        stored = "o.object_type = :object_type AND o.object_id = b.object_id"
        parts.append(f"WHEN NOT EXISTS (SELECT 1 FROM objects AS o WHERE {stored}) THEN '{nothing}'")
    if not parts:
        return ""
    reasons = f"SELECT b.seq, CASE {' '.join(parts)} END AS reason FROM batch AS b"
    return f"SELECT seq, reason FROM ({reasons}) AS f WHERE reason IS NOT NULL"


def _waits(target: Target) -> bool:
    """Whether a row waits for the ends that it links, and makes none of them."""
    return target.entity.traits.links and target.entity.traits.names_object


def refused_by_nothing(target: Target, *, create: bool) -> str:
    """Why a store without people and objects would not put a row of which `refused_query` says something."""
    may_make = create or target.event is not None
    if target.person_key is PersonKey.CIO_ID and may_make and not _waits(target):
        return "no person has this cio_id"
    return (_MISSING if may_make else _ABSENT)[target.person_key is None]
