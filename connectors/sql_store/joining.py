"""People who turn out to be one: what a row names by several identifiers, as SQL over the temporary table `batch`."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.sql_store.dialect import Execute, SQLDialect
from syncer.model.types import Identity, PersonKey

_ID = PersonKey.ID


def adopt(execute: Execute, key: PersonKey, others: Sequence[str]) -> None:
    """Assign a row with a new key to the person who has one of its *others*, and none of the key's kind."""
    for other in others:
        execute(
            f"UPDATE batch AS b SET person_id = p.person_id FROM people AS p WHERE p.{other} = b.{other} "
            f"AND p.{key} IS NULL AND coalesce(p.id, b.id, '') = coalesce(b.id, p.id, '') "
            "AND b.person_id IS NULL AND b.action = 'put' "
            # Another row may have found the same person by another identifier.
            "AND NOT EXISTS (SELECT 1 FROM batch AS s WHERE s.person_id = p.person_id "
            f"AND s.{other} IS DISTINCT FROM b.{other})"
        )
    if key is not _ID:
        execute(
            f"UPDATE batch AS b SET verdict = 'rejected', reason = 'the person with this {key} has another id' "
            "FROM people AS p WHERE p.person_id = b.person_id AND p.id <> b.id"
        )


def join(execute: Execute, dialect: SQLDialect, key: PersonKey, identity: Identity, others: Sequence[str]) -> None:
    """Make one of the two people whom a row names, where each lacks what the other is known by: the older one stays.

    As Customer.io does: who stays keeps what they have, and gets what they lack.
    """
    for other in others:
        # Nothing that either is known by may be lost.
        fits = "".join(
            f" AND (o.{name} IS NULL OR o.{name} = coalesce(b.{name}, p.{name}, o.{name}))"
            for name in identity.unique
            if name not in (key, other)
        )
        if not execute(
            "UPDATE batch AS b SET absorbed_id = o.person_id FROM people AS o, people AS p "
            f"WHERE b.action = 'put' AND b.verdict IS NULL AND p.person_id = b.person_id AND p.{other} IS NULL "
            f"AND o.{other} = b.{other} AND o.{key} IS NULL AND o.person_id <> p.person_id{fits} AND NOT EXISTS "
            f"(SELECT 1 FROM batch AS s WHERE s.{other} = b.{other} AND s.seq <> b.seq AND s.action = 'put') "
            "AND NOT EXISTS (SELECT 1 FROM batch AS s WHERE s.person_id = o.person_id)"
        ):
            continue
        for name in identity.unique:
            if name not in (key, other):
                execute(
                    f"UPDATE batch AS b SET {name} = coalesce(b.{name}, p.{name}, o.{name}) FROM people AS p, "
                    f"people AS o WHERE p.person_id = b.person_id AND o.person_id = b.absorbed_id "
                    f"AND b.clears_{name} = 0"
                )
        execute(
            "UPDATE batch SET person_id = absorbed_id, absorbed_id = person_id "
            "WHERE absorbed_id IS NOT NULL AND absorbed_id < person_id"
        )
        absorb(execute, dialect, identity)
        execute("UPDATE batch SET absorbed_id = NULL WHERE absorbed_id IS NOT NULL")


def absorb(execute: Execute, dialect: SQLDialect, identity: Identity) -> None:
    """Let the person of each row that has an `absorbed_id` get what they lack of that one, who is gone then."""
    execute(
        f"UPDATE people AS x SET attributes = (SELECT {dialect.merged} FROM people AS t, "
        f"(SELECT attributes, {dialect.nothing_cleared} AS cleared FROM people AS k WHERE k.person_id = x.person_id) "
        "AS b WHERE t.person_id = m.absorbed_id) FROM batch AS m "
        "WHERE m.absorbed_id IS NOT NULL AND x.person_id = m.person_id"
    )
    execute(
        "INSERT INTO relationships (person_id, object_type, object_id, attributes) "
        "SELECT m.person_id, r.object_type, r.object_id, r.attributes FROM batch AS m "
        "JOIN relationships AS r ON r.person_id = m.absorbed_id WHERE NOT EXISTS "
        "(SELECT 1 FROM relationships AS k WHERE k.person_id = m.person_id "
        "AND k.object_type = r.object_type AND k.object_id = r.object_id)"
    )
    execute(
        "UPDATE devices AS d SET person_id = m.person_id FROM batch AS m "
        "WHERE m.absorbed_id IS NOT NULL AND d.person_id = m.absorbed_id"
    )
    execute(
        "UPDATE events AS e SET person_id = m.person_id FROM batch AS m "
        "WHERE m.absorbed_id IS NOT NULL AND e.person_id = m.absorbed_id"
    )
    execute(
        "UPDATE visitors AS v SET person_id = m.person_id FROM batch AS m "
        "WHERE m.absorbed_id IS NOT NULL AND v.person_id = m.absorbed_id"
    )
    for name in identity.names:
        record_moves(execute, dialect, name, "p.person_id = b.absorbed_id")
    execute("DELETE FROM people WHERE person_id IN (SELECT absorbed_id FROM batch WHERE absorbed_id IS NOT NULL)")


def record_moves(execute: Execute, dialect: SQLDialect, name: str, which: str) -> None:
    """Record the identifiers that the people `p` are about to lose of whom, with a row `b`, *which* is true."""
    execute(
        "INSERT INTO identifier_moves (seq, kind, value, moved_at) "
        "SELECT (SELECT coalesce(max(seq), 0) FROM identifier_moves) + row_number() OVER (ORDER BY b.seq), "
        f"'{name}', p.{name}, {dialect.now} FROM batch AS b, people AS p WHERE {which} AND p.{name} IS NOT NULL"
    )
