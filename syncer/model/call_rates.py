"""The rate of calls that several processes keep together: their turns are one sequence, by one clock."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable


class Reserved(NamedTuple):
    """Turns that are this process's alone, the first at `first` and the others evenly after it."""

    #: How many; 0 where the next one is far ahead, as in a pause: nothing is reserved then.
    turns: int
    #: When the first one is, or would be, in seconds of the common clock.
    first: float
    #: What that clock said, and the moments before and after, in seconds of `time.monotonic`.
    clock: float
    asked: float
    told: float


class Turns(Protocol):
    """Gives turns to all processes that share it. Any thread may use it."""

    def reserve(self, workspace: str, turns: int, *, apart: float, lead: float) -> Reserved:
        """Take the next turns; those that nobody uses are lost.

        Shapes:
            workspace: whose calls these are; no secret.
        Units:
            apart: seconds between two turns.
            lead: seconds from now until the first one, at least.
        Raises:
            StateDatabaseError: the clock did not answer; turns may be lost.
        """

    def pause(self, workspace: str, seconds: float) -> None:
        """Give no turn for so long; those that are reserved stay.

        Raises:
            StateDatabaseError: as `reserve`.
        """


@runtime_checkable
class SharesRate(Protocol):
    """A store that limits its calls, and can do so together with other processes."""

    def share_rate(self, turns: Turns) -> None:
        """Make each call at a turn of *turns* from now on; called before the first call."""
