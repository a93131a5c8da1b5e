"""What `attributes.yml` says of an attribute of people: who may write it, whose value stands, and how it is written."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

#: The file, at the top of the folder of sync definitions.
FILE_NAME = "attributes.yml"
#: What some would call it.
MISNAMED = "attributes.yaml"


class AttributeType(enum.StrEnum):
    """What the values of an attribute are; the same words as for a snapshot's columns."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"


class Normaliser(enum.StrEnum):
    """How a text is written."""

    TRIM = "trim"
    TITLE = "title"
    LOWER = "lower"
    E164 = "e164"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRule:
    """The rule for one attribute."""

    #: The syncs that may write it, the one whose value counts most first; empty if any may.
    sources: tuple[str, ...] = ()
    #: None leaves it as the query has it.
    type: AttributeType | None = None
    normaliser: Normaliser | None = None
    path: Path = Path(FILE_NAME)
    #: Of the file, counted from 1.
    line: int = 1

    def before(self, sync: str) -> tuple[str, ...]:
        """The syncs whose value counts more than that of *sync*; empty where it may not write the attribute."""
        return self.sources[: self.sources.index(sync)] if sync in self.sources else ()

    def after(self, sync: str) -> tuple[str, ...]:
        """The syncs whose value counts less than that of *sync*; empty where it may not write the attribute."""
        return self.sources[self.sources.index(sync) + 1 :] if sync in self.sources else ()

    @property
    def meaning(self) -> tuple[str, ...]:
        """The same for rules that mean the same, wherever they are written."""
        return (*self.sources, f"type {self.type or ''}", f"normalise {self.normaliser or ''}")
