"""A site of many syncs with a history, the SQL statements that an answer takes, and every address to ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syncer.model.types import Counts, Rejection, RunStatus, Trigger
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.state.schema import runs
from tests.web.conftest import Site

#: How runs end, in turn.
_STATUSES = (*[RunStatus.SUCCESS] * 17, RunStatus.WARNING, RunStatus.FAILED, RunStatus.SUCCESS)

#: A person of whom every sync has rejected a row.
REJECTED = "7"

#: The first sync.
FIRST = "sync_000"


def make_many(
    path: Path, *, syncs: int, runs_of_each: int, database_url: str = "", status: RunStatus | None = None
) -> Site:
    """Write definitions that are not due before tomorrow, and a run log with a run an hour of each."""
    (path / "sync_definitions/sample_data").mkdir(parents=True)
    (path / ".syncer").mkdir(mode=0o700)
    site = Site(path=path)
    site.people({REJECTED: "free"})
    now = datetime.now(UTC)
    names = [f"sync_{number:03}" for number in range(syncs)]
    for number, name in enumerate(names):
        every = "every 2 days" if number % 2 else '{cron: "0 6 * * *"}'
        (path / f"sync_definitions/{name}.sql").write_text(
            f"/* sync\ndescription: Plans of part {number}\ntags: [part-{number % 9}]\nentity: person\n"
            f"person: {{id: id}}\nattributes: {{plan_{number}: plan}}\nschedule: {every}\n*/\n"
            "SELECT id, plan FROM people\n"
        )
    with closing(StateDatabase(database_url or f"sqlite:///{path}/.syncer/runs.db")) as database:
        log = RunLog(database)
        rows = [_run(name, ago, now, status) for name in names for ago in range(runs_of_each)]
        with database.writing() as connection:
            connection.execute(runs.insert(), rows)
        for name in names:
            log.replace_rejections(name, [_rejection(name, now)], 1)
    return site


def _run(sync: str, ago: int, now: datetime, status: RunStatus | None) -> dict[str, Any]:
    at = now - timedelta(hours=ago, seconds=1)
    counts = Counts(queried=1000, added=ago % 7, changed=ago * 37 % 400, removed=ago % 3, unchanged=500, accepted=400)
    status = status or _STATUSES[ago % len(_STATUSES)]
    return {
        "id": f"{at:%Y%m%dT%H%M%S}000-{sync}",
        "sync": sync,
        "trigger": Trigger.SCHEDULE,
        "status": status,
        "definition_hash": "0" * 64,
        "due_at": at,
        "started_at": at,
        "finished_at": at + timedelta(seconds=3),
        "phases": {"query": 1.0, "compare": 0.5, "send": 1.0, "settle": 0.5},
        "error": "the column `plan` is missing" if status is RunStatus.FAILED else None,
        "hint": "",
        "notes": ["a note for people"],
        **asdict(counts),
    }


def _rejection(sync: str, now: datetime) -> Rejection:
    return Rejection(sync=sync, key=REJECTED, reason="too long", attempts=3, first_seen=now, last_seen=now)


def addresses(site: Site) -> Mapping[str, str]:
    """An address to ask for each route that only tells of something."""
    (run,) = site.log("SELECT max(id) FROM syncer_runs WHERE sync = ?", FIRST)[0]
    return {
        "/": "/",
        "/syncs/{name}": f"/syncs/{FIRST}",
        "/syncs/{name}/full": f"/syncs/{FIRST}/full",
        "/runs": "/runs",
        "/runs/{run_id}": f"/runs/{run}",
        "/find": f"/find?q={REJECTED}",
        "/people": f"/people?value={REJECTED}",
        "/objects": "/objects?type=account&id=1",
        "/collections": "/collections?name=coupons",
        "/connections": "/connections",
        "/login": "/login",
        "/livez": "/livez",
        "/readyz": "/readyz",
        "/metrics": "/metrics",
        "/api/v1/syncs": "/api/v1/syncs?limit=500",
        "/api/v1/syncs/{name}": f"/api/v1/syncs/{FIRST}",
        "/api/v1/syncs/{name}/rejected": f"/api/v1/syncs/{FIRST}/rejected",
        "/api/v1/runs": "/api/v1/runs",
        "/api/v1/runs/{run_id}": f"/api/v1/runs/{run}",
        "/api/v1/runs/{run_id}/events": f"/api/v1/runs/{run}/events",
        "/api/v1/audit": "/api/v1/audit",
        "/api/v1/docs": "/api/v1/docs",
        "/api/v1/openapi.json": "/api/v1/openapi.json",
    }


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL statements that this process sends while the block lasts, but for those of the schedule."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name != "ticks":
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
