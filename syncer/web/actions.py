"""What somebody asks the service to do, and that it was they who did."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from syncer.model.types import Run
from syncer.service.active_runs import ActiveRun
from syncer.service.pool import AlreadyActiveError, ClosedError
from syncer.service.service import Service
from syncer.state.audit import Audit, AuditAction
from syncer.state.schema import requests
from syncer.sync.plans import Plan
from syncer.sync.progress import Options
from syncer.web.auth.principals import Caller
from syncer.web.problems import ProblemError
from syncer.web.schemas import RunRequest

#: How long a request that is repeated is known again.
_REMEMBERED = timedelta(days=1)

#: Plans that are made side by side; each queries a warehouse.
_PLANS = 2

#: Seconds that a run which is over may take until another one of its sync may begin.
_LETTING_GO = 10

#: Seconds between two looks at a run that is waited for.
_LOOK = 0.1


@dataclass(slots=True, kw_only=True)
class Orders:
    """Takes orders, each of which is written down in the audit."""

    service: Service
    audit: Audit
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _plans: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_PLANS))

    def run(self, who: Caller, sync: str, asked: RunRequest, key: str | None = None) -> str:
        """Ask for a run, and give its id; a *key* that was used for the same before gives the same.

        Raises:
            ProblemError: it runs already, or the service takes no orders, or the key was used for something else.
            SyncerError: there is no such sync, or the run log cannot be used.
        """
        options = " ".join(name for name, is_set in asked.model_dump().items() if is_set)
        with self._lock:
            known = key and self._known(who, key, sync, options)
            if known:
                return known
            run_id = self._begin(who, sync, asked)
            if key:
                self._remember(who, key, sync, options, run_id)
        self._record(AuditAction.RUN, who, sync, run_id)
        return run_id

    def cancel(self, who: Caller, run: Run) -> ActiveRun:
        """Ask a run to end after the batch in hand.

        Raises:
            ProblemError: it is over, or another process's.
        """
        over = run.finished_at is not None
        live = None if over else self.service.cancel(run.id, actor=who.actor)
        if live is None:
            raise ProblemError(
                409,
                "the run is over" if over else "the run is another process's",
                hint="" if over else "End it where it was started, with Ctrl-C or SIGTERM.",
                run_id=run.id,
            )
        self._record(AuditAction.CANCEL, who, run.sync, run.id)
        return live

    def pause(self, who: Caller, sync: str) -> None:
        """Let no ticks of a sync come."""
        self.service.pause(sync)
        self._record(AuditAction.PAUSE, who, sync)

    def resume(self, who: Caller, sync: str) -> None:
        """Let the ticks of a sync come again."""
        self.service.resume(sync)
        self._record(AuditAction.RESUME, who, sync)

    async def plan(self, who: Caller, sync: str, rows: int) -> Plan:
        """Find out what a run would do.

        Raises:
            ProblemError: too many plans are being made.
            SyncerError: as `Service.plan`.
        """
        if not self._plans.acquire(blocking=False):
            raise ProblemError(503, "other plans are being made", hint="Ask again when they are done.")
        making = _in_daemon(lambda: self._plan(who, sync, rows), f"plan {sync}")
        while not making.done():
            await asyncio.wait([making], timeout=_LOOK)
            if self.service.closing.is_set():
                making.cancel()
                raise self._closed()
        return making.result()

    def _record(self, action: AuditAction, who: Caller, sync: str, run_id: str = "") -> None:
        self.audit.record(action, actor=who.actor, address=who.address, sync=sync, run_id=run_id)

    def _plan(self, who: Caller, sync: str, rows: int) -> Plan:
        try:
            self.service.definition(sync)
            self._record(AuditAction.PLAN, who, sync)
            return self.service.plan(sync, sample_rows=rows)
        finally:
            self._plans.release()

    def _begin(self, who: Caller, sync: str, asked: RunRequest) -> str:
        self.service.definition(sync)
        other = self.service.elsewhere(sync)
        if other is not None:
            raise _runs_already(other.id)
        options = Options(full=asked.full, allow_limits=asked.allow_limits)
        try:
            try:
                return self.service.run_now(sync, actor=who.actor, options=options).run_id
            except AlreadyActiveError as exc:
                if not self._is_ending(exc.live):
                    raise
            return self.service.run_now(sync, actor=who.actor, options=options).run_id
        except AlreadyActiveError as exc:
            raise _runs_already(exc.live.run_id) from None
        except ClosedError:
            raise self._closed() from None

    def _is_ending(self, live: ActiveRun) -> bool:
        """Whether the run log has a run as over, of which its process is about to let go; waits for that."""
        run = self.service.run_log.get(live.run_id) if live.run_id else None
        return run is not None and run.finished_at is not None and live.ended.wait(_LETTING_GO)

    def _closed(self) -> ProblemError:
        if self.service.closing.is_set() or self.service.leads:
            return ProblemError(503, "the service is stopping", hint="Ask again when it is back.")
        return ProblemError(
            503, f"this service stands by; {self.service.leadership.leader() or 'another one'} leads", hint="Ask that."
        )

    def _known(self, who: Caller, key: str, sync: str, options: str) -> str | None:
        query = sa.select(requests).where(
            requests.c.key == _own(who, key), requests.c.requested_at > self.service.now() - _REMEMBERED
        )
        with self.service.run_log.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if (row.sync, row.options) != (sync, options):
            raise ProblemError(
                422, "the Idempotency-Key was used for another request", hint="Use a new one for each order."
            )
        return str(row.run_id)

    def _remember(self, who: Caller, key: str, sync: str, options: str, run_id: str) -> None:
        now = self.service.now()
        row = {"key": _own(who, key), "sync": sync, "options": options, "run_id": run_id, "requested_at": now}
        with self.service.run_log.database.writing() as connection:
            connection.execute(requests.delete().where(requests.c.requested_at <= now - _REMEMBERED))
            connection.execute(requests.insert().values(**row))


def _own(who: Caller, key: str) -> str:
    """A key among those of whoever uses it."""
    return f"{who.actor}\n{key}"


def _runs_already(run_id: str) -> ProblemError:
    return ProblemError(
        409,
        "the sync runs already" if run_id else "the sync is about to run",
        hint="Wait for that run to end, or cancel it.",
        run_id=run_id or None,
    )


async def until_ended(live: ActiveRun | None, seconds: float, gives_up: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a run to end, for so long at the most; nothing is held meanwhile but the connection."""
    deadline = time.monotonic() + seconds
    while live is not None and not live.ended.is_set() and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK)
        if await gives_up():
            return


def _in_daemon(work: Callable[[], Plan], name: str) -> asyncio.Future[Plan]:
    """What *work* gives, in a thread that no end of the process waits for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Plan] = loop.create_future()

    def settle(plan: Plan | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        elif plan is not None:
            future.set_result(plan)

    def run() -> None:
        plan, error = None, None
        try:
            plan = work()
        except Exception as exc:
            error = exc
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, plan, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
