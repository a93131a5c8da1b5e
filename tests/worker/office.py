"""A service that leads, and workers, in this process."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from syncer.definitions import folder as definitions
from syncer.service.catalog import Catalog
from syncer.service.leadership import LeaderElection
from syncer.service.service import Service
from syncer.service.worker.worker import Worker
from syncer.settings import settings, state_modes
from syncer.settings.settings import Settings
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner

SQL = "/* sync\nentity: person\nperson: {id: id}\nschedule: manual\n*/\nSELECT '1' AS id, 'x' AS plan\n"


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Clock:
    """Tells aware UTC, so much ahead."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return now() + self.ahead


@dataclass(frozen=True, kw_only=True)
class Office:
    """A service that leads, and workers."""

    folder: Path
    service: Service
    catalog: Catalog
    #: Of the service alone.
    clock: Clock

    def settings(self, name: str) -> Settings:
        """Those of a worker."""
        return made_settings(self.folder, name, self.service.settings.database_url.get_secret_value())

    def define(self, name: str, header: str = "", *, schedule: str = "manual") -> None:
        """Write a sync of one person, which only runs when asked."""
        sql = SQL.replace("schedule: manual", f"{header}\nschedule: {schedule}")
        (self.folder / f"sync_definitions/{name}.sql").write_text(sql)
        self.service.reload()

    def define_gated(self, name: str) -> None:
        """Write a sync whose query waits while its gate is closed."""
        (self.folder / f"sync_definitions/{name}.sql").write_text(
            "/* sync\nentity: person\nperson: {id: id}\nschedule: manual\nwarehouse: gated\n*/\n"
            f"SELECT '{name}' AS id, pg_advisory_xact_lock_shared({zlib.crc32(name.encode())})::text AS plan\n"
        )
        self.service.reload()

    @contextmanager
    def closed(self, name: str) -> Iterator[None]:
        """Let the query of a sync wait."""
        url = self.service.settings.database_url.get_secret_value()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [zlib.crc32(name.encode())])
            yield

    @contextmanager
    def worker(
        self, name: str = "a", patience: timedelta = timedelta(seconds=60), queues: Sequence[str] = ()
    ) -> Iterator[Worker]:
        """A worker that takes runs."""
        found, log = self.settings(name), self.service.run_log
        state_modes.make_state_dir(found)
        made = Worker(
            runner=Runner(settings=found, run_log=log, now=now),
            run_log=log,
            catalog=self.catalog,
            name=name,
            host="here",
            queues=queues,
            concurrency=2,
            now=now,
            patience=patience,
        )
        thread = threading.Thread(target=made.work, args=(lambda: None,))
        thread.start()
        try:
            yield made
        finally:
            made.stop("the test is over")
            thread.join(60)


def made_settings(folder: Path, name: str, url: str, **more: str) -> Settings:
    """Those of the service, or of a worker with that state folder."""
    return settings.load(
        folder,
        {
            "SYNCER_STATE_DIR": name,
            "SYNCER_DATABASE_URL": url,
            "SYNCER_RUNS": "workers",
            "SYNCER_SNAPSHOTS_URL": "database",
            "SYNCER_WAREHOUSES__GATED__URL": url,
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/sync_definitions",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{folder}/profiles.db",
            **more,
        },
    )


@contextmanager
def opened(folder: Path, url: str, *, name: str = "leader", **more: str) -> Iterator[Office]:
    """An office with one sync, `customers`, and no worker; one of another name stands by."""
    (folder / "sync_definitions").mkdir(exist_ok=True)
    (folder / "sync_definitions/customers.sql").write_text(SQL)
    found = made_settings(folder, name, url, **more)
    state_modes.make_state_dir(found)
    database = StateDatabase(url)
    log = RunLog(database)
    catalog = Catalog(lambda: definitions.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores))
    clock = Clock()
    service = Service(
        settings=found,
        catalog=catalog,
        runner=Runner(settings=found, run_log=log, now=clock),
        run_log=log,
        leadership=LeaderElection(database, log, holder=name, now=clock),
        now=clock,
    )
    service.start()
    try:
        yield Office(folder=folder, service=service, catalog=catalog, clock=clock)
    finally:
        service.stop("the test is over")
        database.close()
