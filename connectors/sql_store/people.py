"""People: whom a row is about, and what the store's identity allows, as SQL over a batch.

The rows of a batch are in the temporary table `batch`. `id` and `email` have what the row gives, the key among them,
and later what the person will have; `person_id` is the person of the row; a row with a verdict is finished.
"""

from __future__ import annotations

from collections.abc import Collection

from connectors.sql_store.dialect import Execute, SQLDialect
from syncer.model.types import Identity, PersonKey

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


def contested(key: PersonKey, identity: Identity, columns: Collection[str]) -> list[str]:
    """The unique identifiers, other than the key, that rows with these columns give to people or take away."""
    return [name for name in UNIQUE[identity] if name != key and {name, f"clears_{name}"} & set(columns)]


def apply(
    execute: Execute, dialect: SQLDialect, key: PersonKey, identity: Identity, columns: Collection[str], *, create: bool
) -> None:
    """Bring the people in line with the batch; *columns* are those that the batch has."""
    others = [name for name in ("id", "email") if name != key and {name, f"clears_{name}"} & set(columns)]
    disputed = contested(key, identity, columns)
    # First, so that the identifiers of deleted persons are free for others.
    execute(
        "DELETE FROM people WHERE person_id IN "
        f"(SELECT p.person_id FROM batch AS b JOIN people AS p ON {NAMED[key]} WHERE b.action = 'delete')"
    )
    find(execute, key)
    if identity is Identity.ID_OR_EMAIL and disputed:
        _adopt(execute, key)
    if key is PersonKey.CIO_ID or not create:
        reject_missing(execute, "no person has this cio_id", create=create)
    if others:
        _settle_identifiers(execute, identity)
    while disputed and _reject_disputed(execute, disputed) > 0:
        pass
    for name in disputed:
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


def find(execute: Execute, key: PersonKey) -> None:
    """Find the person of each row."""
    execute(f"UPDATE batch AS b SET person_id = p.person_id FROM people AS p WHERE {NAMED[key]}")


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


def _settle_identifiers(execute: Execute, identity: Identity) -> None:
    """Turn what the rows give into what each known person will have."""
    kept = {name: f"b.clears_{name} = 0 OR NOT ({_SPARE[identity, name]})" for name in ("id", "email")}
    settled = ", ".join(f"{n} = coalesce(b.{n}, CASE WHEN {kept[n]} THEN p.{n} END)" for n in kept)
    execute(f"UPDATE batch AS b SET {settled} FROM people AS p WHERE p.person_id = b.person_id")


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
