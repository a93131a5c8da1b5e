"""The identifiers of people in rows: which columns have them, how they are spelled, and what is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence

from syncer.definitions.columns import previous_column
from syncer.model.errors import QueryResultError
from syncer.model.types import Identity, PersonKey, SyncDefinition
from syncer.snapshot.attributes import Attribute
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_key, literal

#: What snapshots that do not say it take for identifiers.
FIRST = Identity.ID.names

#: The entry of a snapshot's `meta`, a JSON array.
META = "identifiers"

#: E.164, as DuckDB matches a whole text.
PHONE = "[+][1-9][0-9]{7,14}"


def unique_others(
    definition: SyncDefinition, attributes: Sequence[Attribute], identity: Identity
) -> tuple[Attribute, ...]:
    """The columns of a result that have other identifiers of its people, where no two people share them."""
    if not definition.target.entity.traits.has_other_identifiers:
        return ()
    others = {*identity.unique} - {definition.target.person_key}
    return tuple(a for a in attributes if a.name in others)


def recorded(session: Session, schema: str = "") -> tuple[str, ...]:
    """What the store knew people by when the rows of a snapshot were sent, which is in *schema*, such as `other.`."""
    found = session.rows(f"SELECT value FROM {schema}meta WHERE name = '{META}'")
    return read(found[0][0] if found else "")


def read(entry: str) -> tuple[str, ...]:
    """The same of the *entry* in `meta`, which is empty where there is none."""
    return tuple(json.loads(entry)) if entry else FIRST


def with_one_of(session: Session, names: Collection[str]) -> str:
    """SQL for whether a row `s` of the snapshot has a value of one of these names; empty if none can."""
    found = session.rows("SELECT physical FROM columns WHERE list_contains(?, name)", [[*names]])
    return " OR ".join(f"s.{physical} IS NOT NULL" for (physical,) in found)


def former_email(
    definition: SyncDefinition, columns: Sequence[str], attribute: Callable[[str, str], Attribute]
) -> Attribute | None:
    """The column of a result that has the emails by which people were known before; None where there is none.

    Shapes:
        attribute: gives a column of the result by its name, which comes twice.
    Raises:
        DefinitionError: the result does not have it.
        QueryResultError: its type is one of no identifier.
    """
    name = previous_column(definition, columns)
    column = None if name is None else attribute(name, name)
    if column is not None and column.kind in (ColumnType.JSON, ColumnType.BINARY, ColumnType.BOOLEAN):
        hint = "Cast it to text in the query."
        raise QueryResultError(f"column `{column.name}` is of the kind {column.kind}, which is no email", hint=hint)
    return column


def text_of(name: str, kind: ColumnType, value: str) -> str:
    """SQL for the text of the identifier *name* in the SQL *value*; NULL where it is blank, which is none."""
    return f"nullif({key_of(name, kind, value)}, '')"


def key_of(name: str, kind: ColumnType, value: str) -> str:
    """The same as a key would be spelled: emails in lower case, phones as they are but for blanks around them."""
    return as_key(kind, value, fold=name == PersonKey.EMAIL)


def phone_fault(column: str, text: str) -> tuple[str, str]:
    """SQL for whether a *text* that is not blank is no phone number, and for the reason; *column* for people."""
    reason = (
        f"`{column}` is no phone number in E.164, which is + and 8 to 15 digits, the first of them not 0, and nothing "
        "between"
    )
    return f"coalesce({text}, '') <> '' AND NOT regexp_full_match({text}, '{PHONE}')", literal(reason)
