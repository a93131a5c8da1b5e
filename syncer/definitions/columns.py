"""A definition's columns in the result of its query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncer.definitions.person_values import ANONYMOUS, PREVIOUS
from syncer.definitions.values import attribute_fault
from syncer.model.errors import DefinitionError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import PersonKey, SyncDefinition

#: The header field of a visitor, and its name among what a sync sends; no attribute beside it has this name.
VISITOR = f"person.{ANONYMOUS}"
#: The same of the email by which a person was known before, which is no attribute.
FORMER_EMAIL = f"person.{PREVIOUS}"


def error_at(definition: SyncDefinition, field: str, message: str, hint: str = "") -> DefinitionError:
    """An error at the line of a header field, such as `limits.removed`; without a field, at the query."""
    lines = definition.lines
    line = lines.get(field) or lines.get(field.partition(".")[0]) or (1 if field else definition.sql_line)
    return DefinitionError(message, path=definition.path, line=line, hint=hint)


def match_column(name: str, columns: Sequence[str]) -> str | None:
    """The column that *name* means: the same, or else the only one that differs by letter case."""
    if name in columns:
        return name
    folded = [column for column in columns if column.casefold() == name.casefold()]
    return folded[0] if len(folded) == 1 else None


def check_columns(definition: SyncDefinition, columns: Sequence[str], written: Sequence[str] = ()) -> None:
    """Make sure that a result with *columns* fits the definition.

    Shapes:
        written: the same columns as the warehouse has them, if it folded names that are in lower case here.
    Raises:
        DefinitionError: at the header's line: a column is missing, repeated, or used in two roles.
    """
    for error in column_errors(definition, columns, written):
        raise error


def header_errors(definition: SyncDefinition) -> Iterator[DefinitionError]:
    """What is wrong with the columns that the header names, whatever the query returns."""
    attributes = definition.attributes or {}
    rules = definition.event_rules
    own = [definition.visitor_column, definition.previous_column]
    own += [rules.person_column, rules.time_column] if rules else []
    named = dict.fromkeys(
        (
            *definition.target.key_columns,
            *(column for column in own if column is not None),
            *(definition.device.columns.values() if definition.device else ()),
            *attributes.values(),
            *definition.exclude,
        )
    )
    return column_errors(definition, list(named))


def column_errors(
    definition: SyncDefinition, columns: Sequence[str], written: Sequence[str] = ()
) -> Iterator[DefinitionError]:
    """What is wrong with a result with *columns*.

    Raises:
        DefinitionError: a column of the header is missing; then no further error is reported.
    """
    for place, column in enumerate(columns):
        if column in columns[:place]:
            both, hint = f"the result has two columns {quoted(column)}", "Rename one with AS."
            names = [other for name, other in zip(columns, written, strict=False) if name == column]
            if len({*names}) > 1:
                both += f", since {listed(names, last='and')} become one in lower case"
                hint = "Rename one with AS, or keep names as they are with `?column_case=as_is` in the warehouse's URL."
            yield error_at(definition, "", both, hint)
    identifiers = key_columns(definition, columns)
    if len(set(identifiers)) < len(identifiers):
        field = _key_fields(definition)[-1]
        yield error_at(definition, field, f"{quoted(identifiers[-1])} is named twice as an identifier")
    for column in definition.exclude:
        if _found(definition, f"exclude.{column}", column, columns) in identifiers:
            yield error_at(
                definition, f"exclude.{column}", f"{quoted(column)} is the identifier and cannot be left out"
            )
    yield from _role_errors(definition, columns)
    own, others = _device_columns(definition, columns), _other_columns(definition, columns)
    for attribute, column in (*own.items(), *others.items()):
        fault = _fault(definition, attribute, column, identifiers)
        if definition.device and attribute in others and attribute in definition.target.entity.traits.own_columns:
            fault = f"the attribute {quoted(attribute)} is what `device` says, and cannot come from another column"
        if fault:
            field = f"attributes.{attribute}" if definition.attributes is not None else "entity"
            field = f"device.{attribute}" if attribute not in others else field
            hint = "Rename it, in `attributes` or in the query with AS, or leave it out."
            yield error_at(definition, field, fault, hint)


def key_columns(definition: SyncDefinition, columns: Sequence[str]) -> tuple[str, ...]:
    """The identifier's columns as the result spells them, in the order of the target's key.

    Raises:
        DefinitionError: the result does not have one.
    """
    fields = _key_fields(definition)
    return tuple(
        _found(definition, field, column, columns)
        for field, column in zip(fields, definition.target.key_columns, strict=True)
    )


def attribute_columns(definition: SyncDefinition, columns: Sequence[str]) -> dict[str, str]:
    """Attribute to the result's column, in the header's order, or else in the result's.

    The key of a collection or an event is among them, first where the header names others; so is what the header says
    of a device, but for a platform that no column has. An event's person and time are not, nor is a visitor. A list has
    none.

    Raises:
        DefinitionError: the result lacks a column that the header names.
    """
    return _other_columns(definition, columns) | _device_columns(definition, columns)


def _other_columns(definition: SyncDefinition, columns: Sequence[str]) -> dict[str, str]:
    """The same without what the header says of a device."""
    identifiers = key_columns(definition, columns)
    if definition.target.action is not None:
        return {}
    is_whole, own = not definition.target.entity.traits.merges, event_columns(definition, columns).values()
    if definition.attributes is not None:
        named = {
            attribute: _found(definition, f"attributes.{attribute}", column, columns)
            for attribute, column in definition.attributes.items()
        }
        keys = [column for column in identifiers if is_whole and column not in (*named.values(), *own)]
        return {column: column for column in keys} | named
    left_out: set[str | None] = {
        _found(definition, f"exclude.{column}", column, columns) for column in definition.exclude
    }
    left_out |= set(own) if is_whole else set(identifiers)
    left_out |= {*_device_columns(definition, columns).values()}
    left_out |= {visitor_column(definition, columns), previous_column(definition, columns)}
    return {column: column for column in columns if column not in left_out}


def _device_columns(definition: SyncDefinition, columns: Sequence[str]) -> dict[str, str]:
    """What the header says of a device, beside its key, and a column has: attribute to column."""
    named = definition.device.columns if definition.device else {}
    return {name: _found(definition, f"device.{name}", column, columns) for name, column in named.items()}


def event_columns(definition: SyncDefinition, columns: Sequence[str]) -> dict[str, str]:
    """The columns of an event's `person`, `visitor` and `time`, each where it has one, as the result spells them.

    Empty of anything else.

    Raises:
        DefinitionError: the result does not have one.
    """
    rules = definition.event_rules
    if rules is None:
        return {}
    found = {} if rules.person_column is None else {"person": (_person_field(definition), rules.person_column)}
    if definition.visitor_column is not None:
        found["visitor"] = (VISITOR, definition.visitor_column)
    found["time"] = ("event.time", rules.time_column)
    return {role: _found(definition, field, column, columns) for role, (field, column) in found.items()}


def visitor_column(definition: SyncDefinition, columns: Sequence[str]) -> str | None:
    """The column of the visitor whom a person claims, as the result spells it; None where there is none, as in events.

    Raises:
        DefinitionError: the result does not have it.
    """
    column = None if definition.event_rules else definition.visitor_column
    return None if column is None else _found(definition, VISITOR, column, columns)


def previous_column(definition: SyncDefinition, columns: Sequence[str]) -> str | None:
    """The column of the email by which a person was known before, likewise."""
    column = definition.previous_column
    return None if column is None else _found(definition, FORMER_EMAIL, column, columns)


def _role_errors(definition: SyncDefinition, columns: Sequence[str]) -> Iterator[DefinitionError]:
    """What is wrong with the columns of a visitor and of a former email: each is no other thing too."""
    of_event = event_columns(definition, columns)
    people = [of_event.get("person")] if of_event else key_columns(definition, columns)
    taken: dict[str | None, str] = dict.fromkeys(people, "person")
    roles = {
        VISITOR: (definition.visitor_column, "visitor"),
        FORMER_EMAIL: (definition.previous_column, "former email"),
    }
    for field, (named, role) in roles.items():
        column = None if named is None else _found(definition, field, named, columns)
        if column is None:
            continue
        if column in taken:
            yield error_at(
                definition, field, f"{quoted(column)} is named twice, as the {taken[column]} and as the {role}"
            )
            continue
        taken[column] = role
        for attribute, source in (definition.attributes or {}).items():
            if not of_event and column == match_column(source, columns):
                fault = f"the column {quoted(column)} is the {role}, and cannot be an attribute too"
                yield error_at(definition, f"attributes.{attribute}", fault, "Leave it out.")


def _person_field(definition: SyncDefinition) -> str:
    return f"person.{definition.target.person_key}"


def _fault(definition: SyncDefinition, attribute: str, column: str, identifiers: Sequence[str]) -> str:
    fault = attribute_fault(attribute)
    if fault:
        return f"{quoted(attribute)} is not a valid attribute name: {fault}"
    target = definition.target
    if not target.entity.traits.merges:
        clash = attribute in identifiers and column != attribute
        return f"{quoted(attribute)} is a column of the key, and cannot be another column's name" if clash else ""
    if column in identifiers:
        return f"the column {quoted(column)} is the identifier, and cannot be an attribute too"
    if not target.entity.traits.has_other_identifiers:
        return ""
    if attribute == PersonKey.CIO_ID:
        return "the attribute `cio_id` is the store's own and cannot be written"
    if attribute == VISITOR and target.names_visitors:
        return f"the attribute {quoted(attribute)} is the visitor"
    if attribute == FORMER_EMAIL and target.names_previous:
        return f"the attribute {quoted(attribute)} is the former email"
    if attribute == target.person_key:
        return f"the attribute {quoted(attribute)} is the identifier itself, which comes from another column"
    return ""


def _key_fields(definition: SyncDefinition) -> list[str]:
    target = definition.target
    if target.event is not None:
        named = [target.event.column] if target.event.column else []
        ids = target.key_columns[: len(target.key_columns) - len(named)]
        return [*(f"event.id.{column}" for column in ids), *("event.name.column" for _ in named)]
    if "key" in target.entity.traits.identified_by:
        return [f"key.{column}" for column in target.key_columns]
    if target.merged_key is not None:
        return [f"keep.{target.person_key}", f"merge.{target.merged_key}"]
    fields = [] if target.person_key is None else [f"person.{target.person_key}"]
    if target.entity.traits.names_device:
        fields.append("device.token")
    return fields if target.object_type is None else [*fields, "object.id"]


def _found(definition: SyncDefinition, field: str, column: str, columns: Sequence[str]) -> str:
    found = match_column(column, columns)
    if found is None:
        raise error_at(definition, field, f"the result has no column {quoted(column)}", did_you_mean(column, columns))
    return found
