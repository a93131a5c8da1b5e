"""The limits that hold a run before anything is sent."""

from __future__ import annotations

from syncer.model.types import Limit, SyncDefinition
from syncer.snapshot.diff import Difference
from syncer.snapshot.snapshot import Staged

#: Rows of snapshot from which on a share of it means something.
SHARES_COUNT_FROM = 20


def exceeded(definition: SyncDefinition, staged: Staged, difference: Difference) -> list[str]:
    """Which limits this run would exceed, a sentence each; empty where it may go on."""
    limits, known = definition.limits, difference.known
    if staged.queried == 0 and known > 0 and not limits.allow_empty and not definition.incremental:
        return [f"the query returned no row, where the snapshot has {known:,}"]
    reasons = []
    if staged.schema.sends_removals and _over(limits.removed, difference.removed, known):
        rows = _share(difference.removed, known)
        reasons.append(f"{rows} would be removed, over the limit of {_words(limits.removed)}")
    if _over(limits.changed, difference.changed, known):
        rows = _share(difference.changed, known)
        most = [f"; `{name}` changed in {n:,} of them" for name, n in difference.changed_attributes().items()]
        reasons.append(f"{rows} would be changed, over the limit of {_words(limits.changed)}{''.join(most[:1])}")
    return reasons


def _over(limit: Limit, rows: int, known: int) -> bool:
    if limit.count is not None:
        return rows > limit.count
    return known >= SHARES_COUNT_FROM and rows > (limit.share or 0.0) * known


def _share(rows: int, known: int) -> str:
    return f"{rows:,} of {known:,} rows ({rows / known:.1%})" if known else f"{rows:,} rows"


def _words(limit: Limit) -> str:
    return f"{limit.count:,} rows" if limit.count is not None else f"{limit.share:.0%}"
