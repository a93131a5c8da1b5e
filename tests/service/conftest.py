"""A service over a small warehouse and an embedded store, with a clock of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncer.definitions import folder as definitions
from syncer.definitions.folder import Loaded
from syncer.model.types import Every, Run, RunStatus, SyncDefinition
from syncer.service.catalog import Catalog
from syncer.service.leadership import SingleNode
from syncer.service.service import Service
from syncer.settings import settings, state_modes
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner

PERSON = "entity: person\nperson: {id: id}\n"


def wait_until(told: Callable[[], Any], seconds: float = 60) -> Any:
    """What *told* gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := told()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


@dataclass
class Bench:
    """A folder, and the services over it."""

    path: Path
    #: By how much this folder's clock is ahead of the real one.
    ahead: timedelta = timedelta()
    environment: dict[str, str] = field(default_factory=lambda: {"SYNCER_JITTER": "0"})
    #: In place of what the files say, so that a test need not wait for a minute.
    intervals: dict[str, timedelta] = field(default_factory=dict)

    #: How long a run waits for a plan of its sync.
    patience: timedelta = timedelta(minutes=1)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def define(self, name: str, sql: str = "SELECT * FROM people", header: str = PERSON) -> Path:
        path = self.path / f"sync_definitions/{name}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"/* sync\n{header.strip()}\n*/\n{sql}\n")
        return path

    def people(self, rows: dict[str, str], name: str = "people") -> None:
        folder = self.path / "sync_definitions/sample_data"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text("\n".join(["id,plan", *(f"{k},{v}" for k, v in rows.items())]) + "\n")

    def load(self) -> Loaded:
        """The folder, with this test's intervals."""
        loaded = definitions.load(self.path / "sync_definitions", warehouses=["default"], stores=["default"])
        return replace(loaded, definitions=tuple(self._hastened(one) for one in loaded.definitions))

    def _hastened(self, definition: SyncDefinition) -> SyncDefinition:
        interval = self.intervals.get(definition.name)
        return definition if interval is None else replace(definition, schedule=Every(interval=interval))

    @contextmanager
    def service(self, *, started: bool = True) -> Iterator[Service]:
        """A service, in this process."""
        found = settings.load(self.path, self.environment)
        state_modes.make_state_dir(found)
        database = StateDatabase(found.database_url.get_secret_value())
        log = RunLog(database)
        service = Service(
            settings=found,
            catalog=Catalog(self.load),
            runner=Runner(settings=found, run_log=log, now=self.now, patience=self.patience),
            run_log=log,
            leadership=SingleNode(log, holder="this test", now=self.now),
            now=self.now,
        )
        try:
            if started:
                service.start()
            yield service
        finally:
            service.stop("the test is over")
            database.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A folder with a table of three people and no sync."""
    made = Bench(path=tmp_path)
    made.people({"1": "free", "2": "pro", "3": "free"})
    (tmp_path / "sync_definitions").mkdir(exist_ok=True)
    return made


def runs_of(service: Service, name: str) -> list[Run]:
    """The runs of a sync, oldest first."""
    return service.run_log.recent(name, 1000)[::-1]


def ended_runs(service: Service, name: str) -> list[Run]:
    """Those of them that ran to their end."""
    return [run for run in runs_of(service, name) if run.status in (RunStatus.SUCCESS, RunStatus.WARNING)]
