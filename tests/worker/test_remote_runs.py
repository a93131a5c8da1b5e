"""What a service shows and does of runs that workers make."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from syncer.definitions import folder as definitions
from syncer.definitions.folder import Loaded
from syncer.model.types import EndedBy, RunStatus
from syncer.service.catalog import Catalog
from syncer.service.remote_runs import RemoteRuns
from syncer.sync.progress import RunOptions
from tests.service.machines import wait_until
from tests.worker.office import SQL, Office


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
    with replace(office, catalog=lagging).worker("far", patience=timedelta(0)):
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
    with replace(office, catalog=lagging).worker("far"):
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
    with replace(office, catalog=lagging).worker("far"):
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


def test_the_jobs_of_many_runs_that_wait_are_looked_for_at_once(office: Office) -> None:
    names = [f"sync_{number:02}" for number in range(30)]
    for name in names:
        (office.folder / f"sync_definitions/{name}.sql").write_text(SQL)
    office.service.reload()
    for name in names:
        office.service.run_now(name, actor="ann")
    pool, database = office.service.pool, office.service.run_log.database
    assert isinstance(pool, RemoteRuns)
    wait_until(lambda: pool.jobs.waiting() == {*names})
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM procrastinate_jobs WHERE lock = 'sync_07'"))
    begun: list[float] = []
    sa.event.listen(sa.Engine, "begin", lambda _: begun.append(time.monotonic()))
    pool._deferred |= dict.fromkeys(pool._deferred, 0.0)
    pool._look()

    assert len(begun) < len(names) / 2
    assert pool.jobs.waiting() == {*names}
