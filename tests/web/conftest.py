"""The service with its page, answering on a port of its own, over a small warehouse and an embedded store."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syncer import definitions, settings
from syncer.removals import Removals
from syncer.run_log import RunLog
from syncer.runner import Runner
from syncer.service import Service
from syncer.service.catalog import Catalog
from syncer.service.leadership import Sole
from syncer.service.process import Process
from syncer.state_database import StateDatabase
from syncer.web import create_app

PASSWORD = "canary-password-1"
READ_TOKEN = "canary-token-that-reads"
RUN_TOKEN = "canary-token-that-runs"

#: The settings of a service that asks everybody who they are.
GUARDED = {
    "SYNCER_WEB__PASSWORD": PASSWORD,
    "SYNCER_WEB__TOKENS__VIEWER__TOKEN": READ_TOKEN,
    "SYNCER_WEB__TOKENS__CI__TOKEN": RUN_TOKEN,
    "SYNCER_WEB__TOKENS__CI__SCOPE": "run",
}

SECONDS = 30.0


def wait_until(told: Callable[[], Any]) -> Any:
    """What *told* gives as soon as it gives something; this ends early in every test but a failed one."""
    deadline = time.monotonic() + SECONDS
    while not (found := told()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
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

    def client(self, token: str = "", headers: Mapping[str, str] | None = None) -> httpx2.Client:
        """Somebody who asks, with a token or without."""
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return self.clients.enter_context(
            httpx2.Client(base_url=self.address, headers={**shown, **(headers or {})}, timeout=SECONDS, trust_env=False)
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

    def log(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the run log."""
        with closing(sqlite3.connect(self.path / ".syncer/runs.db")) as log:
            return log.execute(query, parameters).fetchall()

    @contextmanager
    def served(self, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
        """The service in a thread of this process, until the block ends."""
        found = settings.load(
            self.path, {"SYNCER_WEB__PORT": "0", "SYNCER_JITTER": "0", "SYNCER_GRACE": "5"} | dict(environment or {})
        )
        settings.make_state_dir(found)
        with closing(StateDatabase(found.database_url.get_secret_value())) as database:
            log = RunLog(database)
            service = Service(
                settings=found,
                catalog=Catalog(
                    lambda: definitions.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores)
                ),
                runner=Runner(settings=found, run_log=log, removals=Removals(database), now=self.now),
                run_log=log,
                leadership=Sole(log, holder="this test", now=self.now),
                now=self.now,
            )
            yield from _answering(Process(service=service, app=create_app(service), now=self.now))


def _answering(process: Process) -> Iterator[Served]:
    thread = threading.Thread(target=process.run, args=[lambda: "the test is over"], name="process")
    thread.start()
    served = Served(process=process)
    try:
        assert process.answering.wait(SECONDS)
        wait_until(lambda: served.client().get("/livez").status_code == 200)
        yield served
    finally:
        process.asked_to_stop.set()
        thread.join(SECONDS)
        served.clients.close()
    assert not thread.is_alive()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder with one sync, `customers`, over a table of three people."""
    made = Site(path=tmp_path)
    (tmp_path / "sync_definitions/sample_data").mkdir(parents=True)
    made.people({"1": "free", "2": "pro", "3": "free"})
    made.define("customers")
    return made


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
