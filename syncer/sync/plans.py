"""What a run would do, for people who decide whether it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncer.model.protocols import ForecastingChanges, ProfileStore
from syncer.model.types import Counts, SyncDefinition
from syncer.snapshot.diff import Difference
from syncer.snapshot.snapshot import Staged
from syncer.sync.flow import limits_passed


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
    #: Change, key, and the JSON objects before and after.
    sample: list[tuple[str, str, str | None, str | None]]
    #: Limits that would hold the run.
    held: list[str]
    notes: list[str]


def planned(
    definition: SyncDefinition,
    staged: Staged,
    difference: Difference,
    *,
    counts: Counts,
    store: ProfileStore,
    notes: Sequence[str],
    sample_rows: int,
) -> Plan:
    """The plan of a run with this difference; *sample_rows* of each kind of change are shown."""
    forecast = _forecast(definition, store, staged, difference)
    return Plan(
        staged=staged,
        difference=difference,
        counts=counts,
        sends_removals=staged.schema.sends_removals,
        attributes=difference.changed_attributes(),
        sample=difference.sample(sample_rows),
        held=limits_passed(definition, staged, difference),
        notes=[*notes, forecast] if forecast else [*notes],
    )


def _forecast(definition: SyncDefinition, store: ProfileStore, staged: Staged, difference: Difference) -> str:
    if not isinstance(store, ForecastingChanges):
        return ""
    rows = difference.added + difference.changed + difference.sent_again
    rows += difference.removed if staged.schema.sends_removals else 0
    return store.forecast(definition.target, rows=rows, row_bytes=staged.row_bytes(store.value_form))
