"""Which syncs go first, of those that are due at one tick."""

from __future__ import annotations

from collections.abc import Iterable

from syncer.definitions.folder import in_dependency_order
from syncer.model.types import SyncDefinition


class Precedence:
    """The order of a folder's syncs; never two that wait for each other."""

    def __init__(self, definitions: Iterable[SyncDefinition]) -> None:
        ordered = in_dependency_order(list(definitions))
        self._definitions = {definition.name: definition for definition in ordered}
        self._rank = {definition.name: rank for rank, definition in enumerate(ordered)}

    def depends(self, name: str, on: str) -> bool:
        """Whether the definition of one says that it depends on the other."""
        definition = self._definitions.get(name)
        return definition is not None and on in definition.depends_on and on in self._rank

    def goes_before(self, first: str, second: str) -> bool:
        """Whether *first* goes before *second* when both are due at one tick.

        What it depends on does; and of one store, lists go before people, those before objects, those before
        relationships, and those before collections; and of people's attributes, whose value counts more.
        """
        if first not in self._rank or second not in self._rank or self._rank[first] >= self._rank[second]:
            return False
        one, other = self._definitions[first], self._definitions[second]
        if first in other.depends_on:
            return True
        return one.store == other.store and (one.target.order < other.target.order or first in other.yields_to)
