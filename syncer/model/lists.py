"""What stores can do for lists of people, beyond what every store can."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import pyarrow as pa


@runtime_checkable
class CountsPeople(Protocol):
    """A store that knows how many people it has."""

    def count_people(self) -> int:
        """How many there are; 0 in a store that does not exist yet.

        Raises:
            StoreError: it did not answer.
        """


@runtime_checkable
class ErasesTraces(Protocol):
    """A store that keeps something of people who are gone, such as the identifiers that they lost."""

    def erase_traces(self, names: pa.Table) -> None:
        """Erase what it keeps of deleted people, and the bytes that deleted rows left, as far as it can.

        Shapes:
            names: IDENTIFIERS, of people.
        Raises:
            StoreError: it failed; it may be called again.
        """
