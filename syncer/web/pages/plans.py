"""A plan as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncer.model.json_text import differing
from syncer.sync.plans import Plan

_CHANGES = ("added", "changed", "removed")

#: Characters of a value beyond which a page shows no more.
_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the sample."""

    key: str
    #: Attribute, old and new value as JSON.
    values: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The sample of one sort of change."""

    change: str
    total: int
    rows: Sequence[Row]


def counts(plan: Plan) -> dict[str, int]:
    """The counts of the run that it would be."""
    return {
        "queried": plan.staged.queried,
        "added": plan.difference.added,
        "changed": plan.difference.changed,
        "removed": plan.difference.removed,
        "unchanged": plan.difference.unchanged,
        "rejected": plan.staged.quarantined,
    }


def parts(plan: Plan, counted: Mapping[str, int]) -> list[Part]:
    """The sample by sorts of change; none for a sort that has no row."""
    return [
        Part(
            change=change,
            total=counted[change],
            rows=[
                Row(key=key, values=[(name, _shown(old), _shown(new)) for name, old, new in differing(before, after)])
                for sort, key, before, after in plan.sample
                if sort == change
            ],
        )
        for change in _CHANGES
        if counted[change]
    ]


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value):,} characters)"
