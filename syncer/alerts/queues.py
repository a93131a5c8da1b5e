"""Runs that wait while no worker lives that takes their queue: one incident, however many syncs wait."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from syncer.alerts.causes import depended_on, named
from syncer.alerts.conditions import AlertKind
from syncer.alerts.messages import ALL_WORK, Change, about_queue
from syncer.service.remote_runs import WaitingRun
from syncer.service.service import Service
from syncer.state.leases import KnownWorker

#: Seconds for which runs wait so before anybody is told: a worker that starts again is away for less.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattended:
    """What is new about work that no worker takes."""

    changes: Sequence[Change] = ()
    #: Those that wait, for a worker or for a sync that does: none of them is late for a reason of its own.
    syncs: Collection[str] = ()


@dataclass(slots=True, kw_only=False)
class Queues:
    """The queues of one service, as its alerts see them; for one thread at a time."""

    service: Service
    #: Seconds.
    patience: float = field(kw_only=True)
    #: Since when each has work and no worker, by the monotonic clock.
    _since: dict[str, float] = field(default_factory=dict)

    def look(self, known: Collection[str]) -> Unattended:
        """Compare the queues with the open alerts about them, *known*.

        While nothing waits, and no alert is open, this asks nothing of the run log.

        Raises:
            StateDatabaseError: the run log cannot be used.
        """
        remote = self.service.remote_runs
        if remote is not None and not self.service.leads:
            # Whether anything waits, a leader knows once it has taken over what the one before it ordered.
            self._since.clear()
            return Unattended()
        waiting = remote.waiting() if remote else []
        workers = remote.leases.workers() if remote and waiting else []
        living = [one for one in workers if one.lives]
        left = [run for run in waiting if not any(one.takes(run.queue) for one in living)]
        wrong = self._wrong(left, living, workers, known)
        changes = [
            Change(about=about, opened={AlertKind.WORKERS: text}, closed=[], recovered=False)
            for about, text in wrong.items()
            if about not in known
        ]
        changes += [
            Change(about=about, opened={}, closed=[AlertKind.WORKERS], recovered=True)
            for about in sorted(set(known) - wrong.keys())
        ]
        return Unattended(changes=changes, syncs=self._waiting_so(waiting, left))

    def _wrong(
        self,
        left: Sequence[WaitingRun],
        living: Sequence[KnownWorker],
        workers: Sequence[KnownWorker],
        known: Collection[str],
    ) -> Mapping[str, str]:
        """What an alert is about now, with its text; one that is open goes on while anything waits so."""
        now = time.monotonic()
        due = dict.fromkeys(run.queue for run in left if run.is_due)
        self._since = {queue: self._since.get(queue, now) for queue in due}
        found: dict[str, str] = {}
        too_long = {queue for queue, since in self._since.items() if now - since >= self.patience}
        if left and not living and (too_long or ALL_WORK in known):
            found[ALL_WORK] = _of_all(left, workers)
        for queue in dict.fromkeys(run.queue for run in left):
            about = about_queue(queue)
            if about in known or (living and queue in too_long):
                found[about] = _of_one(queue, [run for run in left if run.queue == queue], living)
        return found

    def _waiting_so(self, waiting: Sequence[WaitingRun], left: Sequence[WaitingRun]) -> Collection[str]:
        found, definitions = {run.sync for run in left}, self.service.catalog.current.definitions
        if not found:
            return found
        known = [run.sync for run in waiting if run.sync in definitions]
        return found | {name for name in known if depended_on([name], definitions) & found}


def _of_all(left: Sequence[WaitingRun], workers: Sequence[KnownWorker]) -> str:
    last = max(workers, key=lambda one: one.beat_at, default=None)
    queues = sorted({run.queue for run in left})
    return "\n".join(
        [
            f"{_number(left)} since {_first(left):%Y-%m-%d %H:%M:%S} UTC, and no worker lives.",
            "Start `syncer worker` with the settings of the service, on a machine that reaches the same run log, "
            "warehouses and stores.",
            f"Queues: {', '.join(queues)}.",
            f"The last sign was of {last.worker} on {last.host}, at {last.beat_at:%Y-%m-%d %H:%M:%S} UTC."
            if last
            else "No worker is known that did not end in order.",
            f"Syncs: {named(sorted({run.sync for run in left}))}.",
        ]
    )


def _of_one(queue: str, left: Sequence[WaitingRun], living: Sequence[KnownWorker]) -> str:
    others = sorted({name for one in living for name in one.queues})
    return "\n".join(
        [
            f"{_number(left)} since {_first(left):%Y-%m-%d %H:%M:%S} UTC, and no living worker takes queue `{queue}`.",
            f"Start `syncer worker --queues {queue}`, or a worker of all queues; or take `queue: {queue}` out of the "
            "headers.",
            f"Living workers take: {named(others)}.",
            f"Syncs: {named(sorted({run.sync for run in left}))}.",
        ]
    )


def _number(left: Sequence[WaitingRun]) -> str:
    return "A run waits" if len(left) == 1 else f"{len(left):,} runs wait, the first"


def _first(left: Sequence[WaitingRun]) -> datetime:
    return min(run.since for run in left)
