"""What users make the service do, and the audit log of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from syncer.model.runs import LimitKind
from syncer.model.types import Acknowledgement, Run
from syncer.service.pool import ActiveRun, AlreadyActiveError, ClosedError
from syncer.service.service import Service
from syncer.settings.service import Role
from syncer.state.alerts import Mute, Mutes
from syncer.state.audit import Audit, AuditAction
from syncer.state.cancellations import Cancellations
from syncer.state.rejections import ACKNOWLEDGED, RejectionFilter, Rejections
from syncer.state.runs import REQUESTS_COUNT
from syncer.state.service_schema import requests
from syncer.sync.keys import key_parts
from syncer.sync.plans import Plan
from syncer.sync.progress import RunOptions
from syncer.web.auth.access import Caller
from syncer.web.problems import ProblemError
from syncer.web.requests import RunRequest

#: Plans side by side; each queries a warehouse.
_PLANS = 2

#: Seconds to wait for a run that has ended to release its sync.
_RELEASE = 10

#: Seconds between two looks at a run or a plan that somebody waits for.
_PAUSE = 0.1


@dataclass(slots=True, kw_only=True)
class UserActions:
    """Carries out what callers ask for, and adds it to the audit log."""

    service: Service
    audit: Audit
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _plans: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_PLANS))

    def run(self, caller: Caller, sync: str, request: RunRequest, key: str | None = None) -> str:
        """Start a run, and return its id; the same request with the same *key* again returns the same run.

        Raises:
            ProblemError: the caller may not lift a limit, the sync is already running, the service accepts no runs, or
                the key is of another request.
            SyncerError: there is no such sync, or no such plan that can be run, or the run log cannot be used.
        """
        options = _options(request)
        if options.needs_approval:
            caller.require(Role.APPROVER)
        # No other caller's key equals it.
        key = f"{caller.actor}\n{key}" if key else ""
        words = " ".join(options.words)
        # Without the lock: the place of plans may answer late. The plan of a request that is known may be used already.
        is_new = bool(options.plan) and not (key and self._known(key, sync, words))
        if is_new and self.service.plans.find(options.plan, sync).needs_approval:
            caller.require(Role.APPROVER)
        with self._lock:
            known = key and self._known(key, sync, words)
            if known:
                return known
            run_id = self._start(caller, sync, options, key)
        self._record(AuditAction.RUN, caller, sync, run_id, options.words)
        return run_id

    def send_row(self, caller: Caller, sync: str, key: str) -> str:
        """Start a run of the row with a key as `rejected` shows it, changed or not, and return its id.

        Raises:
            ProblemError: the row has no key, the sync is already running, or the service accepts no runs.
            SyncerError: as `run`.
        """
        parts = key_parts(self.service.definition(sync), key)
        if not any(parts):
            raise ProblemError(422, "the row has no key", hint="Run the sync: it tries every rejected row again.")
        options = RunOptions(only=tuple(parts))
        with self._lock:
            run_id = self._start(caller, sync, options, "")
        self._record(AuditAction.RUN, caller, sync, run_id, options.words)
        return run_id

    def cancel(self, caller: Caller, run: Run) -> ActiveRun | None:
        """Make a run stop after its current batch; None if another process makes it, which notices within seconds.

        Raises:
            ProblemError: it has ended.
        """
        if run.finished_at is not None:
            raise ProblemError(409, "the run is over", run_id=run.id)
        active_run = self.service.cancel(run.id, actor=caller.actor)
        if active_run is None:
            Cancellations(self.service.run_log.database).ask(run.id, caller.actor, self.service.now())
        self._record(AuditAction.CANCEL, caller, run.sync, run.id)
        return active_run

    def pause(self, caller: Caller, sync: str) -> None:
        """Pause the schedule of a sync."""
        self.service.pause(sync)
        self._record(AuditAction.PAUSE, caller, sync)

    def resume(self, caller: Caller, sync: str) -> None:
        """Resume the schedule of a sync."""
        self.service.resume(sync)
        self._record(AuditAction.RESUME, caller, sync)

    def acknowledge(self, caller: Caller, sync: str, wanted: RejectionFilter, why: str, until: datetime | None) -> int:
        """Let rejected rows count no more until then, or for ACKNOWLEDGED; returns how many.

        Raises:
            ProblemError: the caller is no approver, or the time has passed.
        """
        caller.require(Role.APPROVER)
        now = self.service.now()
        if until is not None and until <= now:
            raise ProblemError(422, "the time has passed", hint="Name a time in the future.")
        given = Acknowledgement(by=caller.actor, reason=why, at=now, until=until or now + ACKNOWLEDGED)
        rows = Rejections(self.service.run_log.database).acknowledge(sync, wanted, given)
        self._record(AuditAction.ACKNOWLEDGE, caller, sync)
        return rows

    def unacknowledge(self, caller: Caller, sync: str, wanted: RejectionFilter) -> int:
        """Let acknowledged rows count again; returns how many.

        Raises:
            ProblemError: the caller is no approver.
        """
        caller.require(Role.APPROVER)
        rows = Rejections(self.service.run_log.database).unacknowledge(sync, wanted, now=self.service.now())
        self._record(AuditAction.UNACKNOWLEDGE, caller, sync)
        return rows

    def mute(self, caller: Caller, sync: str, reason: str, until: datetime) -> None:
        """Let nobody get a notice of a sync until then."""
        mute = Mute(sync=sync, actor=caller.actor, reason=reason, at=self.service.now(), until=until)
        Mutes(self.service.run_log.database).mute(mute)
        self._record(AuditAction.MUTE, caller, sync)

    def unmute(self, caller: Caller, sync: str) -> None:
        """Let a muted sync send notices again."""
        Mutes(self.service.run_log.database).unmute(sync)
        self._record(AuditAction.UNMUTE, caller, sync)

    async def plan(self, caller: Caller, sync: str, rows: int, *, keep: bool) -> Plan:
        """Plan a sync, with so many sample rows of each kind of change; *keep* the plan, for a run.

        Raises:
            ProblemError: too many plans are in progress.
            SyncerError: as `Service.plan`.
        """
        if not self._plans.acquire(blocking=False):
            raise ProblemError(503, "other plans are in progress", hint="Try again when they are done.")
        planning = _in_daemon(lambda: self._plan(caller, sync, rows, keep), f"plan {sync}")
        while not planning.done():
            await asyncio.wait([planning], timeout=_PAUSE)
            if self.service.closing.is_set():
                planning.cancel()
                raise self._closed()
        return planning.result()

    def _plan(self, caller: Caller, sync: str, rows: int, keep: bool) -> Plan:
        try:
            self.service.definition(sync)
            self._record(AuditAction.PLAN, caller, sync)
            return self.service.plan(sync, sample_rows=rows, keep=keep)
        finally:
            self._plans.release()

    def _start(self, caller: Caller, sync: str, options: RunOptions, key: str) -> str:
        self.service.definition(sync)
        other = self.service.elsewhere(sync)
        if other is not None:
            raise _already_running(other.id)
        try:
            try:
                return self.service.run_now(sync, actor=caller.actor, options=options, request=key).run_id
            except AlreadyActiveError as exc:
                if not self._is_ending(exc.active_run):
                    raise
            return self.service.run_now(sync, actor=caller.actor, options=options, request=key).run_id
        except AlreadyActiveError as exc:
            raise _already_running(exc.active_run.run_id) from None
        except ClosedError:
            raise self._closed() from None

    def _is_ending(self, active_run: ActiveRun) -> bool:
        """Whether a run has ended in the run log, and its process releases the sync; waits for that."""
        run = self.service.run_log.get(active_run.run_id) if active_run.run_id else None
        return run is not None and run.finished_at is not None and active_run.ended.wait(_RELEASE)

    def _closed(self) -> ProblemError:
        if self.service.closing.is_set() or self.service.leads:
            return ProblemError(503, "the service is stopping", hint="Try again when it is back.")
        if self.service.is_about_to_lead:
            return ProblemError(503, "this service is about to lead", hint="Try again in a few seconds.")
        leader = self.service.leadership.leader() or "another one"
        return ProblemError(503, f"this service stands by; {leader} leads", hint="Send the request to the leader.")

    def _record(
        self, action: AuditAction, caller: Caller, sync: str, run_id: str = "", options: Sequence[str] = ()
    ) -> None:
        self.audit.record(action, actor=caller.actor, address=caller.address, sync=sync, run_id=run_id, options=options)

    def _known(self, key: str, sync: str, options: str) -> str | None:
        query = sa.select(requests).where(
            requests.c.key == key, requests.c.requested_at > self.service.now() - REQUESTS_COUNT
        )
        with self.service.run_log.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if (row.sync, row.options) != (sync, options):
            hint = "Use a new key for each request."
            raise ProblemError(422, "another request used this Idempotency-Key", hint=hint)
        return str(row.run_id)


def _options(request: RunRequest) -> RunOptions:
    if request.plan and request.full:
        raise ProblemError(422, "`plan` and `full` do not go together", hint="A plan's run sends the plan's rows.")
    allow = request.allow.model_dump(exclude={"clock"}, exclude_none=True)
    return RunOptions(
        full=request.full,
        allow_limits=request.allow_limits,
        allow_clock=request.allow_clock or request.allow.clock is True,
        allow={LimitKind(kind): rows for kind, rows in allow.items()},
        plan=request.plan,
    )


def _already_running(run_id: str) -> ProblemError:
    detail = "the sync runs already" if run_id else "the sync is about to run"
    return ProblemError(409, detail, hint="Wait until that run ends, or cancel it.", run_id=run_id or None)


async def until_ended(active_run: ActiveRun | None, seconds: float, is_unwanted: Callable[[], Awaitable[bool]]) -> None:
    """Wait for the end of a run, but not longer than *seconds* or than somebody wants it; takes no thread."""
    deadline = time.monotonic() + seconds
    while active_run is not None and not active_run.ended.is_set() and time.monotonic() < deadline:
        await asyncio.sleep(_PAUSE)
        if await is_unwanted():
            return


def _in_daemon(work: Callable[[], Plan], name: str) -> asyncio.Future[Plan]:
    """The result of *work* in a thread that does not keep the process from ending."""
    future: concurrent.futures.Future[Plan] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return asyncio.wrap_future(future)
