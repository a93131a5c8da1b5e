"""Stores that tell a run that was overtaken from the newest one.

A run whose snapshot several machines share takes its sync first. Each take has a number, greater than those before it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class RefusesOvertaken(Protocol):
    """A store that writes nothing for a run once a later one has written, whatever the run had checked before."""

    @property
    def take(self) -> int:
        """That of the run; 0 where it has none, and then nothing is refused."""

    def newest_take(self, *, ledger: str, sync: str) -> int:
        """The greatest that the store knows of a sync; 0 where it knows none. For `ledger` see `Fenced`."""

    def hold(self, *, ledger: str, sync: str, take: int) -> None:
        """Check the take from now on, and record it, in the transaction of each batch.

        Where the store knows a greater one, `apply` raises RunInProgressError, and nothing of the batch is stored.
        """

    def shut_out(self) -> None:
        """Record the take at once, so that no earlier one writes any more; a store that does not exist stays so.

        Raises:
            RunInProgressError: the store knows a greater one.
            StoreError: it did not answer.
        """
