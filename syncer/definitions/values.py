"""The kinds of values that header fields take: how each is read, and how JSON Schema describes it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from syncer.definitions.yaml_header import Node
from syncer.model.errors import DefinitionError, SyncerError
from syncer.model.spelling import did_you_mean, listed, quoted


class FieldType(Protocol):
    """What a field takes."""

    def read(self, node: Node) -> Any:
        """The value of *node*.

        Raises:
            DefinitionError: it is no such value.
            ExceptionGroup: of these, where several are wrong.
        """

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what editors take *node* for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text, as it was written."""

    #: What is wrong with it, or empty.
    fault: Callable[[str], str] = lambda text: ""
    pattern: str = ""
    #: Whether it may go over several lines.
    prose: bool = False

    def read(self, node: Node) -> str:
        text = _text(node, "a text")
        if self.prose:
            return text.strip()
        if not text.strip() or "\n" in text:
            raise node.error(f"`{node.name}` is {quoted(text)}: expected a text on one line")
        fault = self.fault(text)
        if fault:
            raise node.error(f"`{node.name}` is {quoted(text)}: {fault}")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One word of an enumeration."""

    words: type[enum.StrEnum]

    def read(self, node: Node) -> enum.StrEnum:
        text = _text(node, "a word")
        try:
            return self.words(text)
        except ValueError:
            raise node.error(
                f"`{node.name}` is {quoted(text)}: expected {listed(list(self.words))}",
                did_you_mean(text, list(self.words), or_list=False),
            ) from None

    def schema(self) -> dict[str, Any]:
        return {"enum": [str(word) for word in self.words]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """`true` or `false`, and no other word for them."""

    def read(self, node: Node) -> bool:
        text = _text(node, "`true` or `false`")
        if text not in ("true", "false"):
            raise node.error(
                f"`{node.name}` is {quoted(text)}: expected `true` or `false`",
                did_you_mean(text, ("true", "false"), or_list=False),
            )
        return text == "true"

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A list of texts, none twice; one alone needs no list."""

    item: Text = Text()
    least: int = 0

    def read(self, node: Node) -> tuple[str, ...]:
        if isinstance(node.value, dict):
            raise node.error(f"`{node.name}` is a mapping: expected a name or a list of names")
        items = (node,) if isinstance(node.value, str) else node.value
        if len(items) < self.least:
            raise node.error(f"`{node.name}` is empty: expected a name or a list of names")
        seen: dict[str, int] = {}
        for item in items:
            text = self.item.read(item)
            if text in seen:
                raise item.error(f"`{node.name}` names {quoted(text)} twice", "Keep one of the two.")
            seen[text] = item.line
        return tuple(seen)

    def schema(self) -> dict[str, Any]:
        item = self.item.schema()
        return {"anyOf": [item, {"type": "array", "items": item, "minItems": self.least, "uniqueItems": True}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A field inside a field."""

    kind: FieldType
    description: str
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A mapping with named parts: any of them, all of them, or exactly one."""

    parts: Mapping[str, Part]
    needs: str = "any"
    example: str

    def read(self, node: Node) -> dict[str, Any]:
        if not isinstance(node.value, dict):
            raise node.error(f"`{node.name}` is not a mapping", f"Write it as `{self.example}`.")
        kinds = {name: part.kind for name, part in self.parts.items()}
        values, errors = read_fields(kinds, node.value)
        if not errors:
            errors = self._faults(node, values)
        if errors:
            raise ExceptionGroup(f"faults of {node.name}", errors)
        return values

    def _faults(self, node: Node, values: Mapping[str, Any]) -> list[DefinitionError]:
        if self.needs == "one" and len(values) != 1:
            return [
                node.error(
                    f"`{node.name}` has {len(values)} parts: expected exactly one of {listed(list(self.parts))}",
                    f"Write it as `{self.example}`.",
                )
            ]
        missing = [name for name in self.parts if name not in values]
        if self.needs == "all" and missing:
            return [node.error(f"`{node.name}` lacks {listed(missing, last='and')}", f"Write it as `{self.example}`.")]
        return []

    def schema(self) -> dict[str, Any]:
        properties = {
            name: part.kind.schema()
            | {"description": part.description}
            | ({} if part.default is None else {"default": part.default})
            for name, part in self.parts.items()
        }
        shape: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
        if self.needs == "one":
            shape |= {"minProperties": 1, "maxProperties": 1}
        elif self.needs == "all":
            shape["required"] = list(self.parts)
        return shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A text that stands for another value."""

    #: Raises SyncerError for what is no such text.
    parse: Callable[[str], Any]
    described: Mapping[str, Any]

    def read(self, node: Node) -> Any:
        text = _text(node, "a text")
        try:
            return self.parse(text)
        except SyncerError as exc:
            raise node.error(f"`{node.name}`: {exc.message}", exc.hint) from None

    def schema(self) -> dict[str, Any]:
        return dict(self.described)


def read_fields(
    kinds: Mapping[str, FieldType], nodes: Mapping[str, Node]
) -> tuple[dict[str, Any], list[DefinitionError]]:
    """The values of *nodes* that are right, and the errors of those that are wrong or unknown."""
    values: dict[str, Any] = {}
    errors: list[DefinitionError] = []
    for name, node in nodes.items():
        try:
            if name not in kinds:
                raise node.error(f"the field {quoted(node.name)} is unknown", did_you_mean(name, kinds))
            values[name] = kinds[name].read(node)
        except* DefinitionError as group:
            errors.extend(error for error in group.exceptions if isinstance(error, DefinitionError))
    return values, errors


def _text(node: Node, expected: str) -> str:
    if not isinstance(node.value, str):
        kind = "mapping" if isinstance(node.value, dict) else "list"
        raise node.error(f"`{node.name}` is a {kind}: expected {expected}")
    return node.value
