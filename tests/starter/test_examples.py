from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from syncer.definitions import folder as definitions
from syncer.definitions.conflicts import different_person_keys, shared_attributes
from syncer.model.errors import SettingsError
from syncer.model.types import Entity, SyncDefinition
from syncer.settings import settings
from syncer.settings.settings import Settings
from syncer.starter import example_files, write_project, write_starter
from tests.starter.sample_data import sample_files

COMMITTED = Path(__file__).parents[2] / "sync_definitions"
LOADED = definitions.load(COMMITTED, warehouses=["default"], stores=["default"])
DEFINITIONS = {definition.name: definition for definition in LOADED.definitions}


@pytest.fixture
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    """The sample data, each file a view."""
    connection = duckdb.connect()
    for file in (COMMITTED / "sample_data").iterdir():
        connection.execute(f"CREATE VIEW {file.stem} AS FROM '{file}'")
    yield connection
    connection.close()


def result(shop: duckdb.DuckDBPyConnection, definition: SyncDefinition) -> pa.Table:
    table = shop.sql(definition.sql).to_arrow_table()
    return table.sort_by([(column, "ascending") for column in definition.target.key_columns])


def content(path: Path, written: bytes) -> object:
    """What a file says; a Parquet file's bytes also tell which library wrote it."""
    return parquet.read_table(io.BytesIO(written)) if path.suffix == ".parquet" else written


def test_there_is_an_example_of_each_entity() -> None:
    assert not LOADED.errors
    assert not shared_attributes(LOADED.definitions, {})
    assert not different_person_keys(LOADED.definitions)
    # A merge cannot be undone: the manual has its example.
    assert {definition.target.entity for definition in LOADED.definitions} == {*Entity} - {Entity.MERGE}
    assert all(definition.description for definition in LOADED.definitions)


def test_the_examples_of_the_repository_are_those_that_init_writes() -> None:
    committed = {path.relative_to(COMMITTED): path.read_bytes() for path in COMMITTED.rglob("*") if path.is_file()}
    made = example_files()

    assert set(committed) == set(made)
    for path, written in made.items():
        assert committed[path] == written, f"{path}: run `python -m tests.starter.sample_data`"


def test_the_sample_data_is_the_same_each_time_and_small() -> None:
    made, packaged = sample_files(), example_files()

    for name, written in made.items():
        path = Path("sample_data", name)
        assert content(path, packaged[path]) == content(path, written), (
            f"{path}: run `python -m tests.starter.sample_data`"
        )
    assert sum(len(written) for written in packaged.values()) < 500_000
    assert {path.suffix for path in packaged} == {".sql", ".csv", ".json", ".parquet"}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_example_gives_the_same_rows_each_time_and_knows_them_apart(
    shop: duckdb.DuckDBPyConnection, name: str
) -> None:
    definition = DEFINITIONS[name]
    rows = result(shop, definition)
    keys = rows.select(definition.target.key_columns)

    assert rows.equals(result(shop, definition))
    assert keys.group_by(keys.column_names).aggregate([]).num_rows == rows.num_rows > 50
    assert all(column.null_count == 0 for column in keys.columns)


def test_every_membership_is_of_a_customer_and_an_account(shop: duckdb.DuckDBPyConnection) -> None:
    memberships, people, accounts = (
        result(shop, DEFINITIONS[name]) for name in ("memberships", "customers", "accounts")
    )

    assert set(memberships["customer_id"].to_pylist()) <= set(people["customer_id"].to_pylist())
    assert set(memberships["account_id"].to_pylist()) == set(accounts["account_id"].to_pylist())
    assert memberships.num_rows < shop.sql("FROM memberships").to_arrow_table().num_rows


def test_every_device_is_of_a_customer_and_some_have_several(shop: duckdb.DuckDBPyConnection) -> None:
    devices, people = (result(shop, DEFINITIONS[name]) for name in ("devices", "customers"))

    owners = devices["customer_id"].to_pylist()
    assert {*owners} <= set(people["customer_id"].to_pylist())
    assert len({*devices["push_token"].to_pylist()}) == len(owners) > len({*owners})
    assert devices.num_rows < shop.sql("FROM devices").to_arrow_table().num_rows


def test_the_lifetime_value_is_what_a_customer_has_paid(shop: duckdb.DuckDBPyConnection) -> None:
    orders = shop.sql("FROM orders").to_arrow_table().to_pylist()
    people = result(shop, DEFINITIONS["customers"]).to_pylist()

    for person in people:
        paid = [
            order for order in orders if order["customer_id"] == person["customer_id"] and order["status"] == "paid"
        ]
        assert person["order_count"] == len(paid)
        assert person["lifetime_value"] == sum(order["order_total"] for order in paid)
        assert person["last_order_at"] == max((order["ordered_at"] for order in paid), default=None)
    assert {person["order_count"] for person in people} > {0, 1, 2}
    for nullable in ("email", "last_name", "country", "marketing_consent"):
        assert 0 < sum(person[nullable] is None for person in people) < 200


def test_init_writes_a_folder_that_works_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shop"

    written = write_starter(folder)

    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    found = settings.load(folder, {})
    loaded = definitions.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores)
    assert [definition.name for definition in loaded.definitions] == sorted(DEFINITIONS)
    assert Path(found.warehouses["default"].url.get_secret_value().removeprefix("duckdb:///")).is_dir()


@pytest.mark.parametrize("password", ["", "p4ss", "it's", r"a\\b", "$HOME", '"', "a#b"])
def test_a_project_for_a_warehouse_reads_the_url_that_was_given(tmp_path: Path, password: str) -> None:
    url = f"postgresql://ann{password and ':'}{quote(password, safe=chr(39) + '$')}@host/shop"

    written = write_project(tmp_path, url)

    assert settings.load(tmp_path, {}).warehouses["default"].url.get_secret_value() == url
    assert (tmp_path / ".env" in written) == bool(password)
    assert not password or (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "sync_definitions").mkdir()
    (tmp_path / "sync_definitions" / "customers.sql").write_text("SELECT 1")
    (tmp_path / ".env.example").write_text("")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(SettingsError, match="no file was written") as caught:
        write_starter(tmp_path)

    assert str(tmp_path / "sync_definitions" / "customers.sql") in caught.value.message
    assert str(tmp_path / ".env.example") in caught.value.message
    assert sorted(tmp_path.rglob("*")) == before


def test_init_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "sync_definitions").mkdir()
    (tmp_path / "sync_definitions" / "sample_data").write_text("a file where the folder should be")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(SettingsError, match="no file was written"):
        write_starter(tmp_path)

    assert sorted(tmp_path.rglob("*")) == before


def test_the_example_of_env_names_every_setting_and_can_be_used(tmp_path: Path) -> None:
    write_starter(tmp_path)
    text = (tmp_path / ".env.example").read_text()

    (tmp_path / ".env").write_text(re.sub(r"^# (SYNCER_)", r"\1", text, flags=re.M))

    found = settings.load(tmp_path, {})
    assert set(found.warehouses) == {"default", "billing"}
    assert set(found.stores) == {"default", "crm"}
    for name in Settings.model_fields:
        assert f"# SYNCER_{name.upper()}" in text
