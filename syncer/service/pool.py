"""The runs of the service: which wait, which go on side by side, and who goes before whom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime

from syncer.definitions.order import Precedence
from syncer.model.errors import SyncerError
from syncer.model.spelling import listed
from syncer.model.types import ENDED_WELL, Run, RunStatus
from syncer.observability import logs
from syncer.service.active_runs import ActiveRun
from syncer.state.runs import OvertakenError, RunLog, TickAnsweredError
from syncer.sync.runner import Runner

log = logging.getLogger(__name__)

#: Of what is told of a run that ended so.
_LEVELS = {RunStatus.FAILED: logging.ERROR, RunStatus.HELD: logging.WARNING, RunStatus.WARNING: logging.WARNING}

#: Seconds after which a run that waits looks again whether it may begin, whatever it was told.
_LOOK_AGAIN = 1.0


class AlreadyActiveError(Exception):
    """The sync has a run that waits or goes on."""

    def __init__(self, live: ActiveRun) -> None:
        super().__init__(live.name)
        self.live = live


class ClosedError(Exception):
    """The service is stopping, or does not lead: it takes no more runs. Its text tells people why."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Runs side by side, at most one of a sync; first come, first served, as far as others are not awaited."""

    runner: Runner
    run_log: RunLog
    size: int
    now: Callable[[], datetime]
    #: The syncs that have a tick at or before a moment whose run is still to be asked for.
    still_due: Callable[[datetime], Collection[str]] = lambda _due_at: frozenset()
    #: Changes with the definitions.
    precedence: Precedence = field(default_factory=lambda: Precedence([]))
    #: Told of every run that has ended, in the order they end.
    ended: list[Callable[[ActiveRun], None]] = field(default_factory=list)
    _lives: list[ActiveRun] = field(default_factory=list)
    #: The moment of each sync's last run here, and whether that ended well.
    _last: dict[str, tuple[datetime | None, bool]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: bool = False

    def open(self) -> None:
        """Begin to take runs."""
        for number in range(self.size):
            thread = threading.Thread(target=self._work, name=f"run {number + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, live: ActiveRun) -> None:
        """Let a run begin as soon as it may.

        Raises:
            AlreadyActiveError: the sync has one that waits or goes on.
            ClosedError: no more runs are taken.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("this service is stopping")
            other = self._of(live.name)
            if other is not None:
                raise AlreadyActiveError(other)
            self._lives.append(live)
            self._changed.notify_all()

    def lives(self) -> list[ActiveRun]:
        """What waits and what goes on, in the order asked for."""
        with self._changed:
            return list(self._lives)

    def of(self, name: str) -> ActiveRun | None:
        """The run of a sync that waits or goes on."""
        with self._changed:
            return self._of(name)

    def close(self, by: str, seconds: float) -> bool:
        """Begin no more runs, let those that go on end after the batch in hand, and wait so long for them.

        Shapes:
            by: for the run log, why they stop.
            returns: whether all have ended.
        """
        with self._changed:
            self._closed = True
            waiting = [live for live in self._lives if live.began_at is None]
            going_on = [live for live in self._lives if live.began_at is not None]
            self._lives = going_on.copy()
            self._changed.notify_all()
        for live in going_on:
            live.stop(by)
        for live in waiting:
            self._abandon(live, by)
        with self._changed:
            return self._changed.wait_for(lambda: not self._lives, timeout=seconds)

    def take_out(self, live: ActiveRun, by: str) -> bool:
        """End a run that waits before it begins; returns whether it did wait."""
        with self._changed:
            if live not in self._lives or live.began_at is not None:
                return False
            self._lives.remove(live)
            self._changed.notify_all()
        self._abandon(live, by)
        return True

    def _of(self, name: str) -> ActiveRun | None:
        return next((live for live in self._lives if live.name == name), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (live := self._next()) is None:
                    if self._closed:
                        return
                    self._changed.wait(_LOOK_AGAIN)
                live.began_at = self.now()
            self._run(live)

    def _next(self) -> ActiveRun | None:
        """The first that waits and need not wait any longer."""
        waiting = (live for live in self._lives if live.began_at is None)
        return next((live for live in waiting if not self._awaited(live)), None)

    def _awaited(self, live: ActiveRun) -> bool:
        """Whether another sync has to go first."""
        others = [other for other in self._lives if other is not live]
        if any(self.precedence.depends(live.name, other.name) for other in others):
            return True
        if live.moment is None:
            return False
        same_moment = {other.name for other in others if other.moment == live.moment} | set(self.still_due(live.moment))
        return any(self.precedence.goes_before(name, live.name) for name in same_moment)

    def _run(self, live: ActiveRun) -> None:
        with logs.about(live):
            try:
                self._run_or_skip(live)
            except TickAnsweredError:
                log.info("the tick was answered elsewhere")
            except OvertakenError:
                log.info("another service leads by now")
            except SyncerError as exc:
                log.warning("the run did not go on: %s", exc)
            except Exception:
                log.exception("the run could not be recorded")
            finally:
                self._end(live)

    def _run_or_skip(self, live: ActiveRun) -> None:
        missing = self._failed_before(live)
        if missing:
            reason = f"not run, as it depends on {listed(missing, last='and')}, which did not end well"
            self._skip(live, reason)
        else:
            live.run = self.runner.run(live.definition, order=live.order, options=live.options, progress=live.progress)

    def _failed_before(self, live: ActiveRun) -> list[str]:
        """What this tick's run depends on and did not end well at the same tick."""
        if live.moment is None:
            return []
        return [name for name in live.definition.depends_on if self._last.get(name) == (live.moment, False)]

    def _skip(self, live: ActiveRun, reason: str) -> None:
        run_id = self.run_log.record_skipped(
            live.name, live.order, live.definition.hash, live.began_at or self.now(), note=reason
        )
        live.run = self.run_log.get(run_id)

    def _abandon(self, live: ActiveRun, by: str) -> None:
        """End a run that never began; a tick stays unanswered, and is caught up with."""
        if live.order.run_id:
            self.run_log.finish(live.order.run_id, RunStatus.INTERRUPTED, self.now(), error=by)
            live.run = self.run_log.get(live.order.run_id)
        live.ended.set()

    def _end(self, live: ActiveRun) -> None:
        if live.run is None and live.run_id:
            live.run = self.run_log.get(live.run_id)
        with self._changed:
            self._lives.remove(live)
            self._last[live.name] = (live.moment, ended_well(live.run))
            self._changed.notify_all()
        live.ended.set()
        if live.run is not None:
            _tell_of_the_end(live.run)
        for told in self.ended:
            try:
                told(live)
            except Exception:
                log.exception("what follows a run failed")


def ended_well(run: Run | None) -> bool:
    """Whether a run delivered what it found."""
    return run is not None and run.status in ENDED_WELL


def _tell_of_the_end(run: Run) -> None:
    seconds = round((run.finished_at - run.started_at).total_seconds(), 3) if run.finished_at else None
    told: dict[str, object] = {"status": run.status.value, "seconds": seconds, **asdict(run.counts)}
    if error := run.error or run.cause:
        told["error"] = str(error)
    log.log(_LEVELS.get(run.status, logging.INFO), "the run ended", extra=told)
