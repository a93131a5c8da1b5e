"""A command whose machine stood still, while another machine ran the same sync."""

from __future__ import annotations

import json
import os
import signal

import psutil
import psycopg

from syncer.model.types import EndedBy, Run, RunStatus
from syncer.state.database import StateDatabase
from syncer.state.rejections import Rejections
from syncer.state.runs import RunLog
from tests.cli.conftest import Folder
from tests.servers.postgresql import PostgresServer
from tests.service.conftest import wait_until

#: The query waits for this lock once it sees its rows, and rejects the one without an id.
GATE = 4711
QUERY = f"SELECT id, plan FROM people CROSS JOIN (SELECT pg_advisory_lock_shared({GATE})) AS gate"


def test_a_run_that_was_overtaken_while_it_stood_still_records_its_own_row_alone(
    folder: Folder, postgres: PostgresServer
) -> None:
    folder.define("customers", QUERY)
    with (
        postgres.new_database() as shop,
        postgres.new_database() as url,
        psycopg.connect(shop, autocommit=True) as lock,
    ):
        lock.execute("CREATE TABLE people (id text, plan text)")
        lock.execute("INSERT INTO people VALUES ('1', 'free'), (NULL, 'old')")
        settings = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": shop,
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{folder.path}/profiles.db",
            "SYNCER_DATABASE_URL": url,
        }
        first, second = ({**settings, "SYNCER_STATE_DIR": name} for name in "ab")
        database = StateDatabase(url)
        log = RunLog(database)
        lock.execute(f"SELECT pg_advisory_lock({GATE})")
        with folder.started("run", "customers", **first) as frozen:
            wait_until(lambda: lock.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())
            (overtaken,) = log.open_runs()
            os.kill(frozen.pid, signal.SIGSTOP)
            wait_until(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED)
            lock.execute(f"SELECT pg_advisory_unlock({GATE})")
            lock.execute("UPDATE people SET plan = 'new' WHERE id IS NULL")
            assert folder.syncer("run", "customers", env=second).code == 1
            before, meanwhile = standing(log), log.get(overtaken.id)
            os.kill(frozen.pid, signal.SIGCONT)
            assert frozen.wait() != 0
        after, ended = standing(log), log.get(overtaken.id)
        database.close()

    assert meanwhile is not None
    assert meanwhile.status is RunStatus.RUNNING, "its process lives"
    assert after == before
    assert [json.loads(values)["plan"] for values in after[1]] == ["new"]
    assert isinstance(ended, Run)
    assert (ended.status, ended.ended_by) == (RunStatus.INTERRUPTED, EndedBy.TAKEOVER)
    # It learns of the newer run before it sends anything.
    assert (ended.error or "").startswith("another run of this sync, from another machine, began to send")


def standing(log: RunLog) -> tuple[object, list[str]]:
    """How the sync stands, and the values of its rejected rows."""
    (newest,) = log.latest(["customers"]).values()
    found, _ = Rejections(log.database).of("customers", now=log.recent("customers", 1)[0].started_at)
    return newest, [rejection.row.values or "" for rejection in found]
