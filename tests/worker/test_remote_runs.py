"""What a service shows and does of runs that workers make."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.definitions import folder as definitions
from syncer.definitions.folder import Loaded
from syncer.model.types import EndedBy, RunStatus
from syncer.service.catalog import Catalog
from syncer.service.leadership import LeaderElection
from syncer.service.service import Service
from syncer.service.worker.worker import Worker
from syncer.settings import settings, state_modes
from syncer.settings.settings import Settings
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.progress import RunOptions
from syncer.sync.runner import Runner
from tests.service.machines import wait_until

SQL = "/* sync\nentity: person\nperson: {id: id}\nschedule: manual\n*/\nSELECT '1' AS id, 'x' AS plan\n"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Office:
    """A service that leads, and workers, in this process."""

    folder: Path
    service: Service
    catalog: Catalog

    def settings(self, name: str) -> Settings:
        return made_settings(self.folder, name, self.service.settings.database_url.get_secret_value())

    @contextmanager
    def worker(self, name: str = "a", patience: timedelta = timedelta(seconds=60)) -> Iterator[Worker]:
        """A worker that takes runs."""
        found, log = self.settings(name), self.service.run_log
        state_modes.make_state_dir(found)
        made = Worker(
            runner=Runner(settings=found, run_log=log, now=now),
            run_log=log,
            catalog=self.catalog,
            name=name,
            host="here",
            queues=[],
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


def made_settings(folder: Path, name: str, url: str) -> Settings:
    return settings.load(
        folder,
        {
            "SYNCER_STATE_DIR": name,
            "SYNCER_DATABASE_URL": url,
            "SYNCER_RUNS": "workers",
            "SYNCER_SNAPSHOTS_URL": "database",
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/sync_definitions",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{folder}/profiles.db",
        },
    )


@pytest.fixture
def office(tmp_path: Path, postgres_url: str) -> Iterator[Office]:
    """Without a worker."""
    (tmp_path / "sync_definitions").mkdir()
    (tmp_path / "sync_definitions/customers.sql").write_text(SQL)
    found = made_settings(tmp_path, "leader", postgres_url)
    state_modes.make_state_dir(found)
    database = StateDatabase(postgres_url)
    log = RunLog(database)
    catalog = Catalog(lambda: definitions.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores))
    service = Service(
        settings=found,
        catalog=catalog,
        runner=Runner(settings=found, run_log=log, now=now),
        run_log=log,
        leadership=LeaderElection(database, log, holder="this test", now=now),
        now=now,
    )
    service.start()
    yield Office(folder=tmp_path, service=service, catalog=catalog)
    service.stop("the test is over")
    database.close()


def test_a_run_waits_until_a_worker_begins_it(office: Office) -> None:
    active = office.service.run_now("customers", actor="ann")
    wait_until(lambda: office.service.pool._next() is None)
    before = active.began_at
    with office.worker():
        assert active.ended.wait(60)

    assert before is None
    assert active.began_at is not None
    assert active.run is not None
    assert active.run.status is RunStatus.SUCCESS


def test_a_run_of_one_row_needs_no_worker(office: Office) -> None:
    active = office.service.run_now("customers", actor="ann", options=RunOptions(only=("1",)))
    assert active.ended.wait(60)

    assert active.run is not None
    assert active.run.status is RunStatus.SUCCESS
    assert active.run.counts.accepted == 1


def test_options_reach_the_worker(office: Office) -> None:
    with office.worker():
        for options in (RunOptions(), RunOptions(full=True)):
            active = office.service.run_now("customers", actor="ann", options=options)
            assert active.ended.wait(60)

    assert active.run is not None
    assert (active.run.options, active.run.actor) == (("full",), "ann")
    assert active.run.counts.accepted == 1


def test_a_run_that_waits_is_stopped_from_the_page(office: Office) -> None:
    active = office.service.run_now("customers", actor="ann")
    wait_until(lambda: office.service.pool._next() is None)
    office.service.cancel(active.run_id, actor="ben")
    assert active.ended.wait(60)

    assert active.run is not None
    assert (active.run.status, active.run.ended_by) == (RunStatus.INTERRUPTED, EndedBy.PERSON)
    assert active.run.error == "stopped by ben"


def test_a_sync_that_the_worker_does_not_have_is_skipped(office: Office) -> None:
    (office.folder / "sync_definitions/other.sql").write_text(SQL)
    office.service.reload()
    known = office.service.catalog
    lagging = Catalog(lambda: definitions.load(office.folder / "none", warehouses=["default"], stores=["default"]))
    (office.folder / "none").mkdir()
    lagging.open()
    active = office.service.run_now("other", actor="ann")
    with Office(folder=office.folder, service=office.service, catalog=lagging).worker("far", patience=timedelta(0)):
        assert active.ended.wait(60)

    assert known.get("other") is not None
    assert active.run is not None
    assert (active.run.status, active.run.notes) == (
        RunStatus.SKIPPED,
        ("not run, as the worker far has no definition of it",),
    )


def test_a_sync_reaches_a_worker_later_than_the_service(office: Office) -> None:
    late = office.folder / "late"
    late.mkdir()
    looks: list[float] = []

    def load() -> Loaded:
        looks.append(time.monotonic())
        if len(looks) == 3:
            (late / "other.sql").write_text(SQL)
        return definitions.load(late, warehouses=["default"], stores=["default"])

    lagging = Catalog(load)
    lagging.open()
    (office.folder / "sync_definitions/other.sql").write_text(SQL)
    office.service.reload()
    active = office.service.run_now("other", actor="ann")
    with Office(folder=office.folder, service=office.service, catalog=lagging).worker("far"):
        assert active.ended.wait(60)

    assert active.run is not None
    assert active.run.status is RunStatus.SUCCESS
    assert len(looks) == 3


def test_a_worker_reads_a_definition_again_that_is_another_one_than_the_service_has(office: Office) -> None:
    lagging = Catalog(
        lambda: definitions.load(office.folder / "sync_definitions", warehouses=["default"], stores=["default"])
    )
    lagging.open()
    (office.folder / "sync_definitions/customers.sql").write_text(SQL.replace("'x'", "'y'"))
    office.service.reload()
    active = office.service.run_now("customers", actor="ann")
    with Office(folder=office.folder, service=office.service, catalog=lagging).worker("far"):
        assert active.ended.wait(60)

    found = lagging.get("customers")
    assert found is not None
    assert active.run is not None
    assert active.run.definition_hash == found.hash
    assert found == office.service.definition("customers")


def test_a_service_that_stops_leaves_what_it_ordered_to_workers(office: Office) -> None:
    active = office.service.run_now("customers", actor="ann")
    wait_until(lambda: office.service.pool._next() is None)
    assert office.service.pool.close("the service was stopped", 5)
    with office.worker():
        wait_until(lambda: office.service.run_log.last_status() == {"customers": RunStatus.SUCCESS})

    assert active.run is None
