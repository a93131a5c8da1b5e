"""What a run would do, for people who decide whether it should."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from syncer.model.errors import StoreError
from syncer.model.protocols import TriesWriting
from syncer.model.runs import LimitKind
from syncer.model.types import Changes, Counts, Hold
from syncer.snapshot.diff import Difference
from syncer.snapshot.snapshot import Staged
from syncer.sync import limits, lists
from syncer.sync.flow import SyncRun, compare
from syncer.sync.progress import Exceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """What is known of a kept plan, beside its rows. Times are aware UTC."""

    plan_id: str
    sync: str
    created_at: datetime
    expires_at: datetime
    definition_hash: str
    #: Which store, and where in it.
    store: str
    #: From when on an incremental query was asked, in unix seconds.
    last_sync_time: int
    #: The attributes that the result has.
    fed: list[str]
    counts: Counts
    planned: Changes
    #: What would hold the run, a sentence each.
    held: list[str]
    #: The limits that it exceeds, and by how many rows each.
    exceeded: dict[LimitKind, int]
    #: Whether a wrong clock would hold the run.
    clock: bool
    #: Whether it deletes from the store what it removes.
    deletes: bool
    #: Whether it deletes the people whom it adds.
    is_of_deletions: bool = False
    #: The run that has sent it; empty where none has.
    used_by: str = field(default="", compare=False)

    @property
    def needs_approval(self) -> bool:
        """Whether its run sends what a run of the schedule would be held for."""
        return self.clock or bool(self.exceeded)

    @property
    def deletions(self) -> int:
        """Rows that its run deletes from the store."""
        if self.is_of_deletions:
            return self.planned.added + self.planned.changed + self.planned.resent
        return self.planned.removed if self.deletes else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do."""

    staged: Staged
    difference: Difference
    #: Of the run.
    counts: Counts
    #: Whether rows that left the result are removed from the store.
    sends_removals: bool
    #: In how many changed rows each attribute differs, most first.
    attributes: dict[str, int]
    #: Change, key, and the JSON objects before and after; after a list, a JSON text such as `"deleted"`.
    sample: lists.Sample
    #: What would hold the run, a sentence each.
    held: list[str]
    #: Of which kinds.
    holds: frozenset[Hold]
    exceeded: list[Exceeded]
    notes: list[str]
    #: Keys and reasons of rows that would be rejected, or have nobody to update, as far as it can be known: at most
    #: `change_set.NAMED_ROWS`; the key is empty where a row has none.
    would_reject: list[tuple[str, str]]
    #: How many they are.
    would_reject_rows: int
    #: What it is called, if it was kept.
    kept: KeptPlan | None = None

    @property
    def limit_kinds(self) -> set[LimitKind]:
        """What the limits bound that it exceeds."""
        return {one.kind for one in self.exceeded}


def planned(run: SyncRun, *, sample_rows: int) -> Plan:
    """Query and compare for a plan; it shows *sample_rows* of each kind of change."""
    staged, difference = compare(run)
    notes = _forecast(run, staged, difference)
    exceeded = limits.exceeded(run.definition, staged, difference, run.store)
    if run.leftovers:
        rows, found = run.leftovers.counted(run)
        exceeded += found
        notes.append(f"rows that were sent under another definition, and would be removed: {rows:,}")
    # Of no use to a run.
    from syncer.snapshot import change_set

    quarantined = change_set.quarantined(difference) if staged.quarantined else []
    refused, refused_rows = _refused(run, difference)
    held = {Hold.CLOCK: list(run.clock_faults), Hold.LIMITS: [one.reason for one in exceeded]}
    return Plan(
        staged=staged,
        difference=difference,
        counts=run.progress.counts,
        sends_removals=staged.schema.sends_removals,
        attributes=difference.changed_attributes(),
        sample=[*shown(run, difference.sample(sample_rows)), *_altered(difference, sample_rows)],
        held=[reason for reasons in held.values() for reason in reasons],
        holds=frozenset(hold for hold, reasons in held.items() if reasons),
        exceeded=exceeded,
        would_reject=[*quarantined, *refused][: change_set.NAMED_ROWS],
        would_reject_rows=staged.quarantined + refused_rows,
        notes=[*run.progress.notes, *notes],
    )


def shown(run: SyncRun, sample: lists.Sample) -> lists.Sample:
    """The rows of a plan as people are to see them."""
    if run.definition.target.action is None:
        return sample
    return lists.with_outcome(run.definition.target, run.definition.target.action, sample, run.store)


def _altered(difference: Difference, rows: int) -> lists.Sample:
    if not difference.intent.altered:
        return []
    from syncer.snapshot import events

    return events.altered_sample(difference, rows)


def _refused(run: SyncRun, difference: Difference) -> tuple[list[tuple[str, str]], int]:
    """Keys and reasons of rows that the store would refuse, at most `change_set.NAMED_ROWS`, and how many they are."""
    from syncer.model.forecasts import ForecastsRefusals
    from syncer.snapshot import change_set

    if not isinstance(run.store, ForecastsRefusals):
        return [], 0

    rows, create = change_set.puts(difference), run.definition.create
    try:
        found = run.store.would_refuse(run.definition.target, rows.drop_columns("key"), create=create)
    except StoreError:
        # The notes say it.
        return [], 0
    named = found.sort_by("row")[: change_set.NAMED_ROWS]
    keys = rows["key"].take(named["row"]).to_pylist()
    return list(zip(keys, named["reason"].to_pylist(), strict=True)), len(found)


def _forecast(run: SyncRun, staged: Staged, difference: Difference) -> list[str]:
    from syncer.model.forecasts import ForecastingChanges

    store = run.store
    if isinstance(store, TriesWriting) and (fault := store.write_fault()):
        return [f"the run would fail, as the store cannot be written: {fault}"]
    if not isinstance(store, ForecastingChanges):
        return []
    rows = difference.added + difference.changed + difference.sent_again
    rows += difference.removed if staged.schema.sends_removals else 0
    found = store.forecast(run.definition.target, rows=rows, row_bytes=staged.row_bytes())
    return [found] if found else []
