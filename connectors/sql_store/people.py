"""People: whom a row is about, and what the store's identity allows, as SQL over a batch.

The rows of a batch are in the temporary table `batch`. `id`, `email` and `phone` have what the row gives, the key
among them, and later what the person will have; `person` is the number of whom a removal is to reach, where it is
known; `person_id` is the person of the row, and `absorbed_id` one who becomes the same; a row with a verdict is
finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from connectors.sql_store import joining
from connectors.sql_store.dialect import Execute, SQLDialect
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreRefusesError
from syncer.model.types import Identity, ListAction, PersonKey, Target

#: How a row `b` of the batch names the person `p`.
NAMED = {
    PersonKey.ID: "p.id = b.id",
    PersonKey.EMAIL: "p.email = b.email",
    PersonKey.PHONE: "p.phone = b.phone",
    PersonKey.CIO_ID: "p.person_id = b.cio_id",
}


#: Why a row is rejected that claims somebody else's visitor.
TAKEN = "another person has this visitor"

#: Why a row is rejected whose number is nobody's.
NO_CIO_ID = "no person has this cio_id"


def given(key: PersonKey, identity: Identity, columns: Collection[str]) -> list[str]:
    """The identifiers, other than the key, that rows with these columns give to people or take away."""
    return [name for name in identity.names if name != key and {name, f"clears_{name}"} & set(columns)]


def contested(key: PersonKey, identity: Identity, columns: Collection[str]) -> list[str]:
    """Those of them that no two people share."""
    return [name for name in given(key, identity, columns) if name in identity.unique]


def apply(
    execute: Execute, dialect: SQLDialect, key: PersonKey, identity: Identity, columns: Collection[str], *, create: bool
) -> None:
    """Bring the people in line with the batch; *columns* are those that the batch has."""
    others = given(key, identity, columns)
    disputed = contested(key, identity, columns)
    # First, so that the identifiers of deleted persons are free for others.
    delete(execute, key, columns)
    find(execute, key, columns)
    if disputed and key is not PersonKey.CIO_ID:
        joining.adopt(execute, key, disputed)
        joining.join(execute, dialect, key, identity, disputed)
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
        joining.record_moves(execute, dialect, name, f"p.person_id = b.person_id AND {losing}")
        # A value can go to another person only after the first has lost it.
        execute(
            f"UPDATE people AS t SET {name} = NULL FROM batch AS b WHERE b.person_id = t.person_id "
            f"AND b.verdict IS NULL AND t.{name} IS NOT NULL AND t.{name} IS DISTINCT FROM b.{name}"
        )
    names = identity.names
    identifiers = "".join(f"{name} = b.{name}, " for name in names) if others else ""
    execute(
        f"UPDATE people AS t SET {identifiers}attributes = {dialect.merged}, updated_at = {dialect.now} "
        "FROM batch AS b WHERE b.person_id = t.person_id AND b.verdict IS NULL"
    )
    if PersonKey.PHONE in others:
        drop_attribute(execute, dialect)
    execute(
        f"INSERT INTO people ({', '.join(names)}, attributes) SELECT {listed('b', names)}, b.attributes "
        "FROM batch AS b WHERE b.action = 'put' AND b.person_id IS NULL AND b.verdict IS NULL"
    )


def listed(table: str, names: Iterable[str]) -> str:
    """SQL for these columns of a table."""
    return ", ".join(f"{table}.{name}" for name in names)


def drop_attribute(execute: Execute, dialect: SQLDialect) -> None:
    """Unset the attribute `phone` that somebody has from before phones were identifiers, if a row gives them one."""
    execute(
        f"UPDATE people AS t SET attributes = {dialect.without_phone} FROM batch AS b WHERE b.person_id = t.person_id "
        f"AND b.verdict IS NULL AND b.phone IS NOT NULL AND t.attributes <> {dialect.without_phone}"
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


def _settle_identifiers(execute: Execute, identity: Identity) -> None:
    """Turn what the rows give into what each known person will have."""
    found = ", ".join(f"{name} = {settled(name, identity, 'p')}" for name in identity.names)
    execute(f"UPDATE batch AS b SET {found} FROM people AS p WHERE p.person_id = b.person_id")


def settled(name: str, identity: Identity, person: str) -> str:
    """SQL for the identifier that the *person* of a row `b` will have."""
    spare = _spare(name, identity, person)
    return f"coalesce(b.{name}, CASE WHEN b.clears_{name} = 0 OR NOT ({spare}) THEN {person}.{name} END)"


def _spare(name: str, identity: Identity, person: str) -> str:
    """SQL for whether an identifier may be unset: everybody keeps one that is unique, the first that they have."""
    if name not in identity.unique:
        return "true"
    kept = []
    for other in identity.unique:
        if identity.unique.index(other) < identity.unique.index(PersonKey(name)):
            # Where that one is to be unset too, this one stays, or another that makes both spare.
            kept += [f"b.{other}", f"{person}.{other}"]
        elif other != name:
            kept += [f"b.{other}", f"CASE WHEN b.clears_{other} = 0 THEN {person}.{other} END"]
    return f"coalesce({', '.join(kept)}) IS NOT NULL" if kept else "false"


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
    rejected = f"SET verdict = 'rejected', reason = '{TAKEN}'"
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
    wrong = [one for one in (key, target.merged_key) if one not in (None, PersonKey.CIO_ID, *identity.unique)]
    if not wrong:
        return
    known = " or ".join(f"`{name}`" for name in (*identity.unique, PersonKey.CIO_ID))
    raise StoreRefusesError(
        f"{ConnectionName('store', name).label} cannot tell people apart by `{wrong[0]}`: its identity is `{identity}`",
        hint=f"Identify people by {known}, or feed a store with another identity.",
        field=field_of(target, wrong[0]),
    )
