"""The turns of calls, given to all processes that share a run log: one row for each rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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

_LOOK = sa.text(
    "SELECT extract(epoch FROM clock_timestamp())::float8 AS clock, "
    "(SELECT extract(epoch FROM next_at)::float8 FROM syncer_rates WHERE workspace = :workspace) AS next"
)
#: Whoever waits for the row sees it, and the clock, as they are then.
_PUT = f"""
INSERT INTO syncer_rates AS rate (workspace, next_at)
VALUES (:workspace, clock_timestamp() + :lead * interval '1 second' + :length * interval '1 second')
ON CONFLICT (workspace) DO UPDATE SET next_at = greatest(
    clock_timestamp() + :lead * interval '1 second',
    CASE WHEN rate.next_at < clock_timestamp() + interval '{_LONGEST} seconds' THEN rate.next_at END
) + :length * interval '1 second'
RETURNING extract(epoch FROM next_at)::float8
"""
_RESERVE = sa.text(_PUT)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates in a state database in PostgreSQL; see `Turns`.

    Each statement is a transaction of its own, outside of any that the thread is in: a process that stands still locks
    no row.
    """

    database: StateDatabase

    def reserve(self, workspace: str, turns: int, *, apart: float, lead: float) -> Reserved:
        """See `Turns.reserve`, by the server's clock."""
        with self._connected() as connection:
            asked = time.monotonic()
            clock, following = connection.execute(_LOOK, {"workspace": workspace}).one()
            told = time.monotonic()
            if following is not None and _FAR < following - clock < _LONGEST:
                return Reserved(turns=0, first=following, clock=clock, asked=asked, told=told)
            length = turns * apart
            end = connection.execute(_RESERVE, {"workspace": workspace, "lead": lead, "length": length}).scalar_one()
        return Reserved(turns=turns, first=end - length, clock=clock, asked=asked, told=told)

    def pause(self, workspace: str, seconds: float) -> None:
        """See `Turns.pause`."""
        with self._connected() as connection:
            connection.execute(_RESERVE, {"workspace": workspace, "lead": seconds, "length": 0.0})

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        with explained(), self.database.own_connection(is_kept=True) as connection:
            yield connection


def sharing(store: _Store, database: StateDatabase) -> _Store:
    """*store*, which keeps its rate together with all who use *database*, if both can."""
    if database.is_shared and isinstance(store, SharesRate):
        store.share_rate(Rates(database))
    return store
