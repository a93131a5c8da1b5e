"""The limits, and the clocks, that hold a run before anything is sent; and how many rejected rows it may end with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from syncer.model.errors import QueryResultError
from syncer.model.protocols import ProfileStore
from syncer.model.runs import LimitKind
from syncer.model.types import Limit, OnNull, RunStatus, SyncDefinition
from syncer.snapshot.diff import Difference
from syncer.snapshot.snapshot import Snapshot, Staged
from syncer.sync.progress import Exceeded, HeldError, RunOptions

#: A share means something from so many rows on; a broken query must not remove small syncs either.
SHARES_COUNT_FROM = 20
REMOVALS_COUNT_FROM = 5


#: How much two clocks may differ.
CLOCKS_DIFFER = timedelta(minutes=10)


def went_back(now: datetime, last_run: datetime | None) -> list[str]:
    """Whether a clock that says *now* went back since the last run began or ended, a sentence; empty if it did not."""
    if last_run is None or now >= last_run - CLOCKS_DIFFER:
        return []
    return [
        f"this machine's clock went back, or another machine's was ahead: it is {_moment(now)} here, and the last run "
        f"in the run log was at {_moment(last_run)}"
    ]


def differs(now: datetime, other: datetime | None, whose: str) -> list[str]:
    """Whether two clocks differ by too much, a sentence; *whose* names the other one, such as "warehouse `crm`"."""
    if other is None or abs(now - other) <= CLOCKS_DIFFER:
        return []
    return [f"this machine's clock says {_moment(now)}, and that of {whose} {_moment(other)}"]


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def check(options: RunOptions, found: Sequence[Exceeded], *, removed: int) -> None:
    """Go on only within the limits, or what is allowed of them.

    *found*: the limits that the run exceeds. *removed*: all rows that it removes.

    Raises:
        HeldError: it is held.
    """
    held = []
    for one in found:
        most = options.allow.get(one.kind, 0)
        rows = removed if one.kind is LimitKind.REMOVED else one.rows
        if most is not None and rows > most:
            held.append(one.reason + (f", and more than the {most:,} that are allowed" if most else ""))
    if held:
        raise HeldError(held)


def exceeded(definition: SyncDefinition, staged: Staged, difference: Difference, store: ProfileStore) -> list[Exceeded]:
    """Which limits this run would exceed; empty where it may go on.

    Raises:
        StoreError: *store* did not say how many people it has.
    """
    if definition.target.action is not None or definition.target.entity.traits.happens:
        return _over_own(definition, difference, store)
    limits, known = definition.limits, difference.known
    reasons: list[Exceeded] = []

    def add(kind: LimitKind, rows: int, reason: str) -> None:
        reasons.append(Exceeded(kind=kind, rows=rows, reason=reason))

    if staged.queried == 0 and known > 0 and not limits.allow_empty and not definition.incremental:
        add(LimitKind.EMPTY, known, f"the query returned no row, where the snapshot has {known:,}")
    if staged.schema.sends_removals:
        reasons += over_removed(definition, difference.removed - difference.moved, known)
    if _over(limits.changed, difference.changed, known):
        rows = _share(difference.changed, known)
        most = [f"; `{name}` changed in {n:,} of them" for name, n in difference.changed_attributes().items()]
        sentence = f"{rows} would be changed, over the limit of {limits.changed.words}{''.join(most[:1])}"
        add(LimitKind.CHANGED, difference.changed, sentence)
    if limits.added is not None and _over(limits.added, difference.added, known):
        share = f" to {known:,} ({difference.added / known:.1%})" if known else ""
        sentence = f"{difference.added:,} rows would be added{share}, over the limit of {limits.added.words}"
        add(LimitKind.ADDED, difference.added, sentence)
    if definition.on_null is OnNull.CLEAR:
        for name, (cleared, valued) in difference.cleared_attributes().items():
            if _over(limits.cleared, cleared, valued):
                rows = _share(cleared, valued)
                sentence = f"`{name}` would become NULL in {rows}, over the limit of {limits.cleared.words}"
                add(LimitKind.CLEARED, cleared, sentence)
    return reasons


def _over_own(definition: SyncDefinition, difference: Difference, store: ProfileStore) -> list[Exceeded]:
    """The same of a list, or of events, each of which has a limit of its own alone."""
    if definition.target.action is not None:
        from syncer.sync import lists

        return lists.exceeded(definition, difference, store)
    limit, rows = definition.limits.events, difference.added
    if limit is None or not _over(limit, rows, known=0):
        return []
    reason = f"{rows:,} events would be sent, over the limit of {limit.count:,}"
    return [Exceeded(kind=LimitKind.EVENTS, rows=rows, reason=reason)]


def over_removed(definition: SyncDefinition, rows: int, known: int, what: str = "") -> list[Exceeded]:
    """The limit, or none, that *rows* removed of *known* exceed; *what* they are, if no rows of the snapshot."""
    limit = definition.limits.removed
    if not _over(limit, rows, known, REMOVALS_COUNT_FROM):
        return []
    reason = f"{_share(rows, known)} {what and what + ' '}would be removed, over the limit of {limit.words}"
    return [Exceeded(kind=LimitKind.REMOVED, rows=rows, reason=reason)]


def check_collection_size(definition: SyncDefinition, staged: Staged, store: ProfileStore) -> None:
    """Refuse a collection that is larger than its store takes.

    Raises:
        QueryResultError: it is.
    """
    if definition.target.collection is None:
        return
    size = staged.json_bytes()
    if size > store.collection_bytes:
        raise QueryResultError(
            f"collection `{definition.target.collection}` would be {size:,} bytes of JSON, "
            f"over the {store.collection_bytes:,} that store `{definition.store}` takes; nothing was sent",
            hint="Return fewer rows or columns, or split it into several collections.",
        )


def status(
    definition: SyncDefinition, rejected: int, acknowledged: int, snapshot: Snapshot, notes: list[str]
) -> RunStatus:
    """How a run ends that had an answer for every row; says in *notes* what is tolerated or acknowledged.

    *rejected*: the rows that are rejected now. *acknowledged*: those of them that people know of.
    """
    limit, rows = definition.tolerated, rejected - acknowledged
    if acknowledged:
        notes.append(f"rows that are rejected, and that somebody has acknowledged: {acknowledged:,}")
    if not rows:
        return RunStatus.SUCCESS
    most = limit.count if limit.count is not None else (limit.share or 0.0) * (snapshot.rows + rejected)
    if rows > most:
        return RunStatus.WARNING
    notes.append(f"rows that are rejected, as many as `tolerate` allows ({limit.words}): {rows:,}")
    return RunStatus.SUCCESS


def _over(limit: Limit, rows: int, known: int, counts_from: int = SHARES_COUNT_FROM) -> bool:
    if limit.count is not None:
        return rows > limit.count
    # One row is never a sign of a broken query.
    return rows > 1 and known >= counts_from and rows > (limit.share or 0.0) * known


def _share(rows: int, known: int) -> str:
    if not known:
        return f"{rows:,} rows"
    share = 100 * rows / known
    return f"{rows:,} of {known:,} rows ({share:.1f}%)" if share >= 1 else f"{rows:,} of {known:,} rows ({share:.2g}%)"
