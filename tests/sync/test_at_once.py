"""Runs of several threads that are the first thing that a process does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import seeds
from tests.servers.postgresql import PostgresServer

ROOT = Path(__file__).parents[2]
SINCE = {"default": "epoch(CAST(seen AS TIMESTAMP)) >", "shop": "seen > to_timestamp"}


def house(path: Path, environment: dict[str, str]) -> None:
    """Eight syncs: of both warehouses, to both stores, half of them with a template."""
    data = path / "sync_definitions/sample_data"
    data.mkdir(parents=True)
    (data / "people.csv").write_text("id,plan,seen\n1,free,2026-01-01\n2,pro,2026-01-02\n")
    (path / "environment.json").write_text(json.dumps(environment))
    for number in range(8):
        warehouse, store = ["default", "shop"][number % 2], ["default", "crm"][number // 2 % 2]
        header, where = "entity: person\nperson: {id: id}", ""
        if number >= 4:
            header = f"entity: object\nobject: {{type: t{number}, id: id}}"
            where = f"WHERE {SINCE[warehouse]} ({{{{ last_sync_time }}}})"
        (path / f"sync_definitions/s{number}.sql").write_text(
            f"/* sync\n{header}\nwarehouse: {warehouse}\nstore: {store}\n*/\nSELECT id, plan FROM people {where}\n"
        )


@pytest.mark.parametrize("round_", seeds(3))
@pytest.mark.parametrize("read", ["first", "with"])
def test_eight_runs_at_once_in_a_new_process_end_well(
    tmp_path: Path, postgres: PostgresServer, read: str, round_: int
) -> None:
    """Every package that they are the first to need is loaded by one thread at a time."""
    with postgres.new_database() as shop, postgres.new_database() as crm, postgres.new_database() as log:
        with psycopg.connect(shop, autocommit=True) as connection:
            rows = "SELECT i AS id, 'free' AS plan, now() AS seen FROM generate_series(1, 2) AS i"
            connection.execute(f"CREATE TABLE people AS {rows}")
        environment = {"SYNCER_WAREHOUSES__SHOP__URL": shop, "SYNCER_STORES__CRM__URL": crm}
        house(tmp_path, environment | ({"SYNCER_DATABASE_URL": log} if round_ % 2 else {}))
        command = [sys.executable, "-m", "tests.sync.at_once", str(tmp_path), read]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True)

    told = json.loads(ran.stdout)
    assert told["runs"] == [f"s{number} success 2 " for number in range(8)]
    assert told["unlocked"] == []
