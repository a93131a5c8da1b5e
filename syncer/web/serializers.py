"""The API's answers, made of what the service knows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from syncer.definitions import schedules
from syncer.model.types import Rejection, Run
from syncer.service.pool import ActiveRun
from syncer.service.status import SyncStatus
from syncer.sync.plans import Plan
from syncer.web.schemas import (
    AcknowledgementAnswer,
    ChangeAnswer,
    PlanAnswer,
    ProgressAnswer,
    RejectionAnswer,
    RunAnswer,
    RunningAnswer,
    SyncAnswer,
    SyncDetailAnswer,
)


def phase_of(active_run: ActiveRun) -> str:
    """The phase of a run; `waiting`, or `elsewhere` if a worker makes it, which does not tell."""
    if active_run.began_at is None:
        return "waiting"
    return "elsewhere" if active_run.order.worker else active_run.progress.phase or "query"


def progress_of(active_run: ActiveRun) -> ProgressAnswer:
    """How far a run is."""
    progress = active_run.progress
    seconds = time.monotonic() - progress.began
    rate = progress.rows / seconds if progress.phase and progress.rows and seconds > 0 else None
    left = max(progress.total - progress.rows, 0) / rate if rate and progress.total is not None else None
    return ProgressAnswer(
        phase=phase_of(active_run),
        rows=progress.rows,
        total=progress.total,
        rate=None if rate is None else round(rate, 1),
        seconds_left=None if left is None else round(left, 1),
        is_stopping=active_run.is_stopped,
    )


def run_of(run: Run, active_run: ActiveRun | None = None) -> RunAnswer:
    """A run as the run log has it, and what only its process knows."""
    answer = RunAnswer.model_validate(run)
    if active_run is None:
        return answer
    progress = active_run.progress
    known = {"counts": progress.counts, "phases": dict(progress.phases), "notes": list(progress.notes)}
    known |= {"planned": progress.delivery.planned, "quarantined": progress.delivery.quarantined}
    return answer.model_copy(update=known | {"progress": progress_of(active_run)})


def sync_of(status: SyncStatus, last_run: Run | None) -> SyncAnswer:
    """A sync, its status and its last run."""
    return SyncAnswer(**_sync(status, last_run))


def sync_detail_of(status: SyncStatus, last_run: Run | None, folder: Path) -> SyncDetailAnswer:
    """A sync, its status, its last run and its definition, whose file is below *folder*."""
    definition = status.definition
    within = definition.path.is_relative_to(folder)
    return SyncDetailAnswer(
        **_sync(status, last_run),
        file=str(definition.path.relative_to(folder) if within else definition.path.name),
        definition_hash=definition.hash,
        sql=definition.sql,
        key_columns=list(definition.target.key_columns),
        action=definition.target.action,
        attributes=definition.attributes,
        depends_on=list(definition.depends_on),
        queue=definition.queue,
        priority=definition.priority,
        on_removed=definition.on_removed,
        on_null=definition.on_null,
        create=definition.create,
        catch_up=definition.catch_up,
    )


def _sync(status: SyncStatus, last_run: Run | None) -> dict[str, Any]:
    definition, active_run = status.definition, status.active_run
    copied = ("name", "description", "owner", "tags", "warehouse", "store", "enabled")
    of_status = ("paused", "next_due", "freshness", "health", "rejected", "acknowledged")
    return {
        **{name: getattr(definition, name) for name in copied},
        **{name: getattr(status, name) for name in of_status},
        "last_ended_well": status.last_ended_well,
        "entity": definition.target.entity,
        "schedule": schedules.words(definition.schedule),
        "held": status.is_held,
        "last_run": last_run and run_of(last_run),
        "running": active_run and RunningAnswer(run_id=active_run.run_id or None, progress=progress_of(active_run)),
        "outdated": status.outdated and status.outdated.message,
    }


def rejection_of(row: Rejection, *, with_values: bool) -> RejectionAnswer:
    """A rejected row, with its values, the key included, or without them."""
    names = ("sync", "reason", "attempts", "first_seen", "last_seen")
    given = row.acknowledged
    return RejectionAnswer(
        **{name: getattr(row, name) for name in names},
        key=row.key if with_values else "",
        columns=list(row.row.columns),
        values=json.loads(row.row.values) if with_values and row.row.values else None,
        digest=row.row.digest if with_values else "",
        acknowledged=None if given is None else AcknowledgementAnswer.model_validate(given),
    )


def plan_json(sync: str, plan: Plan) -> str:
    """A `PlanAnswer` as JSON, which keeps every digit of the rows' values."""
    answer = PlanAnswer(
        sync=sync,
        plan_id=plan.kept.plan_id if plan.kept else None,
        expires_at=plan.kept.expires_at if plan.kept else None,
        counts=plan.counts,
        attributes=plan.attributes,
        held=plan.held,
        notes=plan.notes,
        would_reject=[{"key": key, "reason": reason} for key, reason in plan.would_reject],
        sample=[],
    ).model_dump_json(exclude={"sample"})
    sample = ",".join(
        ChangeAnswer(change=change, key=key).model_dump_json(include={"change", "key"})[:-1]
        + f',"before":{before or "null"},"after":{after or "null"}}}'
        for change, key, before, after in plan.sample
    )
    return f'{answer[:-1]},"sample":[{sample}]}}'
