"""A sync from BigQuery into SQLite, by the real commands, against the stand-in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import held, number
from tests.servers.bigquery import BigQueryProject

CUSTOMERS = """
SELECT id, name, spent, tags, TIMESTAMP '2024-02-29 12:00:00+00' AS joined_at
FROM customers
"""
CHANGED = "SELECT id, name FROM customers WHERE updated_at >= TIMESTAMP_SECONDS({{ last_sync_time }})"
PERSON = "entity: person\nperson: {id: id}"


@pytest.fixture
def shop(bigquery_project: BigQueryProject) -> BigQueryProject:
    """A table of three customers, who have not changed for a day."""
    bigquery_project.execute(
        "CREATE TABLE customers AS SELECT i AS id, CONCAT('customer ', i) AS name, "
        "BIGNUMERIC '12345678901234567890.5' AS spent, ['a', 'b'] AS tags, "
        f"TIMESTAMP_SECONDS({int(time.time()) - 86_400}) AS updated_at FROM UNNEST(GENERATE_ARRAY(1, 3)) AS i"
    )
    return bigquery_project


@pytest.fixture(params=[True, False], ids=["storage", "rest"])
def project(request: pytest.FixtureRequest, tmp_path: Path, shop: BigQueryProject) -> Project:
    """A working folder whose warehouse is BigQuery."""
    environment = {
        "SYNCER_WAREHOUSES__DEFAULT__URL": shop.url(storage=request.param),
        "SYNCER_WAREHOUSES__DEFAULT__MAXIMUM_BYTES_BILLED": str(10**10),
        "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{tmp_path}/profiles.db",
    }
    return Project(path=tmp_path, environment=environment)


def run(project: Project, name: str) -> dict[str, Any]:
    ended = project.syncer("run", name, "--json")
    assert ended.code == 0, ended.err
    (told,) = ended.objects
    return {count: told[count] for count in ("queried", "added", "changed", "unchanged", "accepted")}


def test_a_sync_from_bigquery_reaches_the_store_and_repeats_nothing(project: Project, shop: BigQueryProject) -> None:
    project.define("customers", PERSON, CUSTOMERS)

    planned = project.syncer("plan", "customers")
    first = run(project, "customers")
    second = run(project, "customers")
    shop.execute("UPDATE customers SET name = 'Ann' WHERE id = 1")
    third = run(project, "customers")

    assert planned.code == 0
    assert "BigQuery will read 120 bytes (a dry run's estimate), of at most 10 GB allowed" in planned.out + planned.err
    assert first == {"queried": 3, "added": 3, "changed": 0, "unchanged": 0, "accepted": 3}
    assert second == {"queried": 3, "added": 0, "changed": 0, "unchanged": 3, "accepted": 0}
    assert third == {"queried": 3, "added": 0, "changed": 1, "unchanged": 2, "accepted": 1}
    assert held(f"sqlite:///{project.path}/profiles.db").people["1"] == {
        "name": "Ann",
        "spent": number("12345678901234567890.5"),
        "tags": ["a", "b"],
        "joined_at": "2024-02-29T12:00:00Z",
    }
    assert {job.labels["syncer_sync"] for job in shop.jobs() if job.labels} == {"customers"}


def test_an_incremental_sync_reads_what_changed(project: Project, shop: BigQueryProject) -> None:
    project.define("changed", PERSON, CHANGED)

    first = run(project, "changed")
    shop.execute("UPDATE customers SET name = 'Ann', updated_at = CURRENT_TIMESTAMP() WHERE id = 1")
    second = run(project, "changed")

    assert (first["queried"], first["added"]) == (3, 3)
    assert (second["queried"], second["changed"]) == (1, 1)
    assert held(f"sqlite:///{project.path}/profiles.db").people["2"] == {"name": "customer 2"}


def test_a_mistake_is_told_with_its_file(project: Project) -> None:
    path = project.define("customers", PERSON, "SELECT id,\n  nmae\nFROM customers")

    ended = project.syncer("validate", "--connect", "customers")

    assert ended.code == 2
    assert path.name in ended.out + ended.err
    assert "nmae" in ended.out + ended.err


def test_the_connection_is_tested(project: Project) -> None:
    project.define("people", "entity: person\nperson: {id: id}", "SELECT 1 AS id")
    ended = project.syncer("connections", "--test", "--json")

    told = next(connection for connection in ended.objects if connection["kind"] == "warehouse")
    assert (told["reachable"], told["version"], told["can_write"]) == (True, "BigQuery 2", False)
