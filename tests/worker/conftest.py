"""Machines of which one serves and others work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncer.model.types import Run, RunStatus
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from tests.cli import forked
from tests.cli.conftest import environment
from tests.cli.forked import Result, Running
from tests.service.machines import Machines, Service, wait_until

SETTINGS = 'runs = "workers"\nsnapshots_url = "database"\nlog_level = "debug"\n'


class Cluster(Machines):
    """A service that makes no run itself, and workers."""

    @contextmanager
    def serving(self, name: str = "leader") -> Iterator[Service]:
        """A service, once it leads or stands by."""
        with self.started(name, "syncer", "serve") as service:
            wait_until(service.answers)
            yield service

    @contextmanager
    def working(self, name: str, *words: str) -> Iterator[Running]:
        """A worker, once it takes jobs."""
        with self.started(name, "syncer", "worker", *words) as service:
            wait_until(lambda: self.printed(name).rpartition("ready ")[1] == "ready ")
            yield service.process

    def printed(self, name: str) -> str:
        """What a process has printed so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def command(self, *words: str, **variables: str) -> Result:
        """A command on one more machine."""
        given = {
            "SYNCER_DEFINITIONS_DIR": f"{self.folder}/definitions",
            "SYNCER_STATE_DIR": f"{self.folder}/by_hand",
            "SYNCER_DATABASE_URL": self.database_url,
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{self.folder}/data",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{self.folder}/profiles.db",
        }
        return forked.run(*words, folder=self.folder, environment=environment(given | variables))

    def workers(self) -> dict[str, dict[str, Any]]:
        """What `syncer workers --json` says, by name."""
        found = self.command("workers", "--json")
        assert found.code == 0, found.err
        return {one["worker"]: one for one in map(json.loads, found.out.splitlines())}

    def runs(self, sync: str) -> list[Run]:
        """The runs of a sync, oldest first."""
        return self.run_log.recent(sync, 1000)[::-1]

    def ended_well(self, sync: str) -> int:
        """How many of them ended well."""
        return sum(run.status is RunStatus.SUCCESS for run in self.runs(sync))

    def is_running(self, *syncs: str) -> bool:
        """Whether a run of each goes on."""
        return {run.sync for run in self.run_log.open_runs()} >= {*syncs}


@pytest.fixture
def cluster(tmp_path: Path, postgres_url: str) -> Iterator[Cluster]:
    """No sync, and three people."""
    database = StateDatabase(postgres_url)
    made = Cluster(folder=tmp_path, run_log=RunLog(database), database_url=postgres_url)
    (tmp_path / "syncer.toml").write_text(SETTINGS)
    (tmp_path / "definitions").mkdir()
    made.people({"1": "free", "2": "pro", "3": "free"})
    yield made
    database.close()
