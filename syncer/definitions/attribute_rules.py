"""The file `attributes.yml`: which syncs may write an attribute of people, whose value stands, how it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from syncer.definitions.file import DefinitionFile
from syncer.definitions.values import SYNC_NAME, Field, FieldType, attribute_fault, choice, mapping, names
from syncer.definitions.yaml_header import Node, read_mapping
from syncer.model.attribute_rules import AttributeRule, AttributeType, Normaliser
from syncer.model.errors import DefinitionError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import Entity, SyncDefinition

_EXAMPLE = "plan: {from: [billing, crm], type: text, normalise: trim}"

_PARTS = mapping(
    {
        "from": Field(names(SYNC_NAME, least=1), "The syncs that may write it, the one whose value stands first."),
        "type": Field(choice(AttributeType), "What its values are."),
        "normalise": Field(choice(Normaliser), "How its texts are written."),
    },
    "{from: [billing, crm], type: text, normalise: trim}",
)


def _parts(node: Node) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _PARTS.read(node)
    type_, normaliser = found.get("type"), found.get("normalise")
    if not found:
        raise node.error(f"`{node.name}` says nothing", f"Write it as `{_EXAMPLE}`.")
    if normaliser is not None and type_ not in (None, AttributeType.TEXT):
        message = f"`{node.name}` has `normalise: {normaliser}`, which is for texts, and `type: {type_}`"
        raise node.error(message, "Remove one of the two.")
    return found


#: What the file says of one attribute.
RULE = FieldType(
    read=_parts,
    schema={
        **_PARTS.schema,
        "minProperties": 1,
        "if": {"required": ["normalise"]},
        "then": {"properties": {"type": {"const": str(AttributeType.TEXT)}}},
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRules:
    """What the file says; nothing if it has errors."""

    #: By attribute.
    rules: Mapping[str, AttributeRule]
    errors: tuple[DefinitionError, ...]

    def applied(self, definition: SyncDefinition) -> SyncDefinition:
        """A definition with the rules that concern what it may write; its hash is another with other rules."""
        if not (self.rules and self.concern(definition)):
            return definition
        rules = self.rules
        # A rule that only keeps this sync from writing does not change what it sends.
        own = [(name, one.meaning) for name, one in rules.items() if not one.sources or definition.name in one.sources]
        of_rules = hashlib.sha256(str(sorted(own)).encode()).hexdigest()[:16]
        told = f"{definition.hash}-{of_rules}" if own else definition.hash
        return replace(definition, rules=rules, hash=told)

    @staticmethod
    def concern(definition: SyncDefinition) -> bool:
        """Whether a sync writes attributes of people."""
        return definition.target.entity is Entity.PERSON and definition.target.action is None


def read(path: Path, data: bytes, files: Sequence[DefinitionFile]) -> AttributeRules:
    """Read the file's bytes; *files* are all of the folder."""
    errors: list[DefinitionError] = []
    rules: dict[str, AttributeRule] = {}
    for name, node in read_mapping(path, data, errors, _EXAMPLE).items():
        try:
            rules[name] = _rule(name, node)
        except* DefinitionError as group:
            errors += [error for error in group.exceptions if isinstance(error, DefinitionError)]
        if name in rules:
            errors += _wrong_sources(name, node, rules[name], files)
    return AttributeRules(rules={} if errors else rules, errors=tuple(errors))


def _rule(name: str, node: Node) -> AttributeRule:
    if fault := attribute_fault(name):
        raise node.error(f"{quoted(name)} cannot be the name of an attribute: {fault}")
    found = RULE.read(node)
    return AttributeRule(
        sources=found.get("from", ()),
        type=found.get("type"),
        normaliser=found.get("normalise"),
        path=node.path,
        line=node.line,
    )


def _wrong_sources(
    name: str, node: Node, rule: AttributeRule, files: Sequence[DefinitionFile]
) -> Iterator[DefinitionError]:
    """Sources that are no syncs, or none that write attributes of people."""
    known = {file.name: file.definition for file in files}
    lines = dict(node.lines())
    for source in rule.sources:
        line = lines.get(f"{name}.from.{source}", node.line)
        if source not in known:
            message = f"`{name}.from` names {quoted(source)}, but there is no such sync"
            yield DefinitionError(message, path=node.path, line=line, hint=did_you_mean(source, known))
        elif (definition := known[source]) is not None and not AttributeRules.concern(definition):
            message = f"`{name}.from` names {quoted(source)}, which writes no attributes of people"
            yield DefinitionError(message, path=node.path, line=line, hint="Take it out of the list.")


def not_named(definition: SyncDefinition, written: Sequence[str]) -> Iterator[DefinitionError]:
    """An error for each attribute that a sync writes and may not.

    Shapes:
        written: the attributes that it writes.
    """
    for name in written:
        rule = definition.rules.get(name)
        if rule is not None and rule.sources and definition.name not in rule.sources:
            yield DefinitionError(
                f"`{definition.name}` writes the attribute {quoted(name)}, and is not among those that may: "
                f"{listed(rule.sources, last='and')} ({rule.path.name}, line {rule.line})",
                path=definition.path,
                line=definition.lines.get(f"attributes.{name}", definition.lines.get("entity", 1)),
                hint=f"Add it to `from` there, or leave the column out, as with `exclude: [{name}]`.",
            )
