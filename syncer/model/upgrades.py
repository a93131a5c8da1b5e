"""How a newer Syncer takes over what an older one stored: the run log, SQL stores, snapshots.

Each of them records its format, a number that counts from 1. Upgrade n changes format n into format n + 1. What is new
is created in the newest format and needs no upgrade.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from syncer.model.errors import SyncerError

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Formats(Generic[C]):
    """The formats of one kind of stored thing, which is changed through a connection of type C."""

    #: The first changes format 1 into format 2, and so on.
    upgrades: tuple[Callable[[C], None], ...] = ()
    #: The format that this program creates and reads.
    newest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "newest", 1 + len(self.upgrades))

    def newer(self, found: int, *, what: str, error: type[SyncerError], otherwise: str) -> SyncerError:
        """The *error* to raise where *found* is a newer program's format.

        Shapes:
            what: the stored thing, as the start of a sentence.
            otherwise: what people can do if they cannot install the newer program.
        """
        return error(
            f"{what} was written by a newer Syncer: its format is {found}, this Syncer knows {self.newest}",
            hint=f"Install that newer Syncer again, or {otherwise}.",
        )

    def bring_up_to_date(
        self,
        transaction: Callable[[], AbstractContextManager[C]],
        *,
        read: Callable[[C], int],
        create: Callable[[C], None],
        record: Callable[[C, int], None],
    ) -> None:
        """Create what is missing, or apply the pending upgrades; a newer format is left alone.

        Each upgrade and the record of its number are one transaction, so that an upgrade that fails changes nothing
        and those before it stay.

        Shapes:
            transaction: begins a transaction that no other process is in at the same time.
            read: the recorded format; 0 where nothing was created yet.
            create: creates everything in the newest format.
            record: replaces the recorded format.
        """
        found = 0
        while found < self.newest:
            with transaction() as connection:
                # Another process may have been here since the last transaction.
                found = read(connection)
                if found == 0:
                    create(connection)
                    found = self.newest
                elif found < self.newest:
                    self.upgrades[found - 1](connection)
                    found += 1
                else:
                    return
                record(connection, found)
