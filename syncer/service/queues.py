"""What waits for workers, as any service over the run log sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncer.service.remote_runs import WaitingRun
from syncer.service.service import Service
from syncer.state.leases import KnownWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The workers, and the runs that none of them has begun, in the order of their orders."""

    workers: Sequence[KnownWorker]
    waiting: Sequence[WaitingRun]

    @property
    def living(self) -> Sequence[KnownWorker]:
        """The workers that live."""
        return [one for one in self.workers if one.lives]

    def is_attended(self, queue: str) -> bool:
        """Whether a living worker takes the runs of a queue."""
        return any(one.takes(queue) for one in self.living)


def work_of(service: Service) -> Work | None:
    """What is known of workers now; None where the service makes its own runs, which asks nothing of the run log.

    Raises:
        StateDatabaseError: the run log cannot be used.
    """
    remote = service.remote_runs
    if remote is None:
        return None
    workers = remote.leases.workers()
    if service.leads:
        return Work(workers=workers, waiting=remote.waiting())
    definitions = service.catalog.current.definitions
    waiting = [
        WaitingRun(
            sync=run.sync,
            run_id=run.id,
            queue=definitions[run.sync].queue,
            since=run.started_at,
            # For which other sync it may wait, the leader alone knows.
            is_due=True,
        )
        for run in service.run_log.queued_runs()
        if run.sync in definitions
    ]
    return Work(workers=workers, waiting=waiting)
