"""The real driver against an emulator of Snowflake that others wrote, which shares no mistake with our own stand-in."""

from __future__ import annotations

import json
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import WarehouseError
from syncer.model.protocols import Warehouse
from syncer.settings.registry import open_warehouse
from tests.acceptance.commands import Project
from tests.contracts.test_warehouses import value
from tests.contracts.warehouses.snowflake import SNOWFLAKE_TYPES
from tests.servers.fakesnow import Fakesnow, fakesnow_server

_NUMBERS = count()
#: The emulator sends whole numbers in the widest type, and NULL as a time in a form that the driver cannot decode.
_UNDECODED = "NULL::TIMESTAMP_NTZ"


@pytest.fixture(scope="module")
def fakesnow() -> Iterator[Fakesnow]:
    with fakesnow_server() as server:
        yield server


@pytest.fixture(scope="module")
def place(fakesnow: Fakesnow) -> str:
    """A database and schema with a table of two people, which no test changes."""
    return made_place(fakesnow)


def made_place(fakesnow: Fakesnow) -> str:
    database = f"shop_{next(_NUMBERS)}"
    fakesnow.execute(
        f"CREATE DATABASE {database}",
        f"CREATE SCHEMA IF NOT EXISTS {database}.public",
        f"USE SCHEMA {database}.public",
        "CREATE TABLE people (uid NUMBER(38, 0), email TEXT, ltv NUMBER(12, 2), tags VARIANT, seen TIMESTAMP_TZ)",
        "INSERT INTO people SELECT 1, 'ada@example.com', 12.50, PARSE_JSON('[\"a\", \"b\"]'), "
        "'2024-02-29 14:00:00.5+02:00'::TIMESTAMP_TZ",
        "INSERT INTO people SELECT 2, 'bob@example.com', NULL, NULL, '2024-02-29 12:00:00+00:00'::TIMESTAMP_TZ",
    )
    return f"{database}/public"


@pytest.fixture
def warehouse(fakesnow: Fakesnow, place: str) -> Iterator[Warehouse]:
    with closing(open_warehouse("snow", fakesnow.url(place))) as opened:
        yield opened


def result(warehouse: Warehouse, sql: str) -> pa.Table:
    return warehouse.query(sql, timeout=timedelta(minutes=1)).read_all()


def refusal(warehouse: Warehouse, sql: str) -> WarehouseError:
    with pytest.raises(WarehouseError) as caught:
        result(warehouse, sql)
    return caught.value


def test_names_that_were_folded_are_lower_case(warehouse: Warehouse, fakesnow: Fakesnow, place: str) -> None:
    sql = 'SELECT uid, email AS "Mail", ltv AS "total_ltv" FROM people'

    assert [(one.name, one.written) for one in warehouse.columns(sql)] == [
        ("uid", "UID"),
        ("Mail", ""),
        ("total_ltv", ""),
    ]
    assert result(warehouse, sql).schema.names == ["uid", "Mail", "total_ltv"]
    with closing(open_warehouse("snow", fakesnow.url(place, column_case="as_is"))) as as_it_is:
        assert result(as_it_is, sql).schema.names == ["UID", "Mail", "total_ltv"]


def test_every_type_arrives_exactly(warehouse: Warehouse) -> None:
    cases = [case for case in SNOWFLAKE_TYPES if case[0] != _UNDECODED]
    selected = ", ".join(f"{expression} AS c{i}" for i, (expression, *_) in enumerate(cases))

    found = result(warehouse, f"SELECT {selected}")

    assert [
        (expression, field.type, field.metadata, value(column))
        for (expression, *_), field, column in zip(cases, found.schema, found.columns, strict=True)
    ] == cases


def test_a_part_that_the_driver_cannot_decode_has_the_drivers_own_words(warehouse: Warehouse) -> None:
    error = refusal(warehouse, f"SELECT {_UNDECODED} AS x")

    assert "Failed to fetch chunk data" in error.message
    assert "the driver's error 000006" in error.message


@pytest.mark.parametrize(
    ("sql", "number", "named"),
    [
        ("SELECT nmae FROM people", "002043", "NMAE"),
        ("SELECT uid FROM poeple", "002003", "POEPLE"),
        ("SELECT uid FORM people", "001003", "people"),
    ],
)
def test_a_mistake_in_the_query_has_the_number_and_the_name(
    warehouse: Warehouse, sql: str, number: str, named: str
) -> None:
    error = refusal(warehouse, sql)

    assert number in error.message
    assert named in error.message


@pytest.mark.parametrize("expression", ["CAST(email AS INTEGER)", "TO_DATE(email)"])
def test_an_error_about_a_value_does_not_tell_it(warehouse: Warehouse, expression: str) -> None:
    error = refusal(warehouse, f"SELECT {expression} FROM people")

    assert "100035" in error.message
    assert "example.com" not in "".join(traceback.format_exception(error))


def test_the_warehouse_is_usable_after_an_error(warehouse: Warehouse) -> None:
    refusal(warehouse, "SELECT TO_DATE(email) FROM people")

    assert result(warehouse, "SELECT uid FROM people WHERE uid > 99").num_rows == 0
    assert result(warehouse, "SELECT uid FROM people").num_rows == 2


def test_a_large_result_arrives_whole(warehouse: Warehouse) -> None:
    rows = "SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) AS n FROM TABLE(GENERATOR(ROWCOUNT => 100000))"

    assert sorted(map(int, result(warehouse, rows).column("n").to_pylist())) == list(range(1, 100_001))


def test_people_arrive_and_only_changes_are_sent(tmp_path: Path, fakesnow: Fakesnow) -> None:
    place = made_place(fakesnow)
    environment = {"SYNCER_WAREHOUSES__SNOW__URL": fakesnow.url(place)}
    project = Project(path=tmp_path, environment=environment)
    header = "entity: person\nperson: {id: uid}\nwarehouse: snow\non_removed: delete\nlimits: {removed: 100%}"
    project.define("people", header, "SELECT uid, email, ltv, tags, seen FROM people  -- all")

    assert counts(project) == {"queried": 2, "added": 2}
    assert people(tmp_path) == {
        "1": {"email": "ada@example.com", "ltv": 12.5, "tags": ["a", "b"], "seen": "2024-02-29T12:00:00.5Z"},
        "2": {"email": "bob@example.com", "seen": "2024-02-29T12:00:00Z"},
    }
    assert counts(project) == {"queried": 2, "unchanged": 2}

    database = place.partition("/")[0]
    fakesnow.execute(
        f"UPDATE {database}.public.people SET ltv = 20, email = 'ada@example.org' WHERE uid = 1",
        f"DELETE FROM {database}.public.people WHERE uid = 2",
    )

    assert counts(project) == {"queried": 1, "changed": 1, "removed": 1}
    assert people(tmp_path) == {
        "1": {"email": "ada@example.org", "ltv": 20, "tags": ["a", "b"], "seen": "2024-02-29T12:00:00.5Z"}
    }


def counts(project: Project) -> dict[str, Any]:
    ended = project.syncer("run", "people", "--json")
    assert ended.code == 0, ended.err
    (run,) = ended.objects
    return {name: run[name] for name in ("queried", "added", "changed", "removed", "unchanged") if run[name]}


def people(folder: Path) -> dict[str, dict[str, Any]]:
    with closing(sqlite3.connect(folder / ".syncer" / "profiles.db")) as connection:
        rows = connection.execute("SELECT id, email, attributes FROM people").fetchall()
    return {key: {"email": email} | json.loads(attributes) for key, email, attributes in rows}
