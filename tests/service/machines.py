"""Machines that run real services: state folders of their own; definitions, warehouse, store and run log in common."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncer.state.runs import RunLog
from tests.cli import forked
from tests.cli.conftest import environment
from tests.cli.forked import Running

SECONDS = 120.0


def wait_until(true: Callable[[], bool], *, seconds: float = SECONDS) -> float:
    """Ask until it is so, and tell after how many seconds that was."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)
    return time.monotonic() - begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What they have in common."""

    folder: Path
    run_log: RunLog
    database_url: str
    #: Settings beside those of every test.
    variables: Mapping[str, str] = field(default_factory=dict)

    def define(self, name: str, sql: str) -> None:
        """Have a sync of people, from one moment to the next."""
        path = self.folder / f"definitions/{name}.sql"
        path.parent.mkdir(exist_ok=True)
        header = "entity: person\nperson: {id: id}\non_removed: clear\nlimits: {removed: 100%}"
        written = self.folder / f"{name}.new"
        written.write_text(f"/* sync\n{header}\n*/\n{sql}\n")
        written.rename(path)

    def people(self, rows: Mapping[str, str]) -> None:
        """Let the warehouse have these, from one moment to the next."""
        path = self.folder / "data/people.csv"
        path.parent.mkdir(exist_ok=True)
        written = self.folder / "people.new"
        written.write_text("\n".join(["id,plan", *(f"{id_},{plan}" for id_, plan in rows.items())]) + "\n")
        written.rename(path)

    def stored(self) -> dict[str, str]:
        """The plan of each person in the store."""
        path = self.folder / "profiles.db"
        if not path.exists():
            return {}
        with closing(sqlite3.connect(path)) as store:
            if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'people'").fetchall():
                return {}
            return dict(store.execute("SELECT id, attributes ->> '$.plan' FROM people"))

    @contextmanager
    def store_locked(self) -> Iterator[None]:
        """Keep every writer of the store waiting."""
        with closing(sqlite3.connect(self.folder / "profiles.db", isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def started(self, name: str, module: str = "tests.service.every_second", *words: str) -> Iterator[Service]:
        """A service on one of them; it is killed at the end if it is still there."""
        settings = {
            "SYNCER_DEFINITIONS_DIR": f"{self.folder}/definitions",
            "SYNCER_STATE_DIR": f"{self.folder}/{name}",
            "SYNCER_DATABASE_URL": self.database_url,
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{self.folder}/data",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{self.folder}/profiles.db",
            "SYNCER_JITTER": "0",
            "SYNCER_WEB__PORT": "0",
            **self.variables,
        }
        log = self.folder / f"{name}.log"
        with forked.running(
            *words, folder=self.folder, environment=environment(settings), module=module, log=log
        ) as process:
            try:
                yield Service(process=process, lock=self.folder / name / "service.lock", run_log=self.run_log)
            except AssertionError:
                print(f"{name} printed:", *log.read_text().splitlines()[-60:], sep="\n")
                raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One that was started."""

    process: Running
    lock: Path
    run_log: RunLog

    def answers(self) -> bool:
        """Whether it has its folder, and tells where its page is."""
        assert self.process.poll() is None
        return self.lock.exists() and f"process {self.process.pid} " in self.lock.read_text()

    def leads(self) -> bool:
        """Whether its term is the newest."""
        return f"process {self.process.pid} " in self.run_log.leader()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)
