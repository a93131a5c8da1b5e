"""What stores can do for lists of people, beyond what every store can."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class CountsPeople(Protocol):
    """A store that knows how many people it has."""

    def count_people(self) -> int:
        """How many there are; 0 in a store that does not exist yet.

        Raises:
            StoreError: it did not answer.
        """
