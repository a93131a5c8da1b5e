"""The runs of the service that workers make, on any machine: each is ordered by a job, and followed in the run log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from syncer.model.errors import StateDatabaseError
from syncer.model.types import EndedBy, Run, RunStatus
from syncer.observability import logs
from syncer.service.pool import ActiveRun, Pool
from syncer.service.worker.jobs import JobQueue
from syncer.settings.settings import Settings
from syncer.settings.workers import RunsBy
from syncer.state.cancellations import Cancellations
from syncer.state.database import StateDatabase
from syncer.state.leases import Leases
from syncer.state.runs import OvertakenError

log = logging.getLogger(__name__)

#: Seconds between two looks at the runs that go on.
_LOOK_AGAIN = 0.5

#: Seconds after which the job of a run that has not begun is deferred again: the one before may be lost.
_DEFER_AGAIN = 5.0

_BY = "stopped by "


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """A run that no worker has begun."""

    sync: str
    run_id: str
    queue: str
    #: When it was ordered, aware UTC.
    since: datetime
    #: Whether a worker may begin it: it waits for no other sync, as far as that is known here.
    is_due: bool


@dataclass(kw_only=True)
class RemoteRuns(Pool):
    """Runs side by side, as many as the workers have room for, in the order that `Pool` keeps.

    A run of single rows is made here, as no key is kept that a worker could read.
    """

    jobs: JobQueue
    #: When the job of each run that is followed was deferred last, by the monotonic clock.
    _deferred: dict[str, float] = field(default_factory=dict)
    #: Held by who looks for ends.
    _following: threading.Lock = field(default_factory=threading.Lock)
    #: Whether a run was interrupted that nobody has been told of.
    _is_cut_off: bool = False

    @property
    def leases(self) -> Leases:
        """What tells which worker makes a run."""
        return Leases(self.run_log.database)

    def open(self) -> None:
        """Begin to take runs.

        Raises:
            SettingsError, StateDatabaseError: as `JobQueue.prepare`.
        """
        self.jobs.prepare()
        thread = threading.Thread(target=self._work, name="remote runs", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self, why: str, seconds: float) -> bool:
        """Begin no more runs, and leave those to their workers that are ordered; the next leader follows them."""
        with self._changed:
            self._closed = True
            for active in [one for one in self._active.values() if one.run_id in self._deferred]:
                self._let_go(active)
        return super().close(why, seconds)

    def take_out(self, active: ActiveRun, why: str, by: EndedBy) -> bool:
        """End a run before it begins, or ask its worker to end it; one that this service may not end is let go."""
        if active.run_id not in self._deferred:
            return super().take_out(active, why, by)
        if by is not EndedBy.PERSON:
            with self._changed:
                self._let_go(active)
        elif not self.run_log.withdraw(active.run_id, self.now(), why=why, by=by):
            Cancellations(self.run_log.database).ask(active.run_id, why.removeprefix(_BY), self.now())
        return True

    def waiting(self) -> list[WaitingRun]:
        """The runs that no worker has begun, in the order of their orders; those of single rows need none."""
        with self._changed:
            return [
                WaitingRun(
                    sync=active.name,
                    run_id=active.run_id,
                    queue=active.definition.queue,
                    since=active.asked_at,
                    is_due=active.run_id in self._deferred,
                )
                for active in self._active.values()
                if active.began_at is None and active.options.only is None
            ]

    def elsewhere(self) -> list[Run]:
        """The runs that workers make and nobody follows here: an earlier leader ordered them."""
        ours, leased = {active.run_id for active in self.active_runs()}, self.leases.run_ids()
        return [run for run in self.run_log.open_runs() if run.id in leased and run.id not in ours]

    def follow(self, active: ActiveRun, began_at: datetime) -> None:
        """Follow a run that goes on.

        Raises:
            AlreadyActiveError, ClosedError: as `submit`.
        """
        active.began_at = began_at
        self.submit(active)
        self._deferred[active.run_id] = time.monotonic()

    def end_dead(self) -> bool:
        """End the runs of workers that died; returns whether any run was interrupted since the last call.

        Raises:
            StateDatabaseError: the run log cannot be used; the next call goes on from there.
        """
        freed = self.leases.end_dead(self.now())
        for sync in freed:
            log.warning("the worker of a run of this sync gave no sign for too long", extra={"sync": sync})
        self.jobs.delete_orphans(freed)
        self._look()
        was_cut_off, self._is_cut_off = self._is_cut_off, False
        return was_cut_off or bool(freed)

    def _work(self) -> None:
        while not self._closed:
            try:
                for active in self._picked():
                    self._order(active)
                self._look()
            except StateDatabaseError as exc:
                log.warning("runs are followed later: %s", exc)
            except Exception:
                # Without this thread the service would run nothing.
                log.exception("runs could not be followed")
            with self._changed:
                if not self._closed and self._next() is None:
                    self._changed.wait(_LOOK_AGAIN)

    def _picked(self) -> list[ActiveRun]:
        with self._changed:
            due = [] if self._closed else [*self._due()]
            for active in due:
                if active.options.only is None:
                    self._deferred[active.run_id] = time.monotonic()
                else:
                    active.began_at = self.now()
        return due

    def _waits(self, active: ActiveRun) -> bool:
        return active.run_id not in self._deferred and super()._waits(active)

    def _order(self, active: ActiveRun) -> None:
        if active.options.only is not None:
            threading.Thread(target=self._run, args=(active,), name="run", daemon=True).start()
            return
        with logs.about(active):
            try:
                # Of one that may not, the end is in the run log, as that of every other.
                if self._may_begin(active):
                    self._defer(active)
            except OvertakenError:
                log.info("another service leads by now")
                with self._changed:
                    self._let_go(active)
            except StateDatabaseError as exc:
                log.warning("the run begins later: %s", exc)
                if self._deferred.pop(active.run_id, None) is not None:
                    self._put_back(active)

    def _defer(self, active: ActiveRun) -> None:
        definition = active.definition
        self.jobs.defer(active.name, active.run_id, queue=definition.queue, priority=definition.priority)
        self._deferred[active.run_id] = time.monotonic()

    def _look(self) -> None:
        """Find the ends of runs, and defer jobs again that may be lost."""
        with self._following:
            followed = {one.run_id: one for one in self.active_runs() if one.run_id in self._deferred}
            if not followed:
                return
            queued = self.run_log.queued_ids() & followed.keys()
            found = {run.id: run for run in self.run_log.some(followed.keys() - queued)}
            for run_id in followed.keys() - queued:
                run, active = found.get(run_id), followed[run_id]
                if run is not None and active.began_at is None:
                    active.began_at = run.started_at
                    active.order = replace(active.order, worker=run.worker or "")
                if run is None or run.finished_at is not None:
                    self._follow_end(active, run)
            self._defer_lost([followed[run_id] for run_id in queued])

    def _defer_lost(self, queued: Collection[ActiveRun]) -> None:
        """Defer the jobs again, of runs that wait long, that are not there; thousands may wait."""
        before = time.monotonic() - _DEFER_AGAIN
        late = [active for active in queued if self._deferred.get(active.run_id, before) < before]
        if not late:
            return
        waiting = self.jobs.waiting()
        for active in late:
            if active.name not in waiting:
                self._defer(active)
            elif active.run_id in self._deferred:
                self._deferred[active.run_id] = time.monotonic()

    def _follow_end(self, active: ActiveRun, run: Run | None) -> None:
        with self._changed:
            # Who leads no longer may have let go of it meanwhile.
            if self._active.get(active.name) is not active or self._deferred.pop(active.run_id, None) is None:
                return
        active.run = run
        self._is_cut_off = self._is_cut_off or (run is not None and run.status is RunStatus.INTERRUPTED)
        with logs.about(active):
            self._end(active)

    def _let_go(self, active: ActiveRun) -> None:
        """Follow a run no longer; for who holds the condition."""
        self._deferred.pop(active.run_id, None)
        self._active.pop(active.name, None)
        active.ended.set()
        self._changed.notify_all()


def pool_for(settings: Settings, database: StateDatabase) -> Callable[..., Pool]:
    """What makes the pool of a service: of runs that it makes itself, or that workers do."""
    if settings.runs is RunsBy.WORKERS:
        return partial(RemoteRuns, jobs=JobQueue(database))
    return Pool
