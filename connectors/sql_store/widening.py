"""How a store comes to know people by more than before: by their phones too, which were attributes until then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.model.types import Identity

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Of each database: the text of the attribute `phone`, with no blanks around it; whether a text `said` is a phone
#: number in E.164; and the attributes without it.
_SPELLED = {
    "postgresql": (
        "CASE WHEN jsonb_typeof(p.attributes -> 'phone') = 'string' THEN btrim(p.attributes ->> 'phone') END",
        "said ~ '^[+][1-9][0-9]{7,14}$'",
        "people.attributes - 'phone'",
    ),
    "sqlite": (
        "CASE WHEN json_type(p.attributes, '$.phone') = 'text' THEN trim(p.attributes ->> '$.phone') END",
        "said GLOB '+[1-9]*' AND substr(said, 2) NOT GLOB '*[^0-9]*' AND length(said) BETWEEN 9 AND 16",
        "json_remove(people.attributes, '$.phone')",
    ),
}


def widen(connection: sa.Connection, identity: Identity) -> None:
    """Let a store of the newest format have *identity*, if it may grow into it; part of the caller's transaction.

    An attribute `phone` that is a phone number, and nobody else's, becomes the identifier of its person. Every other
    one stays an attribute until a row gives the person a phone.
    """
    recorded = Identity(connection.exec_driver_sql("SELECT identity FROM workspace").scalar_one())
    if identity not in recorded.grows_into:
        return
    text, is_phone, others = _SPELLED[connection.dialect.name]
    for statement in (
        f"UPDATE people SET phone = found.said, attributes = {others} FROM ("
        f"SELECT min(person_id) AS person_id, said FROM (SELECT p.person_id, {text} AS said FROM people AS p) AS given "
        f"WHERE {is_phone} GROUP BY said HAVING count(*) = 1) AS found WHERE people.person_id = found.person_id",
        "CREATE UNIQUE INDEX people_phone ON people (phone) WHERE phone IS NOT NULL",
        f"UPDATE workspace SET identity = '{identity}'",
    ):
        connection.exec_driver_sql(statement)
