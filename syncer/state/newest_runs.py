"""How a sync stands, from its runs: what the table of newest runs has of it."""

from __future__ import annotations

import sqlalchemy as sa

from syncer.model.types import CONCLUSIVE, RunScope, RunStatus
from syncer.state.schema import WELL, runs


def newest_runs(each: sa.FromClause, *, is_shared: bool) -> sa.Subquery:
    """What `latest` has of each sync: one row a sync, found with a few looks at an index whatever the number of runs.

    Shapes:
        each: has a column `sync`.
        is_shared: whether the database is PostgreSQL.
    """
    # Of numbers, not of rows.
    greatest = sa.func.greatest if is_shared else sa.func.max
    number = sa.func.coalesce(sa.func.max(runs.c.seq), 0)
    of_each = sa.select(number).where(runs.c.sync == each.c.sync).correlate(each)
    of_all_rows = of_each.where(runs.c.scope != RunScope.ROWS)
    newest = {status: of_all_rows.where(runs.c.status == status).scalar_subquery() for status in RunStatus}
    well = of_each.where(sa.text(WELL)).scalar_subquery()
    conclusive = greatest(*(newest[status] for status in CONCLUSIVE))
    ended = greatest(conclusive, newest[RunStatus.INTERRUPTED])
    last = greatest(ended, newest[RunStatus.RUNNING])
    due = sa.select(sa.func.max(runs.c.due_at)).where(runs.c.sync == each.c.sync).correlate(each).scalar_subquery()
    last_run, ended_run, well_run = runs.alias("last_run"), runs.alias("ended_run"), runs.alias("well_run")
    return (
        sa.select(
            each.c.sync,
            due.label("last_due_at"),
            *(last_run.c[name].label(f"last_{name}") for name in ("seq", "id", "status", "started_at", "finished_at")),
            *(ended_run.c[name].label(f"ended_{name}") for name in ("status", "started_at", "finished_at")),
            sa.func.nullif(conclusive, 0).label("conclusive_seq"),
            well_run.c.started_at.label("well_started_at"),
        )
        .select_from(each)
        .outerjoin(last_run, last_run.c.seq == last)
        .outerjoin(ended_run, ended_run.c.seq == ended)
        .outerjoin(well_run, well_run.c.seq == well)
        .subquery("newest")
    )
