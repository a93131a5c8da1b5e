"""The turns of calls, given to all processes that share a run log: one row for each rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from syncer.model.call_rates import Reserved, SharesRate
from syncer.state.database import StateDatabase, explained

_Store = TypeVar("_Store")

#: Seconds; no turn is reserved that is further ahead, as clocks differ more by then.
_FAR = 2.0
#: Seconds; what is still further ahead, and so longer than any pause, is of a clock that was set back.
_LONGEST = 330.0

_NOW, _SECOND = "clock_timestamp()", "interval '1 second'"
#: Whoever waits for the row sees it, and the clock, as they are then.
_MOVE = f"""
INSERT INTO syncer_rates AS rate (workspace, next_at)
VALUES (:workspace, {_NOW} + (:lead + :length) * {_SECOND})
ON CONFLICT (workspace) DO UPDATE SET next_at = greatest(
    {_NOW} + :lead * {_SECOND}, CASE WHEN rate.next_at < {_NOW} + {_LONGEST} * {_SECOND} THEN rate.next_at END
) + :length * {_SECOND}
"""
_RESERVE = sa.text(
    f"{_MOVE} WHERE rate.next_at NOT BETWEEN {_NOW} + {_FAR} * {_SECOND} AND {_NOW} + {_LONGEST} * {_SECOND} "
    f"RETURNING extract(epoch FROM next_at)::float8, extract(epoch FROM {_NOW})::float8"
)
_PAUSE = sa.text(_MOVE)
_LOOK = sa.text(
    f"SELECT extract(epoch FROM next_at)::float8, extract(epoch FROM {_NOW})::float8 FROM syncer_rates "
    "WHERE workspace = :workspace"
)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates in a state database in PostgreSQL; see `Turns`.

    Each statement is a transaction of its own, outside of any that the thread is in: a process that stands still locks
    no row.
    """

    database: StateDatabase

    def reserve(self, workspace: str, turns: int, *, apart: float, lead: float) -> Reserved:
        """See `Turns.reserve`, by the server's clock."""
        length = turns * apart
        with explained(), self.database.own_connection(is_kept=True) as connection:
            asked = time.monotonic()
            given = {"workspace": workspace, "lead": lead, "length": length}
            if (row := connection.execute(_RESERVE, given).one_or_none()) is not None:
                end, clock = row
                return Reserved(turns=turns, first=end - length, clock=clock, asked=asked, told=time.monotonic())
            asked = time.monotonic()
            following, clock = connection.execute(_LOOK, {"workspace": workspace}).one()
            return Reserved(turns=0, first=following, clock=clock, asked=asked, told=time.monotonic())

    def pause(self, workspace: str, seconds: float) -> None:
        """See `Turns.pause`."""
        with explained(), self.database.own_connection(is_kept=True) as connection:
            connection.execute(_PAUSE, {"workspace": workspace, "lead": seconds, "length": 0.0})


def sharing(store: _Store, database: StateDatabase) -> _Store:
    """*store*, which keeps its rate together with all who use *database*, if both can."""
    if database.is_shared and isinstance(store, SharesRate):
        store.share_rate(Rates(database))
    return store
