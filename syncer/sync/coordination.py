"""What a run makes visible to the other runs of its store, and of its sync."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


class Removals(Protocol):
    """Where the removals of one sync are visible to every other sync of its store."""

    def announce(self, identifiers: pa.Table) -> None:
        """Make removals durable and visible, before they are sent (columns: IDENTIFIERS)."""

    def close(self) -> None:
        """Make them visible anew, now that none of them is under way."""


class Claim(Protocol):
    """What tells the runs of one sync on other machines that rows were sent from this one's snapshot."""

    @property
    def run_id(self) -> str:
        """For `Snapshot.open_outbox`; empty where nothing is claimed."""

    def make(self) -> bool:
        """Claim the sync durably, before anything is sent; False where another run did so since this one began."""

    def confirm(self) -> bool:
        """Once nothing more is sent: whether no other run has claimed the sync since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unshared:
    """The claim of a run whose sync no other machine can run."""

    run_id: str = ""

    def make(self) -> bool:
        """See `Claim.make`."""
        return True

    def confirm(self) -> bool:
        """See `Claim.confirm`."""
        return True


UNSHARED = Unshared()
