"""Which syncs go first, of those that are due at one tick."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncer.definitions.folder import in_dependency_order
from syncer.model.types import SyncDefinition


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a sync in the order of its folder."""

    #: Counted from 0; whatever goes before another at one tick has a lower one.
    rank: int
    #: Of the header.
    priority: int
    store: str
    #: `Target.order`: of one store, those of a lower one go before it at one tick.
    kind: int
    depends_on: frozenset[str]
    #: Those of any kind that go before it at one tick: what it depends on, and whose value of an attribute counts more.
    after: frozenset[str]


class Precedence:
    """The order of a folder's syncs; never two that wait for each other.

    What a sync depends on goes first; and of one store, lists go before people, those before objects, those before
    relationships, and those before collections; and of people's attributes, whose value counts more.
    """

    def __init__(self, definitions: Iterable[SyncDefinition]) -> None:
        ordered = in_dependency_order(list(definitions))
        self._places: dict[str, Place] = {}
        for rank, one in enumerate(ordered):
            # What comes later in the order goes before nobody.
            depends_on = frozenset(self._places.keys() & one.depends_on)
            counts_more = [
                name for name in self._places.keys() & one.yields_to if self._places[name].store == one.store
            ]
            after = depends_on.union(counts_more)
            self._places[one.name] = Place(rank, one.priority, one.store, one.target.order, depends_on, after)

    def place(self, name: str) -> Place | None:
        """Where a sync stands; None for one that is not in the folder, or whose order is not known."""
        return self._places.get(name)

    def priority(self, name: str) -> int:
        """Of a sync; 0 for one that is not in the folder, or whose order is not known."""
        place = self._places.get(name)
        return place.priority if place else 0


@dataclass(slots=True)
class _Ticks:
    """The ticks of syncs of one store and kind, from the earliest on."""

    at: list[datetime] = field(default_factory=list)
    #: Beside each, the lowest rank up to it.
    lowest: list[int] = field(default_factory=list)

    def lowest_until(self, moment: datetime) -> int | None:
        found = bisect_right(self.at, moment)
        return self.lowest[found - 1] if found else None


class Turns:
    """Whose turn it is at one instant, of many runs; each answer takes a time that does not rise with their number."""

    def __init__(
        self, precedence: Precedence, runs: Collection[tuple[str, datetime | None]], still_due: Mapping[str, datetime]
    ) -> None:
        """Nothing changes meanwhile.

        Shapes:
            runs: each run that waits or goes on: its sync, at most one of each, and the tick that it is of, if any.
            still_due: the syncs whose tick has no run here yet, with its time.
        """
        self._precedence = precedence
        self._names = {name for name, _ in runs}
        self._at = defaultdict[datetime, set[str]](set)
        #: The lowest rank of the runs of a tick, by store and kind.
        self._lowest = dict[tuple[datetime, str, int], int]()
        self._due = still_due
        self._kinds = defaultdict[str, set[int]](set)
        self._ticks = defaultdict[tuple[str, int], _Ticks](_Ticks)
        self._bounds = dict[tuple[datetime, str, int], int | None]()
        for name, moment in runs:
            if moment is not None:
                self._at[moment].add(name)
                self._take_run(precedence.place(name), moment)
        latest = max(self._at, default=None)
        if latest is not None:
            self._due = {name: at for name, at in still_due.items() if at <= latest}
            for name, at in sorted(self._due.items(), key=lambda due: due[1]):
                self._take_tick(precedence.place(name), at)

    def has_come(self, name: str, moment: datetime | None) -> bool:
        """Whether no other sync has to go before this run, which is one of *runs*."""
        place = self._precedence.place(name)
        if place is None:
            return True
        if not place.depends_on.isdisjoint(self._names):
            return False
        if moment is None:
            return True
        if not place.after.isdisjoint(self._at[moment]):
            return False
        if any(self._due[other] <= moment for other in self._due.keys() & place.after):
            return False
        bound = self._bound(moment, place.store, place.kind)
        return bound is None or place.rank < bound

    def _take_run(self, place: Place | None, moment: datetime) -> None:
        if place is not None:
            self._kinds[place.store].add(place.kind)
            found = moment, place.store, place.kind
            self._lowest[found] = min(place.rank, self._lowest.get(found, place.rank))

    def _take_tick(self, place: Place | None, at: datetime) -> None:
        if place is not None:
            self._kinds[place.store].add(place.kind)
            ticks = self._ticks[place.store, place.kind]
            ticks.at.append(at)
            ticks.lowest.append(min(place.rank, ticks.lowest[-1]) if ticks.lowest else place.rank)

    def _bound(self, moment: datetime, store: str, kind: int) -> int | None:
        """The lowest rank of what goes before that kind at a tick; those of a higher rank wait for it."""
        asked = moment, store, kind
        if asked not in self._bounds:
            earlier = [other for other in self._kinds[store] if other < kind]
            found = [self._lowest.get((moment, store, other)) for other in earlier]
            found += [self._ticks[store, other].lowest_until(moment) for other in earlier]
            self._bounds[asked] = min((rank for rank in found if rank is not None), default=None)
        return self._bounds[asked]
