"""Looking writes nothing: a store is made, and its identity fixed, when a run sends it the first row."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql_store import upgrades
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.cli.conftest import Folder
from tests.contracts.batches import PEOPLE, apply, person, put
from tests.fixtures.earlier_versions import unpack
from tests.web.conftest import Site

COMMANDS = (
    ("list",),
    ("validate",),
    ("validate", "--connect"),
    ("plan", "customers"),
    ("show", "person", "1"),
    ("connections",),
    ("connections", "--test"),
    ("runs",),
    ("rejected", "customers"),
    ("verify", "customers"),
    ("alerts",),
    ("schema",),
)

#: What a reader of the page or the API asks for.
READ = (
    "/",
    "/syncs/customers",
    "/syncs/customers/full",
    "/runs",
    "/find?q=1",
    "/people?value=1",
    "/connections",
    "/docs",
    "/metrics",
    "/api/v1/syncs",
    "/api/v1/syncs/customers",
    "/api/v1/syncs/customers/rejected",
    "/api/v1/runs",
    "/api/v1/audit",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, folder: Folder) -> str:
    """The URL of a store that nothing was sent to; the folder's commands and services use it."""
    url = f"sqlite:///{folder.path}/people/profiles.db"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
    folder.write("syncer.toml", f'[stores.default]\nurl = "{url}"\n')
    folder.define("customers", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\nschedule: manual")
    return url


def seen(folder: Path, url: str) -> dict[str, Any]:
    """All files but the run log and what a service keeps beside it, and all of a PostgreSQL database."""
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] != ".syncer"
    }
    state = [path.name for path in (folder / ".syncer").rglob("*") if path.is_file()]
    of_service = ("service.lock", "pruned")
    kept = [name for name in state if not name.startswith("runs.db") and name not in of_service]
    return {"files": files, "state": kept} | database(url)


def database(url: str) -> dict[str, Any]:
    """All that a PostgreSQL database has, with its rows."""
    if not url.startswith("postgresql:"):
        return {}
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    catalog = sa.text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname")
    with engine.connect() as connection:
        names = list(connection.execute(catalog).scalars())
        tables = sa.inspect(connection).get_table_names()
        rows = {name: sorted(map(str, connection.execute(sa.text(f"SELECT * FROM {name}")))) for name in tables}
    return {"names": names, "rows": rows}


def test_no_command_that_looks_writes_anything(folder: Folder, store: str) -> None:
    before = seen(folder.path, store)

    for command in COMMANDS:
        assert folder.syncer(*command).code in (0, 1), command
        assert seen(folder.path, store) == before, command

    folder.write("syncer.toml", f'[stores.default]\nurl = "{store}"\nidentity = "email"\n')
    folder.define("customers", "SELECT id || '@x.com' AS email FROM people", "entity: person\nperson: {email: email}")
    assert folder.syncer("run", "customers").code == 0
    assert seen(folder.path, store) != before


def test_neither_pages_nor_the_api_write_anything_to_read(folder: Folder, store: str) -> None:
    before = seen(folder.path, store)

    with Site(path=folder.path).served() as served:
        client = served.client(headers={"Origin": served.address})
        for path in READ:
            assert client.get(path).status_code in (200, 404), path
        assert client.post("/api/v1/syncs/customers/plan").status_code == 200
        after = seen(folder.path, store)
        # The page keeps the plan that it shows, for the button that sends it, and nothing else.
        assert client.post("/syncs/customers/plan").status_code == 200
        plans = {path.name for path in (folder.path / ".syncer/plans").iterdir()}
        shown = seen(folder.path, store)

    assert after == before
    assert len(plans) == 2
    assert shown | {"state": [name for name in shown["state"] if name not in plans]} == before


def test_a_run_that_fails_or_is_held_makes_no_store(folder: Folder, store: str) -> None:
    before = database(store)
    folder.define("customers", "SELECT id, 1 / 0 AS x, nothing FROM people")
    assert folder.syncer("run", "customers").code == 1
    folder.define("customers", "SELECT id FROM people", "entity: person\nperson: {id: id}\nlimits: {added: 2}")

    assert [folder.syncer("run", "customers").code for _ in range(2)] == [3, 3]

    assert database(store) == before
    assert not (folder.path / "people").exists()
    assert folder.syncer("run", "customers", "--allow-limits").code == 0
    assert folder.syncer("run", "customers", "--json").objects[0]["accepted"] == 0
    assert not list((folder.path / ".syncer").rglob("*.previous-*"))


def test_an_empty_result_leaves_one_snapshot_and_is_no_reason_to_send_later_rows_twice(
    folder: Folder, store: str
) -> None:
    folder.define("customers", "SELECT id, plan FROM people WHERE plan = 'gone'")
    runs = [folder.syncer("run", "customers", "--json").objects[0] for _ in range(3)]
    assert [run["status"] for run in runs] == ["success"] * 3
    folder.people({"1": "gone"})

    runs = [folder.syncer("run", "customers", "--json").objects[0] for _ in range(2)]

    assert [(run["added"], run["accepted"]) for run in runs] == [(1, 1), (0, 0)]
    assert [path.name for path in (folder.path / ".syncer/snapshots").iterdir()] == ["customers.duckdb"]
    notes = [run["notes"] for run in folder.syncer("runs", "customers", "--json").objects]
    assert not [note for of_run in notes for note in of_run if "restore" in note or "another" in note]


@pytest.fixture(params=["format_1", "format_2", "format_4"])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store of an earlier version."""
    return unpack(request.param, tmp_path, "").store


def test_a_store_of_an_earlier_format_is_read_as_it_is(earlier: str) -> None:
    engine = sa.create_engine(earlier, poolclass=sa.NullPool)
    with engine.connect() as connection:
        number = connection.execute(sa.text("SELECT version_num FROM workspace_version")).scalar_one()
        id_ = connection.execute(sa.text("SELECT min(id) FROM people WHERE id IS NOT NULL")).scalar_one()

    with closing(open_store("default", earlier, identity=Identity.ID)) as opened:
        assert opened.show(Entity.PERSON, "id", id_) is not None
        for looked in (opened.fences("x"), opened.moves_since(0).identifiers.to_pylist()):  # type: ignore[attr-defined]
            assert isinstance(looked, (dict, list))
        assert opened.ledgers() is not None  # type: ignore[attr-defined]
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM workspace_version")).scalar_one()
        assert found == number
        apply(opened, PEOPLE, put("new", attributes={"a": 1}))
        assert person(opened, "new")["attributes"] == {"a": 1}

    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM workspace_version")).scalar_one()
    assert int(found) == upgrades.FORMATS.newest
