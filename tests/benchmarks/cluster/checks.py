"""What must hold after all that befell the cluster, and how it did."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import psycopg

from tests.benchmarks.cluster.faults import Fault, Kind

#: Seconds within which the syncs of a worker that died run again.
LONGEST_WAIT = 20.0

_STANDS_FOR = re.compile(r"also stands? for (an|\d+) earlier ticks?")
_RUNS = "SELECT id, sync, status, due_at, started_at, finished_at, notes, error, ended_by FROM syncer_runs ORDER BY seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run of the run log."""

    id: str
    sync: str
    status: str
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    notes: Sequence[str]
    error: str | None
    ended_by: str | None

    @property
    def stands_for(self) -> int:
        """How many earlier ticks it answers besides its own."""
        found = [match[1] for note in self.notes if (match := _STANDS_FOR.search(note))]
        return sum(1 if number == "an" else int(number) for number in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """How the ticks of all syncs were answered."""

    answered: int
    skipped: int
    stood_for: int
    lost: Sequence[str]
    doubled: Sequence[str]


@dataclass(frozen=True, slots=True)
class Logged:
    """A transaction that touched the fence of a sync."""

    transaction: int
    sync: str
    fence: int
    #: Empty if it only shut older runs out.
    run_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fences:
    """Who wrote to the store."""

    fences: int
    transactions: int
    rows: int
    violations: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long a sync that a worker left waited for its next run."""

    sync: str
    kind: Kind
    at: datetime
    #: From the fault, and from the last fault of any machine that came before the run; infinite if it never ran again.
    seconds: float
    since_last: float


def runs_of(run_log: str) -> list[Ran]:
    """All runs, in the order in which they began."""
    with psycopg.connect(run_log) as connection:
        cursor = connection.execute(_RUNS)
        names = [column.name for column in cursor.description or ()]
        return [Ran(**dict(zip(names, row, strict=True))) for row in cursor]


def ticks_of(runs: Sequence[Ran], *, every: timedelta, until: datetime) -> Ticks:
    """Look for ticks that no run answers, or two do.

    Shapes:
        every: the interval of all syncs.
        until: aware UTC; the ticks before it must be answered, from the first one on that a sync has an answer for.
    """
    by_sync: dict[str, list[Ran]] = defaultdict(list)
    for run in runs:
        if run.due_at is not None:
            by_sync[run.sync].append(run)
    times = Counter((run.sync, run.due_at) for run in runs if run.due_at is not None)
    lost = [line for sync, its in sorted(by_sync.items()) for line in _lost(sync, its, every, until)]
    due = [run for its in by_sync.values() for run in its]
    return Ticks(
        answered=sum(run.status != "skipped" for run in due),
        skipped=sum(run.status == "skipped" for run in due),
        stood_for=sum(run.stands_for for run in due),
        lost=lost,
        doubled=[f"{sync}: two runs of {at:%H:%M:%S}" for (sync, at), number in times.items() if number > 1],
    )


def _lost(sync: str, runs: Sequence[Ran], every: timedelta, until: datetime) -> Iterator[str]:
    ordered = sorted(((run.due_at, run) for run in runs if run.due_at is not None), key=lambda one: one[0])
    for (before, _), (at, run) in pairwise(ordered):
        missed = (at - before) // every - 1
        if missed > run.stands_for:
            yield f"{sync}: {missed} before {at:%H:%M:%S}, whose run is {run.status} and says {[*run.notes]}"
    last, _ = ordered[-1]
    if last + every < until:
        yield f"{sync}: none after {last:%H:%M:%S}, but it was due until {until:%H:%M:%S}"


def left_open(runs: Sequence[Ran]) -> list[str]:
    """Runs that have not ended, and syncs whose last run that began was cut off or failed."""
    last = {run.sync: run for run in runs if run.status != "skipped"}
    return [
        *(f"{run.sync}: run {run.id} is {run.status}" for run in runs if run.finished_at is None),
        *(f"{sync}: its last run is {run.status}" for sync, run in last.items() if run.status != "success"),
    ]


def fences_of(store: str) -> Fences:
    """Look whether a run wrote after a newer one of its sync, or without a fence of its own."""
    with psycopg.connect(store) as connection:
        log = connection.execute("SELECT transaction, sync, taken, run_id, at FROM logged_fences ORDER BY seq")
        logged = [Logged(*row) for row in log]
        writes = connection.execute("SELECT transaction, object_type, rows FROM logged_writes").fetchall()
    wrote = [one for one in logged if one.run_id]
    holders = {(one.transaction, one.sync) for one in wrote}
    spans: dict[tuple[str, int], tuple[datetime, datetime]] = {}
    for one in wrote:
        first, _ = spans.get((one.sync, one.fence), (one.at, one.at))
        spans[one.sync, one.fence] = first, one.at
    return Fences(
        fences=len(spans),
        transactions=len(wrote),
        rows=sum(number for *_, number in writes),
        violations=[
            *_behind(logged),
            *_overlapping(spans),
            *(f"{kind}: {number} rows without a fence" for tx, kind, number in writes if (tx, kind) not in holders),
        ],
    )


def _behind(logged: Sequence[Logged]) -> Iterator[str]:
    """The writes that came after a newer fence; two runs that wrote with one. The log has the order of a sync's writes.

    The row of a sync's fence is locked until the transaction ends that touched it.
    """
    newest, holders = dict[str, int](), dict[tuple[str, int], str]()
    for one in logged:
        if one.fence < newest.get(one.sync, 0):
            yield f"{one.sync}: run {one.run_id} wrote with fence {one.fence} after {newest[one.sync]}"
        newest[one.sync] = max(one.fence, newest.get(one.sync, 0))
        if one.run_id and holders.setdefault((one.sync, one.fence), one.run_id) != one.run_id:
            yield f"{one.sync}: two runs wrote with fence {one.fence}"


def _overlapping(spans: Mapping[tuple[str, int], tuple[datetime, datetime]]) -> Iterator[str]:
    ordered = sorted(spans.items())
    for ((sync, fence), (_, last)), ((other, newer), (first, _)) in pairwise(ordered):
        if sync == other and first < last:
            yield f"{sync}: fence {newer} wrote from {first:%H:%M:%S.%f} on, fence {fence} until {last:%H:%M:%S.%f}"


def waits_of(faults: Sequence[Fault], runs: Sequence[Ran]) -> list[Wait]:
    """How long each sync waited that a worker was running when it was killed, or stopped for long."""
    begun: dict[str, list[datetime]] = defaultdict(list)
    for run in runs:
        if run.status not in ("skipped", "queued"):
            begun[run.sync].append(run.started_at)
    found = []
    for fault in faults:
        for sync in () if fault.kind is Kind.SHORT_STOP else fault.syncs:
            again = min(
                (at for at in begun[sync] if at > fault.at), default=datetime.max.replace(tzinfo=fault.at.tzinfo)
            )
            last = max(one.at for one in faults if one.at < again)
            found.append(
                Wait(
                    sync=sync,
                    kind=fault.kind,
                    at=fault.at,
                    seconds=(again - fault.at).total_seconds(),
                    since_last=(again - last).total_seconds(),
                )
            )
    return found
