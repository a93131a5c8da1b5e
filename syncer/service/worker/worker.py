"""One worker: it makes the runs that jobs name, while it has their leases, and shows that it lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncer.model.errors import StateDatabaseError, SyncerError
from syncer.model.types import EndedBy, Order, Run, RunStatus, SyncDefinition
from syncer.observability import logs
from syncer.service.catalog import Catalog
from syncer.service.worker.held_run import LOST, HeldRun, seconds_since_boot
from syncer.service.worker.jobs import JobLoop
from syncer.state.cancellations import Cancellations
from syncer.state.leases import BEAT, DEAD, Leases
from syncer.state.runs import OvertakenError, RunLog
from syncer.sync.progress import RunOptions
from syncer.sync.runner import Runner

log = logging.getLogger(__name__)

#: Seconds between two looks at what other processes ask of the runs, of which every second one is a beat.
_LOOK_AGAIN = BEAT.total_seconds() / 2

#: Seconds after which jobs are taken again where the database could not be used, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


@dataclass(slots=True, kw_only=True)
class Worker:
    """Makes runs until it is told to stop."""

    runner: Runner
    run_log: RunLog
    catalog: Catalog
    #: Unique among all that share the run log.
    name: str
    host: str
    #: Empty for all.
    queues: Sequence[str]
    concurrency: int
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: How long after its order a run waits for its definition: files reach machines one after the other.
    patience: timedelta = timedelta(seconds=60)
    _held: dict[str, HeldRun] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    #: Set once no run goes on, and none begins.
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _jobs: JobLoop | None = None
    #: When a beat was recorded last.
    _beat_at: float = 0.0

    def work(self, ready: Callable[[], object]) -> None:
        """Make runs until `stop`, through outages of the run log of any length; returns once all have ended.

        Shapes:
            ready: called once, when the first job can be taken.
        """
        beating = threading.Thread(target=self._beat_on, name="beat", daemon=True)
        beating.start()
        told, pause = threading.Event(), _FIRST_PAUSE

        def begun() -> None:
            if not told.is_set():
                told.set()
                ready()

        while not self._stopping.is_set():
            at = time.monotonic()
            try:
                self._take(begun)
                if not self._stopping.is_set():
                    log.warning("jobs are taken anew, as the run log could not be used for a while")
            except SyncerError:
                raise
            except Exception as exc:
                # Its text may hold the address and the user of the database.
                log.warning("no job can be taken, as the run log cannot be used: %s", type(exc).__name__)
            pause = _FIRST_PAUSE if time.monotonic() - at > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            self._stopping.wait(pause)
        self._ended.set()
        beating.join()
        try:
            self._leases.leave(self.name)
        except StateDatabaseError as exc:
            log.warning("the run log shows this worker for a while: %s", exc)

    def stop(self, why: str) -> None:
        """Begin no more runs, and let those that go on end after the batch in hand; *why* is for the run log."""
        with self._lock:
            self._stopping.set()
            held, jobs = [*self._held.values()], self._jobs
        if jobs is not None:
            jobs.stop()
        for one in held:
            one.progress.token.cancel(why, EndedBy.SHUTDOWN)

    def make(self, run_id: str) -> None:
        """Make a run that waits to begin; nothing, if it does not, or another worker runs its sync."""
        try:
            self._make(run_id)
        except OvertakenError:
            # The leader, or who leads next, lets a worker look again.
            log.info("the run was ended, or another service leads by now", extra={"run": run_id})
        except SyncerError as exc:
            log.warning("the run, or its end, cannot be recorded: %s", exc, extra={"run": run_id})
        except Exception:
            log.exception("a run ended with an error", extra={"run": run_id})

    @property
    def _leases(self) -> Leases:
        return Leases(self.run_log.database)

    def _take(self, begun: Callable[[], None]) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._jobs = JobLoop(
                arguments=self.run_log.database.arguments,
                name=self.name,
                queues=self.queues,
                concurrency=self.concurrency,
                run=self.make,
            )
        self._jobs.take(begun)

    def _make(self, run_id: str) -> None:
        run = self.run_log.get(run_id)
        if run is None or run.status is not RunStatus.QUEUED or self._stopping.is_set():
            return
        definition = self._definition(run)
        if definition is None and self.now() < run.started_at + self.patience:
            log.info("this worker has no definition of the sync yet", extra={"sync": run.sync, "run": run.id})
            return
        if definition is None:
            note = f"not run, as the worker {self.name} has no definition of it"
            self.run_log.record_skipped(run.sync, _order(run), run.definition_hash, self.now(), note=note)
            return
        if not self._leases.take(run.sync, run.id, self.name, self.now()):
            log.info("another worker runs this sync still", extra={"sync": run.sync, "run": run.id})
            return
        held = HeldRun(leases=self._leases, run=run, worker=self.name)
        with self._lock:
            self._held[run.id] = held
            is_stopping = self._stopping.is_set()
        try:
            if not is_stopping:
                self._run(held, definition)
            # Else the lease stays until a leader has found out that it is out of date, and ends the run.
            self._leases.release(run.sync, run.id, self.name)
        finally:
            with self._lock:
                del self._held[run.id]

    def _definition(self, run: Run) -> SyncDefinition | None:
        found = self.catalog.get(run.sync)
        if found is None or found.hash != run.definition_hash:
            self.catalog.reload()
            found = self.catalog.get(run.sync)
        return found

    def _run(self, held: HeldRun, definition: SyncDefinition) -> None:
        run = held.run
        with logs.about(held):
            try:
                ended = self.runner.run(
                    definition,
                    order=_order(run, worker=self.name),
                    options=RunOptions.of(run.options),
                    progress=held.progress,
                )
            except OvertakenError:
                self._leases.release(run.sync, run.id, self.name)
                raise
            log.info("the run ended", extra={"status": ended.status.value})

    def _beat_on(self) -> None:
        """Show that this worker lives, and follow what others ask of its runs, until the last one has ended."""
        looks = 0
        self._beat_at = seconds_since_boot()
        while not self._ended.is_set():
            try:
                self._look(with_beat=looks % 2 == 0)
            except StateDatabaseError as exc:
                log.warning("that this worker lives cannot be shown: %s", exc)
            except Exception:
                log.exception("that this worker lives could not be shown")
            self._end_overdue()
            looks += 1
            if self._stopping.wait(_LOOK_AGAIN):
                # The last runs are about to end.
                self._ended.wait(_LOOK_AGAIN)

    def _look(self, *, with_beat: bool) -> None:
        with self._lock:
            held = dict(self._held)
        if with_beat:
            at = seconds_since_boot()
            still = self._leases.beat(self.name, self.host, self.queues, held)
            self._beat_at = at
            for run_id in held.keys() - still:
                # Unless it has let go itself meanwhile.
                if run_id in self._held:
                    held[run_id].progress.token.cancel(LOST, EndedBy.TAKEOVER)
        if held:
            for run_id, actor in Cancellations(self.run_log.database).of(held).items():
                held[run_id].progress.token.cancel(f"stopped by {actor}", EndedBy.PERSON)

    def _end_overdue(self) -> None:
        """End the runs whose leases are out of date, as no beat could be recorded: by now others may make them."""
        if seconds_since_boot() - self._beat_at > DEAD.total_seconds():
            with self._lock:
                held = [*self._held.values()]
            for one in held:
                one.progress.token.cancel(LOST, EndedBy.TAKEOVER)


def _order(run: Run, worker: str = "") -> Order:
    return Order(trigger=run.trigger, actor=run.actor, due_at=run.due_at, term=run.term, run_id=run.id, worker=worker)
