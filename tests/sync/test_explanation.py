"""What each sync had to do with one entity."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncer.model.errors import SelectionError
from syncer.model.types import Order, PersonKey, Run, RunStatus, Trigger, Verdict
from syncer.service.service import Service
from syncer.snapshot import file
from syncer.sync.explaining import explain
from syncer.sync.explanation import Explained, Explanation, RowState
from tests.service.conftest import Bench

TEAM = "entity: object\nobject: {type: team, id: id}"
MEMBER = "entity: relationship\nperson: {id: person}\nobject: {type: team, id: team}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A folder with a table of people and a sync of them."""
    made = Bench(path=tmp_path)
    made.people({"1": "free", "2": "pro"})
    made.define("customers")
    return made


@pytest.fixture
def service(bench: Bench) -> Iterator[Service]:
    with bench.service(started=False) as made:
        yield made


def run(service: Service, *names: str) -> list[RunStatus]:
    service.catalog.reload()
    order = Order(trigger=Trigger.MANUAL)
    return [service.runner.run(service.definition(name), order=order).status for name in names]


def person(service: Service, value: str, by: PersonKey = PersonKey.ID, *, sync: str | None = None) -> Explained:
    return explain(service.lookup, service.lookup.person("default", value, by), sync=sync)


def only(found: Explained) -> Explanation:
    (row,) = found.rows
    return row


def states(row: Explanation) -> list[tuple[str, Any, Any, bool | None]]:
    return [(one.attribute, one.sent, one.stored, one.stands) for one in row.attributes]


def test_a_delivered_row_stands_in_the_store(service: Service) -> None:
    assert run(service, "customers") == [RunStatus.SUCCESS]

    row = only(person(service, "1"))

    assert (row.sync, row.key, row.in_result, row.in_doubt, row.busy) == ("customers", "1", True, False, False)
    assert row.last_sent is not None
    assert (row.last_sent.values, row.last_sent.verdict) == ({"plan": "free"}, Verdict.ACCEPTED)
    assert states(row) == [("plan", "free", "free", True)]


def test_what_another_sync_wrote_over_does_not_stand(bench: Bench, service: Service) -> None:
    bench.define("vips", "SELECT '1' AS id, 'gold' AS plan")
    run(service, "customers", "vips")

    customers, vips = person(service, "1").rows

    assert states(customers) == [("plan", "free", "gold", False)]
    assert customers.overwritten == ["plan"]
    assert states(vips) == [("plan", "gold", "gold", True)]


def test_only_syncs_that_had_something_to_do_with_the_person_are_named(bench: Bench, service: Service) -> None:
    bench.define("vips", "SELECT '2' AS id, 'gold' AS tier")
    run(service, "customers", "vips")

    found = person(service, "1")

    assert only(found).sync == "customers"
    assert found.others == 1
    nobody = person(service, "9")
    assert (nobody.rows, nobody.others, nobody.is_known) == ([], 2, False)


def test_a_sync_that_is_named_says_that_the_row_is_not_in_its_result(bench: Bench, service: Service) -> None:
    bench.define("vips", "SELECT '2' AS id, 'gold' AS tier")
    bench.define("new", "SELECT '2' AS id, 'gold' AS tier")
    bench.define("recent", "SELECT '2' AS id, 'gold' AS tier, {{ last_sync_time }} AS t")
    run(service, "customers", "vips", "recent")

    found = person(service, "1", sync="vips")

    assert (only(found).in_result, found.is_known) == (False, False)
    assert only(person(service, "1", sync="new")).in_result is None
    assert only(person(service, "1", sync="recent")).in_result is None
    assert only(person(service, "2", sync="recent")).in_result is None
    with pytest.raises(SelectionError, match="no sync is called `vip`"):
        person(service, "1", sync="vip")


def test_a_person_is_found_by_each_identifier_of_the_store(bench: Bench, tmp_path: Path) -> None:
    bench = Bench(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__IDENTITY": "id_or_email"})
    bench.define("people", "SELECT 42 AS id, 'Ada@Example.com' AS email")
    bench.define("scores", "SELECT 'ada@example.com' AS email, 7 AS score", "entity: person\nperson: {email: email}")
    with bench.service(started=False) as service:
        run(service, "people", "scores")
        by_id = person(service, "42")

        assert [(row.sync, row.key) for row in by_id.rows] == [("people", "42"), ("scores", "ada@example.com")]
        assert states(by_id.rows[0]) == [("email", "ada@example.com", "ada@example.com", True)]
        for kind in (PersonKey.EMAIL, PersonKey.CIO_ID):
            value = by_id.stored.sought.identifiers[kind]
            assert person(service, value, kind).rows == by_id.rows


def test_a_row_is_found_after_its_identifier_moved(bench: Bench, tmp_path: Path) -> None:
    made = Bench(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__IDENTITY": "id_or_email"})
    made.define("people", "SELECT 1 AS id, 'old@example.com' AS email")
    made.define("scores", "SELECT 'old@example.com' AS email, 7 AS score", "entity: person\nperson: {email: email}")
    with made.service(started=False) as service:
        run(service, "people", "scores")
        made.define("people", "SELECT 1 AS id, 'new@example.com' AS email")
        run(service, "people")

        assert [(row.sync, row.key) for row in person(service, "1").rows] == [
            ("people", "1"), ("scores", "old@example.com")
        ]  # fmt: skip


def test_a_rejected_row_says_why_and_since_when(bench: Bench, service: Service) -> None:
    bench.define("members", "SELECT * FROM (VALUES (1, 't1', 'admin')) t (person, team, role)", MEMBER)
    assert run(service, "customers", "members") == [RunStatus.SUCCESS, RunStatus.WARNING]

    _, member = person(service, "1").rows

    (rejection,) = service.run_log.rejections_of(["members"])
    last_run = service.run_log.recent("members", 1)[0]
    assert (member.key, member.in_result) == ('["1","t1"]', True)
    assert member.rejected is not None
    assert member.last_sent is not None
    assert (member.rejected.reason, member.rejected.since) == (rejection.reason, rejection.first_seen)
    assert (member.last_sent.verdict, member.last_sent.run_id, member.last_sent.at) == (
        Verdict.REJECTED, last_run.id, last_run.started_at
    )  # fmt: skip


def test_objects_relationships_and_rows_of_collections_are_explained(bench: Bench, service: Service) -> None:
    bench.define("teams", "SELECT 't1' AS id, 12345678901234567890.5 AS fee", TEAM)
    bench.define("members", "SELECT * FROM (VALUES (1, 't1', 'admin')) t (person, team, role)", MEMBER)
    prices = "SELECT * FROM (VALUES ('a', 1, 0.10)) t (code, level, price)"
    bench.define("prices", prices, "entity: collection\ncollection: prices\nkey: [code, level]")
    run(service, "customers", "teams", "members", "prices")
    lookup = service.lookup

    team = explain(lookup, lookup.one_object("default", "team", "t1"))
    member = explain(lookup, lookup.relationship(lookup.person("default", "1"), "team", "t1"))
    price = explain(lookup, lookup.collection("default", "prices", '["a","1"]'))

    assert [(row.sync, states(row)[0][3]) for row in team.rows] == [("members", True), ("teams", True)]
    assert states(only(member)) == [("role", "admin", "admin", True)]
    assert [one.stands for one in only(price).attributes] == [True, True, True]
    assert [row.sync for row in person(service, "1").rows] == ["customers", "members"]
    assert states(person(service, "1").rows[1]) == [("role", "admin", "admin", True)]


def test_a_snapshot_that_is_open_is_busy_and_still_says_what_is_rejected(bench: Bench, service: Service) -> None:
    bench.define("members", "SELECT * FROM (VALUES (1, 't1', 'admin')) t (person, team, role)", MEMBER)
    run(service, "customers", "members")
    folder = service.settings.snapshots_dir

    with (
        file.locked(folder / "customers.duckdb", sync="customers"),
        file.locked(folder / "members.duckdb", sync="members"),
    ):
        customers, members = person(service, "1").rows

    assert (customers.busy, customers.in_result, customers.is_known) == (True, None, False)
    assert members.busy
    assert members.rejected is not None


def test_a_look_does_not_make_a_run_fail(service: Service) -> None:
    run(service, "customers")
    path = service.settings.snapshots_dir / "customers.duckdb"
    with file.in_memory(path) as connection, file.attached(connection, path, sync="customers"):
        statuses: list[RunStatus] = []
        running = threading.Thread(target=lambda: statuses.extend(run(service, "customers")))
        running.start()
        running.join(timeout=0.5)
        assert running.is_alive()
    running.join(timeout=30)

    assert statuses == [RunStatus.SUCCESS]


def test_a_sync_whose_file_is_gone_is_named_still(bench: Bench, service: Service) -> None:
    bench.define("vips", "SELECT '1' AS id, 'gold' AS tier")
    run(service, "vips")
    (bench.path / "sync_definitions/vips.sql").unlink()
    service.catalog.reload()

    found = person(service, "1")

    assert [(row.sync, row.in_result) for row in found.rows] == [("vips", None)]


def test_a_store_that_does_not_answer_leaves_open_what_stands(bench: Bench, service: Service) -> None:
    run(service, "customers")
    (bench.path / ".syncer/profiles.db").write_bytes(b"no database")

    found = person(service, "1")

    assert found.stored.fault is not None
    assert states(only(found)) == [("plan", "free", None, None)]


def newest(service: Service, name: str) -> Run:
    return service.run_log.recent(name, 1)[0]


def test_the_runs_that_added_a_row_and_that_sent_it_last_are_named(bench: Bench, service: Service) -> None:
    run(service, "customers")
    first = newest(service, "customers")
    bench.people({"1": "pro", "2": "pro"})
    run(service, "customers")
    second = newest(service, "customers")
    run(service, "customers")

    one, two = only(person(service, "1")), only(person(service, "2"))

    assert (one.since_run, two.since_run) == (first.id, first.id)
    assert one.last_sent is not None
    assert two.last_sent is not None
    assert (one.last_sent.run_id, one.last_sent.at) == (second.id, second.started_at)
    assert (two.last_sent.run_id, two.last_sent.at) == (first.id, first.started_at)


@pytest.mark.parametrize("on_removed", ["keep", "clear", "delete"])
def test_a_row_that_left_the_result_is_remembered_until_it_comes_back(
    bench: Bench, service: Service, on_removed: str
) -> None:
    header = f"entity: person\nperson: {{id: id}}\non_removed: {on_removed}\nlimits: {{removed: 100%}}"
    bench.define("customers", header=header)
    run(service, "customers")
    added = newest(service, "customers")
    bench.people({"2": "pro"})
    assert run(service, "customers") == [RunStatus.SUCCESS]
    left = newest(service, "customers")

    row = only(person(service, "1"))

    assert (row.in_result, row.since_run, row.state) == (False, left.id, RowState.LEFT)
    assert row.last_sent is not None
    assert (row.last_sent.values, row.last_sent.run_id) == ({"plan": "free"}, added.id)
    assert states(row) == ([("plan", "free", "free", True)] if on_removed == "keep" else [])

    bench.people({"1": "pro", "2": "pro"})
    run(service, "customers")
    back = only(person(service, "1"))
    assert (back.in_result, back.since_run) == (True, newest(service, "customers").id)
    assert states(back) == [("plan", "pro", "pro", True)]


def test_what_left_is_forgotten_with_the_runs(bench: Bench, service: Service) -> None:
    run(service, "customers")
    bench.people({"2": "pro"})
    run(service, "customers")
    bench.ahead += timedelta(days=91)
    run(service, "customers")

    assert person(service, "1").rows == []


def test_somebody_whom_the_store_does_not_have_is_absent(bench: Bench, service: Service) -> None:
    bench.define("scores", "SELECT '7' AS id, 1 AS score", "entity: person\nperson: {id: id}\ncreate: false")
    run(service, "scores")
    first = newest(service, "scores")

    row = only(person(service, "7"))

    assert (row.in_result, row.state) == (True, RowState.ABSENT)
    assert row.last_sent is not None
    assert (row.last_sent.verdict, row.last_sent.run_id) == (Verdict.ABSENT, first.id)

    bench.define("scores", "SELECT '8' AS id, 1 AS score", "entity: person\nperson: {id: id}\ncreate: false")
    run(service, "scores")
    assert person(service, "7").rows == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_people_are_found_by_a_part_of_their_email_or_name(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/p.db"
    made = Bench(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__URL": url})
    made.people({})
    rows = "(1, 'Ann_B@Example.com', 'Ann Bee'), (2, 'annxb@example.com', NULL), (3, 'cy@example.com', 'Cy 100%')"
    made.define("people", f"SELECT * FROM (VALUES {rows}) t (id, email, full_name)")
    with made.service(started=False) as service:
        assert run(service, "people") == [RunStatus.SUCCESS]

        def found(text: str) -> list[tuple[str, str | None]]:
            return [(hit.sought.value, hit.name) for hit in service.lookup.find(text).people]

        assert found("ann_b@") == [("1", None)]
        assert found("EXAMPLE") == [("1", None), ("2", None), ("3", None)]
        assert found("n bee") == [("1", "Ann Bee")]
        assert found("00%") == [("3", "Cy 100%")]
        assert found("cy") == []
