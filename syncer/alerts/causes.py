"""What is wrong with what many syncs use, judged by the runs of all of them; pure, and never about a row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate

from syncer.alerts.conditions import ALIKE, AlertKind, alternates, blames, error_and_hint
from syncer.model.runs import THE_CLOCK
from syncer.model.types import ENDED_WELL, FindingKind, Run, SyncDefinition

#: Syncs that a notice names.
NAMED = 20

_NEVER = datetime.min.replace(tzinfo=UTC)


def used_by(definition: SyncDefinition, place: str) -> tuple[str, ...]:
    """What a sync shares with others, as a Finding names it.

    Shapes:
        place: where its snapshot is shared; empty for one of this machine.
    """
    of_snapshot = [f"snapshots {place}"] if place else []
    return f"warehouse {definition.warehouse}", f"store {definition.store}", *of_snapshot, THE_CLOCK


def depended_on(names: Iterable[str], definitions: Mapping[str, SyncDefinition]) -> set[str]:
    """The syncs that any of *names* depends on, directly or not."""
    found: set[str] = set()
    looked_at = list(names)
    while looked_at:
        new = set(definitions[looked_at.pop()].depends_on) & definitions.keys() - found
        found |= new
        looked_at += new
    return found


def named(syncs: Sequence[str]) -> str:
    """Syncs in a notice, which is never long."""
    more = len(syncs) - NAMED
    return ", ".join(syncs[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A connection, with the newest conclusive runs of each sync that uses it, newest first."""

    #: As a Finding names it.
    about: str
    runs: Mapping[str, Sequence[Run]]
    #: The syncs whose own alert says that they failed.
    failing: Collection[str]
    was_flapping: bool

    @cached_property
    def blaming(self) -> dict[str, Run]:
        """The newest runs that failed for it, by sync; without those of syncs that fail while it works for others."""
        found = {name: runs[0] for name, runs in self.runs.items() if blames(runs[0], self.about)}
        return {name: run for name, run in found.items() if not self.fails_alone(name)}

    def fails_alone(self, name: str) -> bool:
        """Whether a sync blames it in two runs in a row, and others could use it in between."""
        if self.about == THE_CLOCK:
            return False
        newest, *before = self.runs[name]
        if name in self.failing:
            return True
        if not before or not blames(before[0], self.about):
            return False
        ends, starts = self._worked
        place = bisect_right(ends, newest.started_at)
        return place > 0 and starts[place - 1] >= _ended(before[0])

    @cached_property
    def _worked(self) -> tuple[list[datetime], list[datetime]]:
        """When runs ended that could use it, in order, and for each the latest start of those that ended until then."""
        worked = sorted((_ended(run), run.started_at) for runs in self.runs.values() for run in runs if not blames(run))
        return [ended for ended, _ in worked], list(accumulate((started for _, started in worked), max))

    def worked_since(self, at: datetime) -> bool:
        """Whether the newest run of a sync could use it, and ended then or later."""
        if self.about == THE_CLOCK:
            # A wrong clock dated the alert.
            return any(not blames(runs[0]) for runs in self.runs.values())
        return any(not blames(runs[0]) and _ended(runs[0]) >= at for runs in self.runs.values())

    def conditions(self) -> Mapping[AlertKind, str]:
        """What is wrong with it now, with sentences for people."""
        if self.about == THE_CLOCK:
            # Not every run can see it, and none of the times tells what was first.
            return {AlertKind.CLOCK: self._text("")} if self.blaming else {}
        if self._alternates():
            return {AlertKind.FLAPPING: self._text("Runs that use it fail and succeed in turns.")}
        blaming = self.blaming
        # Another connection that fails may have kept a run from this one.
        worked_at = max((runs[0].started_at for runs in self.runs.values() if not blames(runs[0])), default=_NEVER)
        if not blaming or max(map(_ended, blaming.values())) <= worked_at:
            return {}
        return {AlertKind.UNREACHABLE: self._text("")}

    def _text(self, first: str) -> str:
        failed = sorted(name for name, runs in self.runs.items() if any(blames(run, self.about) for run in runs[:1]))
        failures = [run for runs in self.runs.values() for run in runs if blames(run, self.about)]
        said = error_and_hint(max(failures, key=_ended))
        # Without the file of one of them.
        kind, _, name = self.about.partition(" ")
        lines = [first, said[max(said.find(f"{kind} `{name}`"), 0) :]]
        if self.about == THE_CLOCK:
            return "\n".join([*lines[1:], f"Held for it so far: {named(failed)}."])
        lines += [f"Failed for it so far: {named(failed)}."] if failed else []
        others = sorted(self.runs.keys() - set(failed))
        lines += [f"Also used by: {named(others)}."] if others else []
        return "\n".join(filter(None, lines))

    def _alternates(self) -> bool:
        judged = [
            [blames(run, self.about) for run in runs if blames(run, self.about) or run.status in ENDED_WELL]
            for runs in self.runs.values()
        ]
        judged = [are_bad for are_bad in judged if len(are_bad) >= ALIKE]
        flapping = [are_bad for are_bad in judged if alternates(are_bad, already=self.was_flapping)]
        # A connection that was away now and then alternates for a sync that runs once in a while.
        return 2 * len(flapping) > len(judged)


def seen_in_stores(runs: Mapping[str, Run], *, here: str, log_id: str) -> dict[tuple[str, AlertKind], str]:
    """What runs found out about their stores, by store and kind, with sentences for people.

    Shapes:
        runs: by sync.
        here: where the service keeps its state.
    """
    found: dict[tuple[str, AlertKind], list[tuple[str, str]]] = {}
    for name, run in sorted(runs.items()):
        for finding in run.findings:
            if finding.kind in (FindingKind.SHARED, FindingKind.RESTORED):
                found.setdefault((finding.about, AlertKind(finding.kind)), []).append((name, finding.detail))
    return {key: _of_a_store(key[1], each, here=here, log_id=log_id) for key, each in found.items()}


def _of_a_store(kind: AlertKind, found: Sequence[tuple[str, str]], *, here: str, log_id: str) -> str:
    syncs = named([name for name, _ in found])
    if kind is AlertKind.RESTORED:
        return (
            "It is not as the last run left it, such as after a restore from a backup. Each sync sends every row again "
            f"at its next run.\nSeen by: {syncs}."
        )
    ledger, _, run_id = found[0][1].partition(" ")
    return (
        "Two state folders feed it, and overwrite each other's rows. Stop one of the two.\n"
        f"This one: {here}, whose run log is {log_id}.\n"
        f"The other one: its run log is {ledger}, its newest run {run_id}; its own alerts, and the notes of its runs, "
        f"tell where it is.\nSeen by: {syncs}."
    )


def _ended(run: Run) -> datetime:
    return run.finished_at or run.started_at
