"""The newest runs of each sync, read from the run log again only where there is a newer one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from syncer.alerts.conditions import COMPARED, WINDOW
from syncer.model.types import CONCLUSIVE, ENDED_WELL, Run
from syncer.state.runs import RunLog


class RecentRuns:
    """What one observer knows of the newest runs; for one thread at a time."""

    def __init__(self, run_log: RunLog) -> None:
        self._run_log = run_log
        #: The newest run of each sync when its runs were read, by its place in the log.
        self._seen: dict[str, int] = {}
        self._conclusive: dict[str, Sequence[Run]] = {}
        self._well: dict[str, Sequence[Run]] = {}

    def look(self, syncs: Collection[str]) -> None:
        """Read what is new of *syncs*: one statement, and two more if there is anything."""
        now = self._run_log.newest_conclusive(syncs)
        for sync in set(syncs) - now.keys():
            self._forget(sync)
        newer = [sync for sync, seq in now.items() if self._seen.get(sync) != seq]
        if newer:
            for known, number, statuses in (
                (self._conclusive, WINDOW, CONCLUSIVE),
                (self._well, COMPARED + 1, ENDED_WELL),
            ):
                found = self._run_log.newest(newer, number, statuses=statuses)
                known.update((sync, _slim(found.get(sync, ()))) for sync in newer)
            self._seen.update((sync, now[sync]) for sync in newer)

    def conclusive(self, syncs: Iterable[str]) -> Mapping[str, Sequence[Run]]:
        """The newest runs with one of CONCLUSIVE of each of *syncs* that has one, newest first, at most WINDOW."""
        return {sync: self._conclusive[sync] for sync in syncs if self._conclusive.get(sync)}

    def well(self, sync: str) -> Sequence[Run]:
        """The newest runs of a sync that ended well, newest first, one more than COMPARED."""
        return self._well.get(sync, ())

    def _forget(self, sync: str) -> None:
        for known in (self._seen, self._conclusive, self._well):
            known.pop(sync, None)


def _slim(runs: Iterable[Run]) -> Sequence[Run]:
    """Without what no alert needs: there may be ten thousands of them."""
    return tuple(replace(run, phases={}, notes=(), definition_hash="") for run in runs)
