"""Merges: two people who are one, as SQL over a batch.

A row of the temporary `batch` has whom to keep under an identifier, as rows of people have, and who goes: the
identifier in `key`, or the number in `person`. What a merged person was known by stays in the table `merged_people`,
with the person who was kept: merges may come in any order, and again.
"""

from __future__ import annotations

from connectors.sql_store import joining
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.sql_store.people import NAMED
from syncer.model.types import Identity, PersonKey

#: What `action` says of a row: whose two people are yet two, become one in this round, or are one.
_WAITS, _MERGES, _DONE = "merge", "merging", "merged"
#: What `reason` has meanwhile of a row that another one must go before.
_LATER = "later"
_WAITING = f"b.action = '{_WAITS}' AND b.verdict IS NULL"

#: How a row names the person `o` who goes, and the condition for what they were known by.
_GOES = {key: f"o.{key} = b.key" for key in PersonKey} | {PersonKey.CIO_ID: "o.person_id = b.person"}
_WENT = {key: f"m.kind = '{key}' AND m.value = {{}}" for key in PersonKey} | {
    PersonKey.CIO_ID: "m.kind = 'cio_id' AND m.value = CAST({} AS text)"
}

#: The rows of which whom they keep is, by way of others, to become part of who goes.
_IN_A_RING = (
    f"WITH RECURSIVE reached (seq, goes) AS (SELECT b.seq, b.absorbed_id FROM batch AS b WHERE {_WAITING} UNION "
    f"SELECT r.seq, b.absorbed_id FROM reached AS r JOIN batch AS b ON b.person_id = r.goes AND {_WAITING}) "
    "SELECT b.seq FROM batch AS b JOIN reached AS r ON r.seq = b.seq AND r.goes = b.person_id"
)

NOBODY_KEPT = "the person to keep does not exist"
NOBODY_MERGED = "the person to merge does not exist"
KEPT_BY_ANOTHER = "the person to merge has been merged into somebody else"
RING = "these merges go round in a ring: nobody would be kept"


def apply(execute: Execute, dialect: SQLDialect, keep: PersonKey, goes: PersonKey, identity: Identity) -> None:
    """Merge the pairs of the batch, each of whose people may be in other pairs too.

    In each round, those become one of whom nobody else is to be merged first. Where none is left but pairs in a ring,
    and what waits for them, the ring is rejected, and the others go on.
    """
    while execute(f"UPDATE batch AS b SET person_id = NULL, absorbed_id = NULL WHERE {_WAITING}") > 0:
        _find(execute, keep, goes)
        _finish(execute, goes)
        if _choose(execute):
            _merge(execute, dialect, identity)
        else:
            execute(f"UPDATE batch AS b SET verdict = 'rejected', reason = '{RING}' WHERE b.seq IN ({_IN_A_RING})")


def _find(execute: Execute, keep: PersonKey, goes: PersonKey) -> None:
    """Find both people of each row; whom to keep may have been merged into somebody before."""
    execute(f"UPDATE batch AS b SET person_id = p.person_id FROM people AS p WHERE {NAMED[keep]} AND {_WAITING}")
    execute(
        "UPDATE batch AS b SET person_id = m.person_id FROM merged_people AS m "
        f"WHERE {_WENT[keep].format(f'b.{keep}')} AND b.person_id IS NULL AND {_WAITING}"
    )
    execute(f"UPDATE batch AS b SET absorbed_id = o.person_id FROM people AS o WHERE {_GOES[goes]} AND {_WAITING}")


def _finish(execute: Execute, goes: PersonKey) -> None:
    """Finish the rows whose people are one by now, and those of which one is nobody."""
    name = "b.person" if goes is PersonKey.CIO_ID else "b.key"
    into = f"SELECT m.person_id FROM merged_people AS m WHERE {_WENT[goes].format(name)}"
    execute(
        f"UPDATE batch AS b SET action = '{_DONE}' WHERE b.person_id = coalesce(b.absorbed_id, ({into})) AND {_WAITING}"
    )
    execute(
        "UPDATE batch AS b SET verdict = 'rejected', reason = "
        f"CASE WHEN b.person_id IS NULL THEN '{NOBODY_KEPT}' "
        f"WHEN EXISTS ({into}) THEN '{KEPT_BY_ANOTHER}' ELSE '{NOBODY_MERGED}' END "
        f"WHERE (b.person_id IS NULL OR b.absorbed_id IS NULL) AND {_WAITING}"
    )


def _choose(execute: Execute) -> int:
    """Choose the rows whose people can become one now; returns how many, 0 if all that wait go round in a ring."""
    becomes_more = _waits_for("person_id", "absorbed_id", "<>")
    comes_later = " OR ".join(_waits_for(name, name, "<") for name in ("person_id", "absorbed_id"))
    # In two statements: SQLite would look at rows that the same one has changed.
    execute(f"UPDATE batch AS b SET reason = '{_LATER}' WHERE ({becomes_more} OR {comes_later}) AND {_WAITING}")
    chosen = execute(f"UPDATE batch AS b SET action = '{_MERGES}' WHERE b.reason IS NULL AND {_WAITING}")
    execute("UPDATE batch SET reason = NULL WHERE verdict IS NULL")
    if not chosen:
        # Of pairs that wait for one another by their order alone, any may be first.
        first = f"SELECT min(b.seq) FROM batch AS b WHERE NOT {becomes_more} AND {_WAITING}"
        chosen = execute(f"UPDATE batch SET action = '{_MERGES}' WHERE seq = ({first})")
    if chosen:
        execute(f"UPDATE batch SET absorbed_id = NULL WHERE action <> '{_MERGES}'")
    return chosen


def _waits_for(theirs: str, mine: str, which: str) -> str:
    """SQL for whether a row waits for another one, by a person whom both name."""
    return (
        f"EXISTS (SELECT 1 FROM batch AS o WHERE o.{theirs} = b.{mine} AND o.seq {which} b.seq "
        f"AND {_WAITING.replace('b.', 'o.')})"
    )


def _merge(execute: Execute, dialect: SQLDialect, identity: Identity) -> None:
    """Make one of the two people of each chosen row: who stays keeps what they have, and gets what they lack."""
    names = identity.names
    execute(
        f"UPDATE batch AS b SET {', '.join(f'{name} = coalesce(p.{name}, o.{name})' for name in names)} "
        "FROM people AS p, people AS o WHERE p.person_id = b.person_id AND o.person_id = b.absorbed_id"
    )
    known = {name: f"o.{name}" for name in names} | {PersonKey.CIO_ID: "CAST(o.person_id AS text)"}
    for kind, value in known.items():
        execute(
            f"INSERT INTO merged_people (kind, value, person_id, merged_at) SELECT '{kind}', {value}, b.person_id, "
            f"{dialect.now} FROM batch AS b JOIN people AS o ON o.person_id = b.absorbed_id WHERE {value} IS NOT NULL "
            "ON CONFLICT (kind, value) DO UPDATE SET person_id = excluded.person_id, merged_at = excluded.merged_at"
        )
    execute("UPDATE merged_people AS m SET person_id = b.person_id FROM batch AS b WHERE m.person_id = b.absorbed_id")
    joining.absorb(execute, dialect, identity)
    execute(
        f"UPDATE people AS t SET {', '.join(f'{name} = b.{name}' for name in names)}, updated_at = {dialect.now} "
        "FROM batch AS b WHERE t.person_id = b.person_id AND b.absorbed_id IS NOT NULL"
    )
    execute(f"UPDATE batch SET action = '{_DONE}', absorbed_id = NULL WHERE action = '{_MERGES}'")
