"""Machines of which one serves and others work."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncer.model.types import Run, RunStatus
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from tests.cli import forked
from tests.cli.conftest import environment
from tests.cli.forked import Result, Running
from tests.service.machines import Machines, Service, wait_until
from tests.worker.office import Office, opened

SETTINGS = 'runs = "workers"\nsnapshots_url = "database"\n'


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

    def define_gated(self, name: str, header: str = "") -> None:
        """Write a sync whose query waits while its gate is closed."""
        number = zlib.crc32(name.encode())
        (self.folder / f"definitions/{name}.sql").write_text(
            f"/* sync\nentity: person\nperson: {{id: id}}\nwarehouse: gated\n{header}\n*/\n"
            f"SELECT '{name}' AS id, pg_advisory_xact_lock_shared({number})::text AS plan\n"
        )

    @contextmanager
    def closed(self, *names: str) -> Iterator[None]:
        """Let the queries of some syncs wait."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for name in names:
                connection.execute("SELECT pg_advisory_lock(%s)", [zlib.crc32(name.encode())])
            yield

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

    def query(self, sql: str) -> list[Any]:
        """The first column of what a query of the run log's database gives."""
        with psycopg.connect(self.database_url) as connection:
            return [row[0] for row in connection.execute(sql)]

    def change(self, sql: str) -> None:
        """Change the run log's database."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(sql)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let nobody be connected to the run log."""
        server, _, name = self.database_url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def jobs(self) -> list[str]:
        """How the jobs stand."""
        if self.query("SELECT to_regclass('procrastinate_jobs')") == [None]:
            return []
        return self.query("SELECT status FROM procrastinate_jobs ORDER BY id")

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
    (tmp_path / "syncer.toml").write_text(f'{SETTINGS}[warehouses.gated]\nurl = "{postgres_url}"\n')
    (tmp_path / "definitions").mkdir()
    made.people({"1": "free", "2": "pro", "3": "free"})
    yield made
    database.close()


@pytest.fixture
def office(tmp_path: Path, postgres_url: str) -> Iterator[Office]:
    """A service in this process, with one sync and without a worker."""
    with opened(tmp_path, postgres_url) as made:
        yield made
