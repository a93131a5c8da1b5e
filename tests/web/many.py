"""A site of many syncs with a history, the SQL statements that an answer takes, and every address to ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syncer.model.types import Counts, Rejection, RunStatus, Trigger
from syncer.state.database import StateDatabase
from syncer.state.rejections import values_of
from syncer.state.runs import RunLog
from syncer.state.schema import rejection_totals, rejections, runs
from syncer.state.upgrades import fill_latest
from tests.web.conftest import Site

#: How runs end, in turn.
_STATUSES = (*[RunStatus.SUCCESS] * 17, RunStatus.WARNING, RunStatus.FAILED, RunStatus.SUCCESS)

_ERROR = "the column `plan` is missing"

#: How the names of the threads begin that answer requests: the server's own, and those that it hands work to.
_ANSWERING = ("page", "AnyIO worker thread")

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
        insert_runs(database, names, runs_of_each, now, status)
        with database.writing() as connection:
            connection.execute(rejections.insert(), [values_of(_rejection(name, now), 0) for name in names])
            connection.execute(rejection_totals.insert(), [{"sync": name, "total": 1} for name in names])
    return site


def insert_runs(
    database: StateDatabase, names: Sequence[str], of_each: int, now: datetime, status: RunStatus | None = None
) -> None:
    """Put runs into an empty run log, one an hour of each sync, as if they had been recorded one after the other."""
    with database.writing() as connection:
        if database.is_shared and status is None:
            _insert_at_once(connection, names, of_each, now)
        else:
            rows = [_run(name, ago, now, status) for ago in reversed(range(of_each)) for name in names]
            connection.execute(runs.insert(), [row | {"seq": seq} for seq, row in enumerate(rows, 1)])
        fill_latest(connection)
    with database.writing() as connection:
        connection.exec_driver_sql("ANALYZE")


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
        "error": _ERROR if status is RunStatus.FAILED else None,
        "hint": "",
        "notes": ["a note for people"],
        **asdict(counts),
    }


def _insert_at_once(connection: sa.Connection, names: Sequence[str], runs_of_each: int, now: datetime) -> None:
    """The rows of `_run` in one statement; PostgreSQL only."""
    ended = "".join(f"WHEN {place} THEN '{status}' " for place, status in enumerate(_STATUSES))
    values = {
        "id": "to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS') || '000-' || sync",
        "sync": "sync",
        "trigger": "'schedule'",
        "status": f"CASE ago % {len(_STATUSES)} {ended}END",
        "definition_hash": "repeat('0', 64)",
        "due_at": "at",
        "started_at": "at",
        "finished_at": "at + interval '3 seconds'",
        "phases": """'{"query": 1.0, "compare": 0.5, "send": 1.0, "settle": 0.5}'""",
        "error": f"CASE ago % {len(_STATUSES)} WHEN {_STATUSES.index(RunStatus.FAILED)} THEN '{_ERROR}' END",
        "hint": "''",
        "notes": """'["a note for people"]'""",
        "queried": "1000",
        "added": "ago % 7",
        "changed": "ago * 37 % 400",
        "removed": "ago % 3",
        "unchanged": "500",
        "accepted": "400",
    }
    each = sa.text(
        f"INSERT INTO {runs.name} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM ("
        "SELECT sync, ago, CAST(:now AS timestamptz) - ago * interval '1 hour' - interval '1 second' AS at "
        "FROM generate_series(0, :last) AS ago, unnest(CAST(:names AS text[])) AS sync) AS each ORDER BY ago DESC, sync"
    )
    connection.execute(each, {"now": now, "last": runs_of_each - 1, "names": list(names)})


def _rejection(sync: str, now: datetime) -> Rejection:
    return Rejection(sync=sync, key=REJECTED, reason="too long", attempts=3, first_seen=now, last_seen=now)


def addresses(log: RunLog) -> Mapping[str, str]:
    """An address to ask for each route that only tells of something."""
    run = log.recent(FIRST, 1)[0].id
    return {
        "/": "/",
        "/syncs/{name}": f"/syncs/{FIRST}",
        "/syncs/{name}/full": f"/syncs/{FIRST}/full",
        "/runs": "/runs",
        "/runs/{run_id}": f"/runs/{run}",
        "/find": f"/find?q={REJECTED}",
        "/people": f"/people?value={REJECTED}",
        "/api/v1/explain": f"/api/v1/explain?entity=person&value={REJECTED}",
        "/objects": "/objects?type=account&id=1",
        "/collections": "/collections?name=coupons",
        "/connections": "/connections",
        "/login": "/login",
        "/livez": "/livez",
        "/readyz": "/readyz",
        "/metrics": "/metrics",
        "/api/v1/syncs": "/api/v1/syncs?limit=500",
        "/api/v1/syncs/{name}": f"/api/v1/syncs/{FIRST}",
        "/syncs/{name}/rejected": f"/syncs/{FIRST}/rejected",
        "/syncs/{name}/rejected.csv": f"/syncs/{FIRST}/rejected.csv",
        "/api/v1/syncs/{name}/rejected": f"/api/v1/syncs/{FIRST}/rejected",
        "/api/v1/runs": "/api/v1/runs",
        "/api/v1/runs/{run_id}": f"/api/v1/runs/{run}",
        "/api/v1/runs/{run_id}/events": f"/api/v1/runs/{run}/events",
        "/api/v1/workers": "/api/v1/workers",
        "/api/v1/audit": "/api/v1/audit",
        "/api/v1/docs": "/api/v1/docs",
        "/api/v1/openapi.json": "/api/v1/openapi.json",
    }


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL statements of the caller and of answers while the block lasts, not those of the schedule and alerts."""
    seen: list[str] = []
    counted = (threading.current_thread().name, *_ANSWERING)

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name.startswith(counted):
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
