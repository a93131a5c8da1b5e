"""People: whom a row is about, and what the store's identity allows, as SQL over a batch.

The rows of a batch are in the temporary table `batch`. `id` and `email` have what the row gives, the key among them,
and later what the person will have; `person` is the number of whom a removal is to reach, where it is known;
`person_id` is the person of the row, and `absorbed_id` one who becomes the same; a row with a verdict is finished.
"""

from __future__ import annotations

from collections.abc import Collection

from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreRefusesError
from syncer.model.types import Identity, ListAction, PersonKey, Target

#: The columns that no two people share.
UNIQUE = {Identity.ID: ("id",), Identity.EMAIL: ("email",), Identity.ID_OR_EMAIL: ("id", "email")}

#: How a row `b` of the batch names the person `p`.
NAMED = {PersonKey.ID: "p.id = b.id", PersonKey.EMAIL: "p.email = b.email", PersonKey.CIO_ID: "p.person_id = b.cio_id"}

#: The condition to unset an identifier, so that everybody keeps a unique one.
_SPARE = {
    (Identity.ID, "id"): "false",
    (Identity.ID, "email"): "true",
    (Identity.EMAIL, "id"): "true",
    (Identity.EMAIL, "email"): "false",
    (Identity.ID_OR_EMAIL, "id"): "coalesce(b.email, CASE WHEN b.clears_email = 0 THEN p.email END) IS NOT NULL",
    (Identity.ID_OR_EMAIL, "email"): "coalesce(b.id, p.id) IS NOT NULL",
}


#: Why a row is rejected whose number is nobody's.
NO_CIO_ID = "no person has this cio_id"


def given(key: PersonKey, columns: Collection[str]) -> list[str]:
    """The identifiers, other than the key, that rows with these columns give to people or take away."""
    return [name for name in ("id", "email") if name != key and {name, f"clears_{name}"} & set(columns)]


def contested(key: PersonKey, identity: Identity, columns: Collection[str]) -> list[str]:
    """Those of them that no two people share."""
    return [name for name in given(key, columns) if name in UNIQUE[identity]]


def apply(
    execute: Execute, dialect: SQLDialect, key: PersonKey, identity: Identity, columns: Collection[str], *, create: bool
) -> None:
    """Bring the people in line with the batch; *columns* are those that the batch has."""
    others = given(key, columns)
    disputed = contested(key, identity, columns)
    # First, so that the identifiers of deleted persons are free for others.
    delete(execute, key, columns)
    find(execute, key, columns)
    if identity is Identity.ID_OR_EMAIL and disputed:
        _adopt(execute, key)
        _join(execute, dialect, key)
    if key is PersonKey.CIO_ID or not create:
        reject_missing(execute, NO_CIO_ID, create=create)
    if others:
        _settle_identifiers(execute, identity)
    is_open = True
    while is_open:
        while disputed and _reject_disputed(execute, disputed) > 0:
            pass
        # Who is rejected keeps their identifiers.
        is_open = "anonymous" in columns and _reject_taken(execute) > 0
    for name in disputed:
        losing = f"b.action <> 'delete' AND b.verdict IS NULL AND p.{name} IS DISTINCT FROM b.{name}"
        _record_moves(execute, dialect, name, f"p.person_id = b.person_id AND {losing}")
        # A value can go to another person only after the first has lost it.
        execute(
            f"UPDATE people AS t SET {name} = NULL FROM batch AS b WHERE b.person_id = t.person_id "
            f"AND b.verdict IS NULL AND t.{name} IS NOT NULL AND t.{name} IS DISTINCT FROM b.{name}"
        )
    identifiers = "id = b.id, email = b.email, " if others else ""
    execute(
        f"UPDATE people AS t SET {identifiers}attributes = {dialect.merged}, updated_at = {dialect.now} "
        "FROM batch AS b WHERE b.person_id = t.person_id AND b.verdict IS NULL"
    )
    execute(
        "INSERT INTO people (id, email, attributes) SELECT b.id, b.email, b.attributes FROM batch AS b "
        "WHERE b.action = 'put' AND b.person_id IS NULL AND b.verdict IS NULL"
    )


def numbers_query(key: PersonKey) -> str:
    """A query for the person of each row that was accepted: seq, person."""
    return (
        "SELECT b.seq, coalesce(b.person_id, p.person_id) AS person FROM batch AS b "
        f"LEFT JOIN people AS p ON {NAMED[key]} AND b.person_id IS NULL "
        "WHERE b.verdict IS NULL AND b.action = 'put'"
    )


def find(execute: Execute, key: PersonKey, columns: Collection[str]) -> None:
    """Find the person of each row."""
    unnumbered = " AND b.person IS NULL" if "person" in columns else ""
    execute(f"UPDATE batch AS b SET person_id = p.person_id FROM people AS p WHERE {NAMED[key]}{unnumbered}")
    if unnumbered:
        # The key may be somebody else's by now.
        execute(
            f"UPDATE batch AS b SET person_id = p.person_id, {key} = p.{key} FROM people AS p "
            "WHERE p.person_id = b.person"
        )


def delete(execute: Execute, key: PersonKey, columns: Collection[str]) -> None:
    """Delete the people whom the batch removes; a batch of removals alone needs no other statement."""
    if "person" in columns:
        execute("DELETE FROM people WHERE person_id IN (SELECT person FROM batch WHERE action = 'delete')")
    unnumbered = " AND b.person IS NULL" if "person" in columns else ""
    execute(
        "DELETE FROM people WHERE person_id IN (SELECT p.person_id FROM batch AS b "
        f"JOIN people AS p ON {NAMED[key]} WHERE b.action = 'delete'{unnumbered})"
    )


def reject_missing(execute: Execute, reason: str, *, create: bool) -> None:
    """Give a verdict to the rows whose person does not exist."""
    verdict = f"verdict = 'rejected', reason = '{reason}'" if create else "verdict = 'absent'"
    execute(f"UPDATE batch SET {verdict} WHERE action = 'put' AND person_id IS NULL AND verdict IS NULL")


def _adopt(execute: Execute, key: PersonKey) -> None:
    """Assign a row with a new key to the person who has its other identifier and none of the key's kind."""
    if key is PersonKey.CIO_ID:
        return
    other = "email" if key is PersonKey.ID else "id"
    execute(
        f"UPDATE batch AS b SET person_id = p.person_id FROM people AS p WHERE p.{other} = b.{other} "
        f"AND p.{key} IS NULL AND b.person_id IS NULL AND b.action = 'put'"
    )
    if key is PersonKey.EMAIL:
        execute(
            "UPDATE batch AS b SET verdict = 'rejected', reason = 'the person with this email has another id' "
            "FROM people AS p WHERE p.person_id = b.person_id AND p.id <> b.id"
        )


def _join(execute: Execute, dialect: SQLDialect, key: PersonKey) -> None:
    """Make one of the two people whom a row names, where each lacks the other's identifier: the older one stays.

    As Customer.io does: who stays keeps what they have, and gets what they lack.
    """
    if key is PersonKey.CIO_ID:
        return
    other = "email" if key is PersonKey.ID else "id"
    if not execute(
        "UPDATE batch AS b SET absorbed_id = o.person_id FROM people AS o, people AS p "
        f"WHERE b.action = 'put' AND b.verdict IS NULL AND p.person_id = b.person_id AND p.{other} IS NULL "
        f"AND o.{other} = b.{other} AND o.{key} IS NULL AND o.person_id <> p.person_id AND NOT EXISTS "
        f"(SELECT 1 FROM batch AS s WHERE s.{other} = b.{other} AND s.seq <> b.seq AND s.action = 'put')"
    ):
        return
    execute(
        "UPDATE batch SET person_id = absorbed_id, absorbed_id = person_id "
        "WHERE absorbed_id IS NOT NULL AND absorbed_id < person_id"
    )
    absorb(execute, dialect)


def absorb(execute: Execute, dialect: SQLDialect) -> None:
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
    for name in ("id", "email"):
        _record_moves(execute, dialect, name, "p.person_id = b.absorbed_id")
    execute("DELETE FROM people WHERE person_id IN (SELECT absorbed_id FROM batch WHERE absorbed_id IS NOT NULL)")


def _record_moves(execute: Execute, dialect: SQLDialect, name: str, which: str) -> None:
    """Record the identifiers that the people `p` are about to lose of whom, with a row `b`, *which* is true."""
    execute(
        "INSERT INTO identifier_moves (seq, kind, value, moved_at) "
        "SELECT (SELECT coalesce(max(seq), 0) FROM identifier_moves) + row_number() OVER (ORDER BY b.seq), "
        f"'{name}', p.{name}, {dialect.now} FROM batch AS b, people AS p WHERE {which} AND p.{name} IS NOT NULL"
    )


def _settle_identifiers(execute: Execute, identity: Identity) -> None:
    """Turn what the rows give into what each known person will have."""
    found = ", ".join(f"{name} = {settled(name, identity, 'p')}" for name in ("id", "email"))
    execute(f"UPDATE batch AS b SET {found} FROM people AS p WHERE p.person_id = b.person_id")


def settled(name: str, identity: Identity, person: str) -> str:
    """SQL for the identifier that the *person* of a row `b` will have."""
    spare = _SPARE[identity, name].replace("p.", f"{person}.")
    return f"coalesce(b.{name}, CASE WHEN b.clears_{name} = 0 OR NOT ({spare}) THEN {person}.{name} END)"


def _reject_disputed(execute: Execute, disputed: list[str]) -> int:
    """Reject rows whose identifier somebody else keeps or gets; each may make another row impossible."""
    rejected = 0
    for name in disputed:
        rejected += execute(
            f"UPDATE batch AS b SET verdict = 'rejected', reason = 'another person has this {name}' FROM people AS p "
            f"WHERE p.{name} = b.{name} AND p.person_id IS DISTINCT FROM b.person_id AND b.verdict IS NULL "
            "AND b.action <> 'delete' AND NOT EXISTS (SELECT 1 FROM batch AS g WHERE g.person_id = p.person_id "
            f"AND g.verdict IS NULL AND g.{name} IS DISTINCT FROM p.{name})"
        )
        rejected += execute(
            f"UPDATE batch SET verdict = 'rejected', reason = 'two rows have this {name}' "
            f"WHERE verdict IS NULL AND action <> 'delete' AND {name} IN (SELECT {name} FROM batch "
            f"WHERE verdict IS NULL AND action <> 'delete' AND {name} IS NOT NULL GROUP BY {name} HAVING count(*) > 1)"
        )
    return rejected


def field_of(target: Target, key: PersonKey | None) -> str:
    """The header's field that says how a sync knows people."""
    if target.merged_key is None:
        return "person"
    return "keep" if key is target.person_key else "merge"


def _reject_taken(execute: Execute) -> int:
    """Reject rows of the batch whose visitor is somebody else's, or is claimed by a row before; returns how many."""
    claims = "verdict IS NULL AND action = 'put' AND anonymous IS NOT NULL"
    rejected = "SET verdict = 'rejected', reason = 'another person has this visitor'"
    number = execute(
        f"UPDATE batch AS b {rejected} FROM visitors AS v WHERE v.anonymous_id = b.anonymous "
        f"AND b.verdict IS NULL AND b.action = 'put' AND v.person_id IS DISTINCT FROM b.person_id"
    )
    return number + execute(
        f"UPDATE batch {rejected} WHERE {claims} "
        f"AND seq NOT IN (SELECT min(seq) FROM batch WHERE {claims} GROUP BY anonymous)"
    )


def check(name: str, target: Target, *, identity: Identity, **_of_other_stores: object) -> None:
    """See `StoreConnector.checked_by`."""
    key = target.person_key
    if key is PersonKey.CIO_ID and target.action in (ListAction.SUPPRESS, ListAction.UNSUPPRESS):
        raise StoreRefusesError(
            f"{ConnectionName('store', name).label} cannot {target.action} people by `cio_id`, its own number of a "
            "person, which is gone with them",
            hint="List people by another identifier.",
            field="person",
        )
    wrong = [one for one in (key, target.merged_key) if one not in (None, PersonKey.CIO_ID, *UNIQUE[identity])]
    if not wrong:
        return
    known = " or ".join(f"`{name}`" for name in (*UNIQUE[identity], PersonKey.CIO_ID))
    raise StoreRefusesError(
        f"{ConnectionName('store', name).label} cannot tell people apart by `{wrong[0]}`: its identity is `{identity}`",
        hint=f"Identify people by {known}, or feed a store with another identity.",
        field=field_of(target, wrong[0]),
    )
