"""A value of a row that makes a query fail: which expression it may be, and the query that finds the row."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from connectors.bigquery import errors as of_bigquery
from connectors.duckdb import errors as of_duckdb
from connectors.mysql import errors as of_mysql
from syncer.model.errors import WarehouseError
from syncer.queries.value_faults import Failing, failing, finding, suspects, words
from syncer.settings import registry
from tests.queries.test_faults import FIRST_LINE, query_of
from tests.servers.mariadb import MariaDBServer

CANARY = "canary7"

QUERY = """WITH a AS (SELECT id, plan::int AS p FROM people WHERE id > 3)
SELECT a.id,
  CAST(a.p || 'x' AS date) AS d,
  10 / (a.p - 1) AS q, '5'::int
FROM a JOIN b USING (id)
WHERE a.p > 4 AND b.x::numeric > 3"""

CAST = "invalid text representation (SQLSTATE 22P02)"
NO = "a value cannot be cast to "
DIVISION = "division by zero (SQLSTATE 22012)"


@pytest.mark.parametrize(
    ("dialect", "message", "query_line", "expected"),
    [
        ("postgres", f"{CAST}: {NO}integer", None, "likely `CAST(plan AS INT)` (line 5, column 23)"),
        ("postgres", f"{CAST}: {NO}date", None, "likely `CAST(a.p || 'x' AS DATE)` (line 7, column 3)"),
        ("duckdb", DIVISION, None, "likely `10 / (a.p - 1)` (line 8, column 9)"),
        ("snowflake", "a text is not a number", 1, "likely `CAST(plan AS INT)` (line 5, column 23)"),
        (
            "duckdb", "conversion error", None,
            "likely one of `CAST(plan AS INT)` (line 5, column 23), `CAST(a.p || 'x' AS DATE)` (line 7, column 3), "
            "`CAST(b.x AS DECIMAL(18, 3))` (line 10, column 19)",
        ),
    ],
)  # fmt: skip
def test_the_expressions_that_may_be_to_blame_are_named_with_their_places(
    dialect: str, message: str, query_line: int | None, expected: str
) -> None:
    assert words(suspects(QUERY, dialect, message, query_line), 5) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (CAST, Failing.CAST),
        ("conversion error", Failing.CAST),
        ("BigQuery refuses the query, or a value in it", Failing.CAST),
        ("datetime field overflow (SQLSTATE 22008)", Failing.CAST),
        (DIVISION, Failing.DIVISION),
        ("a number is out of range (error 1690)", Failing.RANGE),
        ('relation "people" does not exist', None),
        ("permission denied for table people", None),
        ("the query ran over the timeout of 30 minutes and was cancelled", None),
        ("the connection was lost", None),
    ],
)
def test_only_errors_about_values_have_suspects(message: str, expected: Failing | None) -> None:
    assert failing(message) is expected
    assert bool(suspects("SELECT a::int / b - 1 FROM c", "duckdb", message)) is (expected is not None)


@pytest.mark.parametrize(
    ("dialect", "condition"),
    [
        ("duckdb", "TRY_CAST(plan AS INT) IS NULL"),
        ("snowflake", "TRY_CAST(CAST(plan AS VARCHAR) AS INT) IS NULL"),
        ("bigquery", "SAFE_CAST(plan AS INT64) IS NULL"),
        ("tsql", "TRY_CAST(plan AS INTEGER) IS NULL"),
        ("redshift", "TRY_CAST(plan AS INTEGER) IS NULL"),
        ("postgres", "PG_INPUT_IS_VALID(CAST(plan AS TEXT), 'INT')"),
        ("oracle", "VALIDATE_CONVERSION(plan AS INT) = 0"),
        ("mysql", "(plan) NOT REGEXP "),
    ],
)
def test_the_query_that_finds_the_row_is_of_the_warehouse_s_dialect(dialect: str, condition: str) -> None:
    (one,) = suspects("SELECT id, CAST(plan AS integer) AS plan FROM people WHERE id > 3", dialect, CAST)

    sql = " ".join((finding(one, dialect, ["id"]) or "").split())

    assert condition in sql
    assert "FROM people WHERE id > 3 AND" in sql
    assert "plan AS value_that_fails" in sql


def test_an_aggregate_has_no_query_that_finds_one_row() -> None:
    (one,) = suspects("SELECT id, CAST(max(plan) AS int) FROM people GROUP BY id", "duckdb", CAST)

    assert finding(one, "duckdb", ["id"]) is None


@pytest.fixture
def people(tmp_path: Path) -> str:
    """The URL of a DuckDB file with a table of which one plan is no number."""
    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.execute(f"CREATE TABLE people AS SELECT * FROM (VALUES (1, '7'), (2, '{CANARY}')) AS v (id, plan)")
    return f"duckdb:///{tmp_path}/shop.duckdb"


def failed(url: str, sql: str) -> WarehouseError:
    """What becomes of the query's error."""
    sent = replace(query_of(sql), dialect=registry.dialect(url))
    warehouse = registry.open_warehouse("default", url)
    with closing(warehouse), pytest.raises(WarehouseError) as raised, sent.errors_placed():
        warehouse.query(sent.statement, timeout=timedelta(minutes=1)).read_all()
    assert CANARY not in f"{raised.value.message} {raised.value.hint}"
    return raised.value


def test_duckdb_says_line_and_column_and_the_query_finds_the_row(people: str) -> None:
    sql = "SELECT id,\n  1 + plan::int AS plan\nFROM people"

    error = failed(people, sql)

    said = "a value cannot be cast to INT32; likely `CAST(plan AS INT)`"
    assert error.message.startswith(f"people.sql:{FIRST_LINE + 1}: warehouse `default`: conversion error: {said}")
    assert error.message.endswith(f"(line {FIRST_LINE + 1}, column 7)")
    (one,) = suspects(sql, "duckdb", error.message)
    with duckdb.connect(people.removeprefix("duckdb:///")) as connection:
        assert connection.execute(str(finding(one, "duckdb", ["id"]))).fetchall() == [(2, CANARY)]


def test_duckdb_s_mark_is_the_column_of_other_errors(people: str) -> None:
    error = failed(people, "SELECT id,\n  plam\nFROM people")

    assert error.message.startswith(f"people.sql:{FIRST_LINE + 1}: ")
    assert error.message.endswith(" (column 3)")


def test_postgresql_says_the_type_and_the_query_finds_the_row(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int, plan text)")
        connection.execute("INSERT INTO people VALUES (1, '7'), (2, %s), (3, '0')", [CANARY])
        sql = "SELECT id,\n  plan::int AS plan\nFROM people"

        error = failed(postgres_url, sql)

        assert error.message == (
            f"people.sql:{FIRST_LINE + 1}: warehouse `default`: {CAST}: a value cannot be cast to integer; likely "
            f"`CAST(plan AS INT)` (line {FIRST_LINE + 1}, column 3)"
        )
        assert "syncer explain-error" in error.hint
        zero = failed(postgres_url, "SELECT id,\n  6 / length(plan) - 3 / (id - 1) AS plan\nFROM people WHERE id < 2")
        assert "division by zero (SQLSTATE 22012); likely one of `6 / LENGTH(plan)`" in zero.message
        assert failed(postgres_url, "SELECT id,\n  plam\nFROM people").message.endswith("(column 3)")
        if connection.info.server_version >= 160_000:
            (one,) = suspects(sql, "postgres", error.message)
            found = connection.execute(str(finding(one, "postgres", ["id"]))).fetchall()
            assert found == [(2, CANARY)]


def test_mariadb_says_which_expression_is_out_of_range(mariadb: MariaDBServer, mariadb_database: str) -> None:
    mariadb.execute("CREATE TABLE people (id int, paid int unsigned, plan text)", mariadb_database)
    mariadb.execute(f"INSERT INTO people VALUES (1, 7, '7'), (2, 3, '{CANARY}')", mariadb_database)
    url = mariadb.url(mariadb_database)

    error = failed(url, "SELECT id,\n  paid - 5 AS paid\nFROM people")

    assert error.message.endswith(f"; likely `paid - 5` (line {FIRST_LINE + 1}, column 3)")
    (one,) = suspects("SELECT id, CAST(plan AS decimal) FROM people", "mysql", CAST)
    assert mariadb.execute(str(finding(one, "mysql", ["id"])), mariadb_database) == [(2, CANARY)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"Conversion Error: Could not convert string '{CANARY} to INT32' to DATE", "a value cannot be cast to DATE"),
        (f"Conversion Error: Could not convert string '{CANARY}' to {CANARY.upper()}", ""),
        ("Conversion Error: Type INT32 with value 300 can't be cast to the destination type INT8", "to INT8"),
    ],
)
def test_a_type_is_read_out_of_duckdb_s_text_and_nothing_else(said: str, expected: str) -> None:
    found = of_duckdb.reason(said)

    assert expected in found
    assert CANARY.lower() not in found.lower()
    assert "300" not in found


def test_a_type_is_read_out_of_the_texts_of_mysql_and_bigquery_and_nothing_else() -> None:
    in_mysql = of_mysql.reason(Exception(1525, f"Incorrect DATE value: '{CANARY}'"))
    in_bigquery = of_bigquery._invalid(f"Bad int64 value: {CANARY}; error in CAST expression at [2:7]")

    assert in_mysql == "a value cannot be converted to the type (error 1525): a value cannot be cast to DATE"
    assert in_bigquery[0] == "a value cannot be cast to INT64"
    assert in_bigquery[2:] == (2, 7)
