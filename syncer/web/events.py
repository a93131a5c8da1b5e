"""A run as it goes on, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from syncer.model.types import Run, RunStatus
from syncer.service.active_runs import ActiveRun
from syncer.service.service import Service
from syncer.web.schemas import RunAnswer
from syncer.web.serializers import run_of

#: Seconds between two looks at a run of this service, and at one of another process, which only the run log knows.
_LOOK = 0.3
_LOOK_ELSEWHERE = 1.0


async def events(service: Service, run: Run) -> AsyncIterator[ServerSentEvent]:
    """An event `progress` whenever something has changed, and at last, when the run is over, `end`.

    Ends without `end` when the service stops before the run has ended, so that who listens asks again.
    """
    told: RunAnswer | None = None
    while not service.closing.is_set():
        live = service.live(run.id)
        if live is None:
            run = await run_in_threadpool(_newest, service, run)
        if run.status is not RunStatus.RUNNING:
            yield ServerSentEvent(event="end", data=run_of(run))
            return
        answer = run_of(run, live)
        if answer != told:
            told = answer
            yield ServerSentEvent(event="progress", data=answer)
        await _pause(service, live)


def _newest(service: Service, run: Run) -> Run:
    return service.run_log.get(run.id) or run


async def _pause(service: Service, live: ActiveRun | None) -> None:
    seconds = _LOOK if live is not None else _LOOK_ELSEWHERE
    while seconds > 0 and not service.closing.is_set() and not (live and live.ended.is_set()):
        await asyncio.sleep(min(seconds, 0.1))
        seconds -= 0.1
