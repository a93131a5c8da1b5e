"""A command that stands still while it writes to a PostgreSQL store: other machines go on, and no row is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.cli.conftest import Folder
from tests.cli.forked import Running
from tests.servers.postgresql import PostgresServer

PEOPLE = 60_000
#: For the other machine's run, from its start to its end.
SECONDS = 25.0

COPYING = "query LIKE 'COPY %' AND state = 'active' AND datname = current_database()"


@pytest.fixture
def urls(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """A store and a run log."""
    with postgres.new_database() as profiles, postgres.new_database() as log:
        yield profiles, log


def environment(urls: tuple[str, str], machine: str) -> dict[str, str]:
    profiles, log = urls
    return {
        "SYNCER_STORES__DEFAULT__URL": profiles,
        "SYNCER_DATABASE_URL": log,
        "SYNCER_STATE_DIR": machine,
    }


def stop_within_copy(server: psycopg.Connection, process: Running) -> None:
    """Let a process stand still while the server waits for the rows of a COPY."""
    while True:
        assert process.poll() is None, "it has ended"
        if server.execute(f"SELECT FROM pg_stat_activity WHERE {COPYING}").rowcount:
            os.kill(process.pid, signal.SIGSTOP)
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                waiting = f"SELECT FROM pg_stat_activity WHERE {COPYING} AND wait_event = 'ClientRead'"
                if server.execute(waiting).rowcount:
                    return
            os.kill(process.pid, signal.SIGCONT)


@pytest.mark.early
@pytest.mark.parametrize("known", [False, True], ids=["new people", "people who are known"])
def test_others_go_on_while_a_process_stands_still_within_copy(
    folder: Folder, urls: tuple[str, str], known: bool
) -> None:
    first, second = environment(urls, "a"), environment(urls, "b")
    folder.define("customers", "SELECT 'c' || id AS id, plan FROM people")
    folder.define("many", f"SELECT 'p' || range AS id, repeat('x', 100) AS text FROM range({PEOPLE})")
    assert folder.syncer("run", "customers", env=first).code == 0
    with psycopg.connect(urls[0], autocommit=True) as server:
        if known:
            assert folder.syncer("run", "many", env=first).code == 0
            server.execute("UPDATE people SET attributes = '{}' WHERE id LIKE 'p%'")
        with folder.started("run", "many", "--full", **first) as frozen:
            stop_within_copy(server, frozen)
            began = time.monotonic()
            folder.people({"1": "pro", "2": "pro", "3": "pro"})
            ran = folder.syncer("run", "customers", env=second)
            seconds = time.monotonic() - began
            os.kill(frozen.pid, signal.SIGCONT)
            frozen.wait(120)
        assert folder.syncer("run", "many", env=first).code == 0
        stored = server.execute(
            "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE attributes ->> 'text' = repeat('x', 100)) "
            "FROM people WHERE id LIKE 'p%'"
        ).fetchall()

    assert ran.code == 0, ran.out + ran.err
    assert seconds < SECONDS
    assert stored == [(PEOPLE, PEOPLE, PEOPLE)]
