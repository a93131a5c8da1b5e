"""The service with its page, answering on a port of its own, over a small warehouse and an embedded store."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import httpx2
import psutil
import pytest

from syncer.definitions import folder
from syncer.model.errors import StateDatabaseError
from syncer.service.catalog import Catalog
from syncer.service.leadership import SingleNode
from syncer.service.process import Process
from syncer.service.service import Service
from syncer.settings import settings, state_modes
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner
from syncer.web.app import create_app
from tests.cli import forked
from tests.cli.forked import Running

PASSWORD = "canary-password-1"
READ_TOKEN = "canary-token-that-reads"
RUN_TOKEN = "canary-token-that-runs"
APPROVE_TOKEN = "canary-token-that-approves"

#: Its hash, as weak as can be.
PASSWORD_HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

#: The settings of a service that asks everybody who they are.
GUARDED = {
    "SYNCER_WEB__PASSWORD": PASSWORD_HASH,
    "SYNCER_WEB__TOKENS__VIEWER__TOKEN": READ_TOKEN,
    "SYNCER_WEB__TOKENS__CI__TOKEN": RUN_TOKEN,
    "SYNCER_WEB__TOKENS__CI__SCOPE": "run",
    "SYNCER_WEB__TOKENS__DUTY__TOKEN": APPROVE_TOKEN,
    "SYNCER_WEB__TOKENS__DUTY__SCOPE": "approve",
}


SECONDS = 60.0

#: Ends long after every test.
ENDLESS = "SELECT a.range AS id FROM range(1000000000000) a WHERE hash(a.range) % 1000000000000 = 3"


def wait_until(told: Callable[[], Any]) -> Any:
    """What *told* gives as soon as it gives something; this ends early in every test but a failed one."""
    deadline = time.monotonic() + SECONDS
    while not (found := told()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def wait_for_phase(client: httpx2.Client, run_id: str, phase: str) -> dict[str, Any]:
    """The run as the API tells it as soon as it is in that phase, where it must not end before."""

    def told() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/api/v1/runs/{run_id}").json()
        assert run["progress"] is not None, run
        return run if run["progress"]["phase"] == phase else None

    found: dict[str, Any] = wait_until(told)
    return found


@dataclass(kw_only=True)
class Served:
    """A service that answers."""

    process: Process
    #: What `client` gave out.
    clients: ExitStack = field(default_factory=ExitStack)

    @property
    def service(self) -> Service:
        return self.process.service

    @property
    def address(self) -> str:
        return self.process.address

    def later(self, site: Site, ahead: timedelta) -> None:
        """Let it be so much later than it is; the schedule goes on as if it had always been."""
        site.ahead = ahead

    @contextmanager
    def without_log(self, site: Site) -> Iterator[None]:
        """Let the run log be out of reach."""
        log, aside = site.path / ".syncer/runs.db", site.path / ".syncer/aside.db"
        log.rename(aside)
        log.mkdir()
        try:
            wait_until(lambda: _is_away(self.service.run_log))
            yield
        finally:
            log.rmdir()
            aside.rename(log)
            self.service.run_log.database.close()

    def client(self, token: str = "", headers: Mapping[str, str | bytes] | None = None) -> httpx2.Client:
        """Somebody who asks, with a token or without."""
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        raw = [
            (name.encode(), text if isinstance(text, bytes) else text.encode())
            for name, text in {**shown, **(headers or {})}.items()
        ]
        return self.clients.enter_context(
            httpx2.Client(
                base_url=self.address,
                headers=raw,
                timeout=SECONDS,
                trust_env=False,
                # Nothing is by TLS here, and to read its certificates takes a tenth of a second.
                verify=False,
            )
        )


@dataclass(kw_only=True)
class Site:
    """A folder, and the service over it."""

    path: Path
    #: By how much the service's clock is ahead of the real one.
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def define(
        self, name: str, sql: str = "SELECT id, plan FROM people", header: str = "entity: person\nperson: {id: id}"
    ) -> Path:
        """Write a sync definition, which only runs when asked."""
        path = self.path / f"sync_definitions/{name}.sql"
        path.write_text(f"/* sync\n{header}\nschedule: manual\n*/\n{sql}\n")
        return path

    def people(self, rows: Mapping[str, str], name: str = "people") -> None:
        """Make a table of the warehouse, with a `plan` for each `id`."""
        lines = ["id,plan", *(f"{id_},{plan}" for id_, plan in rows.items())]
        (self.path / f"sync_definitions/sample_data/{name}.csv").write_text("\n".join(lines) + "\n")

    @contextmanager
    def store_locked(self) -> Iterator[None]:
        """Keep every writer of the store, which exists, waiting: a run that sends goes on until this ends."""
        with closing(sqlite3.connect(self.path / ".syncer/profiles.db", isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def elsewhere(self, sync: str) -> Iterator[tuple[Running, str]]:
        """`syncer run` of an endless sync that the service knows of, in a process of its own, and the run's id."""
        running = "SELECT id FROM syncer_runs WHERE sync = ? AND status = 'running'"
        with self._syncer("run", sync) as process:
            yield process, wait_until(lambda: self.log(running, sync))[0][0]

    @contextmanager
    def process(self) -> Iterator[tuple[Running, str]]:
        """`syncer serve` in a process of its own, and its address."""
        with self._syncer("serve", "--port", "0") as process:
            port = wait_until(lambda: _port(process.pid))
            yield process, f"http://127.0.0.1:{port}"

    def _syncer(self, *arguments: str) -> Running:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return forked.running(*arguments, folder=self.path, environment=environment, log=Path(os.devnull))

    def log(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the run log."""
        with closing(sqlite3.connect(self.path / ".syncer/runs.db")) as log:
            return log.execute(query, parameters).fetchall()

    @contextmanager
    def served(self, environment: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> Iterator[Served]:
        """The service in a thread of this process, until the block ends; *seconds*: how long it may take to start."""
        found = settings.load(
            self.path, {"SYNCER_WEB__PORT": "0", "SYNCER_JITTER": "0", "SYNCER_GRACE": "5"} | dict(environment or {})
        )
        state_modes.make_state_dir(found)
        with closing(StateDatabase(found.database_url.get_secret_value())) as database:
            log = RunLog(database)
            service = Service(
                settings=found,
                catalog=Catalog(
                    lambda: folder.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores)
                ),
                runner=Runner(settings=found, run_log=log, now=self.now),
                run_log=log,
                leadership=SingleNode(log, holder="this test", now=self.now),
                now=self.now,
            )
            yield from _answering(Process(service=service, app=create_app(service), now=self.now), seconds)


def _port(pid: int) -> int | None:
    """The port that a process listens on."""
    connections = psutil.Process(pid).net_connections("inet")
    return next((found.laddr.port for found in connections if found.status == psutil.CONN_LISTEN), None)


def _is_away(log: RunLog) -> bool:
    # Connections that are open know the file by another name than its own.
    log.database.close()
    try:
        log.paused()
    except StateDatabaseError:
        return True
    return False


def _answering(process: Process, seconds: float) -> Iterator[Served]:
    thread = threading.Thread(target=process.run, args=[lambda: "the test is over"], name="process")
    thread.start()
    served = Served(process=process)
    try:
        assert process.answering.wait(seconds)
        assert served.client().get("/livez").status_code == 200
        yield served
    finally:
        process.asked_to_stop.set()
        thread.join(SECONDS)
        served.clients.close()
    assert not thread.is_alive()


def small_site(path: Path) -> Site:
    """See `site`."""
    made = Site(path=path)
    (path / "sync_definitions/sample_data").mkdir(parents=True)
    made.people({"1": "free", "2": "pro", "3": "free"})
    made.define("customers")
    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder with one sync, `customers`, over a table of three people."""
    return small_site(tmp_path)


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    """A service over that folder that only this machine reaches, and that asks nobody who they are."""
    with site.served() as answering:
        yield answering


@pytest.fixture
def guarded(site: Site) -> Iterator[Served]:
    """A service over that folder that asks everybody who they are."""
    with site.served(GUARDED) as answering:
        yield answering
