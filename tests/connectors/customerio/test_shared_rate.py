"""One rate of a workspace over several processes, which a run log in PostgreSQL gives turns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.customerio import shared_rate
from connectors.customerio.connection import Api
from connectors.support.connection import ConnectionName
from syncer.model.call_rates import Reserved
from syncer.model.errors import StoreError
from syncer.state.database import StateDatabase
from syncer.state.rates import Rates
from tests.cli import forked
from tests.servers.customerio import customerio_server
from tests.service.conftest import wait_until
from tests.service.test_outages import stopped

LIMIT = 100
SECONDS = 3.0


class Workspace(ThreadingHTTPServer):
    """Answers every call at once, and knows when each came."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        #: By the monotonic clock.
        self.arrivals: list[float] = []
        #: The seconds that the next calls are asked to wait.
        self.asks_to_wait: list[int] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Workspace

    def do_GET(self) -> None:
        self.server.arrivals.append(time.monotonic())
        if self.server.asks_to_wait:
            self.send_response(429)
            self.send_header("Retry-After", str(self.server.asks_to_wait.pop()))
        else:
            self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Caller:
    """A process of `calling`."""

    def __init__(self, url: str, address: str, limit: int) -> None:
        words = [sys.executable, "-m", "tests.connectors.customerio.calling", url, address, str(limit)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def gone(self) -> list[float]:
        """When each call went, after the end."""
        found: list[float] = json.loads(self.said())
        return found

    def begin_or_end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def callers(number: int, url: str, workspace: Workspace, limit: int = LIMIT) -> Iterator[Sequence[Caller]]:
    """Processes that are calling."""
    # One after the other would make the same table.
    found = [Caller(url, workspace.address, limit) for _ in range(number)]
    try:
        assert [each.said() for each in found] == ["ready"] * number
        for each in found:
            each.begin_or_end()
        yield found
    finally:
        for each in found:
            each.process.kill()
            each.process.communicate()


def least_seconds(arrivals: Sequence[float], limit: int) -> float:
    """The least seconds in which one call more than *limit* came."""
    ordered = sorted(arrivals)
    return min((later - first for first, later in zip(ordered, ordered[limit:], strict=False)), default=float("inf"))


def kept(gone: Sequence[Sequence[float]], workspace: Workspace) -> None:
    """Each call came when it went, and in no second more went than are allowed."""
    went = [at for of_process in gone for at in of_process]
    assert len(went) == len(workspace.arrivals)
    assert least_seconds(went, LIMIT) > 1.0
    # On its way, each may wait for a processor.
    assert least_seconds(workspace.arrivals, LIMIT) > 0.9


@pytest.mark.parametrize("number", [1, 4])
def test_many_processes_use_a_rate_and_never_exceed_it(number: int, postgres_url: str, workspace: Workspace) -> None:
    with callers(number, postgres_url, workspace) as found:
        # Turns that come while a process waits for a processor are lost: no machine has none for ever.
        wait_until(lambda: used_of_the_last(SECONDS, workspace.arrivals) >= 0.93)
        for each in found:
            each.begin_or_end()
        gone = [each.gone() for each in found]

    kept(gone, workspace)
    assert min(map(len, gone)) > sum(map(len, gone)) / number / 2


def used_of_the_last(seconds: float, arrivals: Sequence[float]) -> float:
    """Which share of the calls that may come did."""
    since = time.monotonic() - seconds
    return sum(at > since for at in list(arrivals)) / (LIMIT * seconds)


def test_a_process_that_stood_still_makes_up_for_nothing(postgres_url: str, workspace: Workspace) -> None:
    with callers(3, postgres_url, workspace) as found:
        for _ in range(3):
            time.sleep(0.7)
            found[0].process.send_signal(signal.SIGSTOP)
            time.sleep(0.7)
            found[0].process.send_signal(signal.SIGCONT)
        time.sleep(1.2)
        for each in found:
            each.begin_or_end()
        gone = [each.gone() for each in found]

    kept(gone, workspace)
    assert min(map(len, gone)) > 0.1 * sum(map(len, gone))


def test_when_one_process_is_asked_to_wait_all_do(postgres_url: str, workspace: Workspace) -> None:
    with callers(3, postgres_url, workspace) as found:
        time.sleep(1.0)
        asked = time.monotonic()
        workspace.asks_to_wait.append(2)
        time.sleep(4.0)
        for each in found:
            each.begin_or_end()
        gone = [each.gone() for each in found]
    # A process has a few turns still.
    calls = [at - asked for at in workspace.arrivals if at > asked]

    assert [at for at in calls if 0.6 < at < 2.0] == []
    assert len([at for at in calls if at > 2.0]) > 100
    kept(gone, workspace)


def test_calls_wait_for_a_run_log_that_is_away_for_a_moment(postgres_url: str, workspace: Workspace) -> None:
    with callers(2, postgres_url, workspace) as found:
        time.sleep(1.0)
        with stopped(postgres_url):
            time.sleep(0.5)
            before = len(workspace.arrivals)
            time.sleep(1.5)
            assert len(workspace.arrivals) == before
        time.sleep(2.0)
        assert len(workspace.arrivals) > before + 80
        for each in found:
            each.begin_or_end()
        gone = [each.gone() for each in found]

    kept(gone, workspace)


def test_every_command_that_reads_or_feeds_the_store_takes_its_turns(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "sync_definitions").mkdir()
    (tmp_path / "sync_definitions/people.sql").write_text(
        "/* sync\nentity: person\nperson: {id: id}\n*/\nSELECT 'p1' AS id, 'free' AS plan\n"
    )
    with customerio_server() as server:
        environment = {"PATH": os.environ["PATH"], "SYNCER_DATABASE_URL": postgres_url, **server.environment()}
        environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = "duckdb:///sync_definitions"
        for words in (
            ("plan", "people"),
            ("run", "people"),
            ("verify", "people"),
            ("show", "person", "p1"),
            ("forget", "person", "--id", "p1"),
        ):
            before = next_turn(postgres_url)

            ended = forked.run(*words, folder=tmp_path, environment=environment)

            assert ended.code == 0, ended.err
            assert next_turn(postgres_url) > before, words


def next_turn(url: str) -> datetime:
    """The latest of all rates."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('syncer_rates')").fetchone() == (None,):
            return datetime.min.replace(tzinfo=UTC)
        (found,) = connection.execute("SELECT max(next_at) FROM syncer_rates").fetchone() or (None,)
    assert isinstance(found, datetime)
    return found


# In this process


@pytest.fixture
def database(postgres_url: str) -> Iterator[StateDatabase]:
    made = StateDatabase(postgres_url)
    yield made
    made.close()


@pytest.fixture
def api(database: StateDatabase, workspace: Workspace) -> Iterator[Api]:
    named = ConnectionName("store", "crm")
    with closing(Api(named, workspace.address, login=("s", "k"), key_setting="K", per_second=LIMIT)) as made:
        made.share_rate(Rates(database))
        yield made


Outage = Callable[[str], AbstractContextManager[None]]


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Whoever wants a turn has to wait."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE syncer_rates IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("outage", [stopped, locked])
def test_without_a_turn_no_call_goes_and_none_waits_for_ever(
    api: Api, workspace: Workspace, postgres_url: str, monkeypatch: pytest.MonkeyPatch, outage: Outage
) -> None:
    monkeypatch.setattr(shared_rate, "PATIENCE", 1.0)
    api.call("GET", "/")

    with outage(postgres_url), pytest.raises(StoreError, match="the run log has not answered for 1 seconds") as raised:
        api.call("GET", "/")

    assert "SYNCER_DATABASE_URL" in raised.value.hint
    assert len(workspace.arrivals) == 1
    api.call("GET", "/")
    assert len(workspace.arrivals) == 2


@pytest.mark.parametrize("outage", [stopped, locked])
def test_whoever_stops_ends_the_wait_for_a_turn(api: Api, postgres_url: str, outage: Outage) -> None:
    api.call("GET", "/")

    with outage(postgres_url), ThreadPoolExecutor() as pool:
        calling = pool.submit(api.call, "GET", "/")
        wait_until(lambda: api._limiter._is_asking)  # type: ignore[attr-defined]
        began = time.monotonic()
        api.stop()
        with pytest.raises(StoreError, match="the run stops"):
            calling.result()

    assert time.monotonic() - began < 1.0


def test_one_call_takes_one_turn(api: Api, postgres_url: str) -> None:
    for _ in range(3):
        time.sleep(0.15)
        api.call("GET", "/")

        with psycopg.connect(postgres_url) as connection:
            (ahead,) = connection.execute("SELECT next_at - clock_timestamp() FROM syncer_rates").fetchone() or (None,)
        assert ahead is not None
        assert ahead.total_seconds() < 2 / LIMIT


def test_the_run_log_keeps_no_login(api: Api, workspace: Workspace, postgres_url: str) -> None:
    secret = Api(ConnectionName("store", "crm"), workspace.address, login="sk_1", key_setting="K", per_second=LIMIT)
    with closing(secret), closing(StateDatabase(postgres_url)) as database:
        secret.share_rate(Rates(database))
        secret.call("GET", "/")
        api.call("GET", "/")

    with psycopg.connect(postgres_url) as connection:
        found = [row[0] for row in connection.execute("SELECT workspace FROM syncer_rates")]
    assert len(found) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in found)


def answer(clock: float, asked: float, told: float) -> Reserved:
    return Reserved(turns=0, first=clock, clock=clock, asked=asked, told=told)


def test_the_fastest_answer_tells_the_time_until_a_clock_is_set() -> None:
    clock = shared_rate._Clock()
    clock.set(answer(1000.15, asked=10.0, told=10.2))
    assert clock.here(1000.15) == pytest.approx(10.1)
    clock.set(answer(1001.15, asked=11.09, told=11.11))
    assert clock.here(1001.15) == pytest.approx(11.1)
    clock.set(answer(1002.15, asked=12.05, told=13.0))
    assert clock.here(1002.15) == pytest.approx(12.1, abs=0.001)

    for set_to in (900.0, 5000.0):
        clock.set(answer(set_to, asked=14.0, told=14.2))
        assert clock.here(set_to) == pytest.approx(14.1)
