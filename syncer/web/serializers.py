"""What the API tells of what the service knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from syncer.definitions import schedules
from syncer.model import types
from syncer.model.types import Counts
from syncer.service.active_runs import ActiveRun
from syncer.service.status import SyncStatus
from syncer.sync.plans import Plan
from syncer.sync.progress import Progress
from syncer.web.schemas import (
    ChangeAnswer,
    PlanAnswer,
    ProgressAnswer,
    RejectionAnswer,
    RejectionPage,
    RunAnswer,
    RunningAnswer,
    SyncAnswer,
    SyncDetailAnswer,
)


def progress_of(live: ActiveRun) -> ProgressAnswer:
    """How far a run has come."""
    progress = live.progress
    rate = _rate(progress)
    left = None
    if rate and progress.total is not None:
        left = max(progress.total - progress.rows, 0) / rate
    return ProgressAnswer(
        phase=(progress.phase or "query") if live.began_at else "waiting",
        rows=progress.rows,
        total=progress.total,
        rate=None if rate is None else round(rate, 1),
        seconds_left=None if left is None else round(left, 1),
        is_stopping=live.is_stopped,
    )


def _rate(progress: Progress) -> float | None:
    seconds = time.monotonic() - progress.began
    return progress.rows / seconds if progress.phase and progress.rows and seconds > 0 else None


def run_of(run: types.Run, live: ActiveRun | None = None) -> RunAnswer:
    """A run, as the run log has it, and what its process knows beyond that."""
    counts, phases, notes = run.counts, run.phases, run.notes
    if live is not None:
        counts, phases, notes = live.progress.counts, live.progress.phases, tuple(live.progress.notes)
    return RunAnswer(
        run_id=run.id,
        sync=run.sync,
        status=run.status,
        trigger=run.trigger,
        actor=run.actor,
        due_at=run.due_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        counts=counts,
        phases=dict(phases),
        error=run.error,
        hint=run.hint or None,
        notes=list(notes),
        progress=None if live is None else progress_of(live),
    )


def sync_of(standing: SyncStatus) -> SyncAnswer:
    """How a sync stands."""
    definition, live = standing.definition, standing.live
    return SyncAnswer(
        name=definition.name,
        description=definition.description,
        owner=definition.owner,
        tags=list(definition.tags),
        entity=definition.target.entity,
        warehouse=definition.warehouse,
        store=definition.store,
        schedule=schedules.words(definition.schedule),
        enabled=definition.enabled,
        paused=standing.paused,
        next_due=standing.next_due,
        freshness=standing.freshness,
        held=standing.is_held,
        rejected=standing.rejected,
        last_ended_well=standing.last_ended_well,
        last_run=None if standing.last_run is None else run_of(standing.last_run),
        running=None if live is None else RunningAnswer(run_id=live.run_id or None, progress=progress_of(live)),
        outdated=None if standing.outdated is None else standing.outdated.message,
    )


def sync_detail_of(standing: SyncStatus, folder: Path) -> SyncDetailAnswer:
    """How a sync stands, and its definition, whose file is below *folder*."""
    definition = standing.definition
    within = definition.path.is_relative_to(folder)
    return SyncDetailAnswer(
        **sync_of(standing).model_dump(),
        file=str(definition.path.relative_to(folder) if within else definition.path.name),
        definition_hash=definition.hash,
        sql=definition.sql,
        key_columns=list(definition.target.key_columns),
        attributes=definition.attributes,
        depends_on=list(definition.depends_on),
        on_removed=definition.on_removed,
        on_null=definition.on_null,
        create=definition.create,
        catch_up=definition.catch_up,
    )


def rejections_of(rejections: Sequence[types.Rejection], total: int, following: str | None) -> RejectionPage:
    """Rows that are refused now."""
    items = [RejectionAnswer(**asdict(rejection)) for rejection in rejections]
    return RejectionPage(items=items, total=total, next=following)


def plan_json(sync: str, plan: Plan) -> str:
    """A `PlanAnswer` as JSON, in which the rows' values stay as they are to the last digit."""
    staged, difference = plan.staged, plan.difference
    counts = Counts(
        queried=staged.queried,
        added=difference.added,
        changed=difference.changed,
        removed=difference.removed,
        unchanged=difference.unchanged,
        rejected=staged.quarantined,
    )
    told = PlanAnswer(
        sync=sync, counts=counts, attributes=plan.attributes, held=plan.held, notes=plan.notes, sample=[]
    ).model_dump_json(exclude={"sample"})
    sample = ",".join(
        ChangeAnswer(change=change, key=key).model_dump_json(include={"change", "key"})[:-1]
        + f',"before":{before or "null"},"after":{after or "null"}}}'
        for change, key, before, after in plan.sample
    )
    return f'{told[:-1]},"sample":[{sample}]}}'
