"""What becomes of rows that cannot be sent, and of values that JSON does not know, on their way to either store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, held, number
from tests.servers.postgresql import PostgresServer

PERSON = "entity: person\nperson: {id: id}"


@pytest.fixture(params=["sqlite", "postgresql"])
def project(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str, postgres: PostgresServer
) -> Iterator[Project]:
    """A folder with an empty store; no test may make a command tell of what is in a row."""
    with postgres.new_database() as store:
        url = f"sqlite:///{tmp_path}/profiles.db" if request.param == "sqlite" else store
        environment = {"SYNCER_WAREHOUSES__DEFAULT__URL": postgres_url, "SYNCER_STORES__DEFAULT__URL": url}
        project = Project(path=tmp_path, environment=environment)
        yield project
        assert "canary" not in project.told()


def people(project: Project) -> dict[str, Attributes]:
    return dict(held(project.environment["SYNCER_STORES__DEFAULT__URL"]).people)


def reasons(project: Project, sync: str) -> set[tuple[str, str]]:
    """Each rejected key, and why."""
    return {(row["key"], row["reason"]) for row in project.syncer("rejected", sync, "--json").objects}


#: Keys that no row can be sent by, and why; `` for those that are refused together.
UNUSABLE = [
    (None, "", "`id` is NULL"),
    (None, "", "`id` is NULL"),
    ("", "", "`id` is blank"),
    ("  ", "", "`id` is blank"),
    ("\t\r\n\xa0", "", "`id` is blank"),
    ("canary" + "x" * 145, "canary" + "x" * 145, "`id` is longer than 150 bytes"),
    ("é" * 76, "é" * 76, "`id` is longer than 150 bytes"),
    ("twice", "twice", "rows that differ share this key"),
    ("twice", "twice", "rows that differ share this key"),
    ("é", "é", "rows that differ share this key"),
    ("e\u0301", "é", "rows that differ share this key"),
    ("7", "7", "rows that differ share this key"),
    (" 7 ", "7", "rows that differ share this key"),
]

USABLE = {"1": "1", "x" * 150: "x" * 150, "é" * 75: "é" * 75, " A ": "A", "a": "a", "NaN": "NaN", "0": "0"}


def test_rows_without_a_key_of_their_own_are_refused_and_the_others_sent(project: Project, postgres_url: str) -> None:
    project.define("people", PERSON, "SELECT id, plan FROM people")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id text, plan text)")
        rows = [(key, f"canary-{place}") for place, key in enumerate([*USABLE, *(key for key, *_ in UNUSABLE)])]
        insert = "INSERT INTO people VALUES (%s, %s)"
        connection.cursor().executemany(insert, [*rows, rows[0]])

        ended = project.syncer("run", "people", "--json")

        (run,) = ended.objects
        assert (ended.code, run["status"], run["rejected"]) == (1, "warning", len(UNUSABLE))
        assert "note: people: " in ended.err
        assert "See them with `syncer rejected people`" in ended.err
        assert people(project).keys() == set(USABLE.values())
        assert reasons(project, "people") == {(key, reason) for _, key, reason in UNUSABLE}
        connection.execute("DELETE FROM people")
        connection.cursor().executemany(insert, [*rows[: len(USABLE)], ("twice", "x"), ("e\u0301", "x"), ("7 ", "x")])

        again = project.syncer("run", "people", "--json")

    assert again.code == 0, again.err
    assert people(project).keys() == {*USABLE.values(), "twice", "é", "7"}
    assert reasons(project, "people") == set()


def test_a_row_that_turns_bad_keeps_what_the_store_holds_of_it(project: Project, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT n::text AS id, 'canary' AS plan FROM generate_series(1, 30) n"
        )
        project.define("people", f"{PERSON}\non_removed: delete", "SELECT id, plan::json AS plan FROM people")
        connection.execute("UPDATE people SET plan = '\"canary\"'")
        assert project.syncer("run", "people").code == 0
        before = people(project)
        connection.execute("""UPDATE people SET plan = '"canary\\u0000"' WHERE id = '1'""")
        connection.execute("INSERT INTO people VALUES ('2', '\"another\"')")

        ended = project.syncer("run", "people", "--json")

    assert (ended.code, ended.objects[0]["removed"], ended.objects[0]["rejected"]) == (1, 0, 3)
    assert people(project) == before
    assert reasons(project, "people") == {
        ("1", "column `plan` holds a NUL character"),
        ("2", "rows that differ share this key"),
    }


@pytest.fixture
def ascii_url(postgres: PostgresServer, postgres_url: str) -> Iterator[str]:
    """A database that takes any bytes for text."""
    name = f"ascii_{postgres_url.rpartition('/')[2]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
        connection.execute(f"CREATE DATABASE {name} {options}")
        yield postgres.url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_text_that_is_not_utf_8_is_refused_by_column_and_byte(project: Project, ascii_url: str) -> None:
    project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = ascii_url
    with psycopg.connect(ascii_url, autocommit=True) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'; CREATE TABLE people (id text, plan text)")
        rows = b"('1', 'canary\xe9'), ('2', 'caf\xc3\xa9'), ('canary\xe9', 'x'), ('4', '\xed\xa0\x80')"
        connection.execute(b"INSERT INTO people VALUES " + rows)
    project.define("people", PERSON, "SELECT id, plan FROM people")

    ended = project.syncer("run", "people", "--json")

    assert (ended.code, ended.objects[0]["rejected"]) == (1, 3)
    assert people(project) == {"2": {"plan": "café"}}
    assert reasons(project, "people") == {
        ("1", "column `plan` is not valid UTF-8 at byte 6"),
        ("", "column `id` is not valid UTF-8 at byte 6"),
        ("4", "column `plan` is not valid UTF-8 at byte 0"),
    }


GONE = object()

#: PostgreSQL's expression to the value in the store; GONE for what counts as NULL.
POSTGRESQL_VALUES: dict[str, dict[str, Any]] = {
    "numbers": {
        "'NaN'::float8": GONE,
        "'Infinity'::float8": GONE,
        "'-Infinity'::float4": GONE,
        "'NaN'::numeric": GONE,
        "'-Infinity'::numeric": GONE,
        "'-0'::float8": number(0),
        "0.1::float4": number("0.1"),
        "5e-324::float8": number("5e-324"),
        "1.7976931348623157e308::float8": number("1.7976931348623157e308"),
        "9007199254740993::int8": number(9007199254740993),
        "(-9223372036854775808)::int8": number(-(2**63)),
        "18446744073709551616::numeric": number(2**64),
        "12345678901234567890.123456789012345678901234567890": number(
            "12345678901234567890.12345678901234567890123456789"
        ),
        "1e400::numeric": number("1e400"),
        "-0.10::numeric": number("-0.1"),
        "0.000::numeric": number(0),
        "12.30::money": number("12.3"),
        "4294967295::oid": number(4294967295),
    },
    "times": {
        "'infinity'::date": GONE,
        "'-infinity'::timestamp": GONE,
        "'infinity'::timestamptz": GONE,
        "'0044-03-15 BC'::date": GONE,
        "'4713-01-01 BC'::timestamptz": GONE,
        "'10000-01-01'::date": GONE,
        "'294276-12-31 23:59:59'::timestamp": GONE,
        "'0001-01-01'::date": "0001-01-01",
        "'9999-12-31 23:59:59.999999'::timestamp": "9999-12-31T23:59:59.999999Z",
        "'2024-01-01 00:00:00.1'::timestamp": "2024-01-01T00:00:00.1Z",
        "'2024-07-01 12:00+05:30'::timestamptz": "2024-07-01T06:30:00Z",
        "'24:00'::time": "24:00:00",
        "'12:00+02'::timetz": "12:00:00+02",
        "'1 mon 2 days 03:04:05.6'::interval": "1 mon 2 days 03:04:05.6",
        "'-1 year'::interval": "-1 years",
    },
    "texts": {
        "''::text": "",
        "repeat('é', 500000)": "é" * 500_000,
        r"""E'\ufeff\t\r\n\b\f\u0001\\"/\u2028👩‍🚀'""": '\ufeff\t\r\n\b\f\u0001\\"/\u2028👩‍🚀',
        "'ab'::char(5)": "ab",
        r"'\x00ff10'::bytea": "AP8Q",
        "''::bytea": "",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "'10.0.0.1/8'::inet": "10.0.0.1/8",
        "B'101'": "101",
        "int4range(1, 5)": "[1,5)",
        "true": True,
        "NULL": GONE,
        "NULL::int": GONE,
    },
    "objects": {
        """'{"b": [1.10, {"c": null}], "": 12345678901234567890.123}'::jsonb""": {
            "b": [number("1.1"), {"c": None}],
            "": number("12345678901234567890.123"),
        },
        """'{"b": 1,   "a": 2, "a": 3}'::json""": {"a": number(3), "b": number(1)},
        r"""'"\ud83d\ude00\t"'::json""": "😀\t",
        "'1e400'::jsonb": number("1e400"),
        "ROW(1, 'x', NULL)": {"f1": number(1), "f2": "x", "f3": None},
    },
    "arrays": {
        "ARRAY[1, NULL, 3]": [number(1), None, number(3)],
        """ARRAY['a,b', 'c"d', NULL, '']""": ["a,b", 'c"d', None, ""],
        "ARRAY[[1, 2], [3, 4]]": [[number(1), number(2)], [number(3), number(4)]],
        "'{}'::int[]": [],
        "ARRAY['NaN'::float8, 1.5]": ["NaN", number("1.5")],
        "ARRAY['2024-01-01'::timestamptz]": ["2024-01-01T00:00:00+00:00"],
    },
}

DUCKDB_VALUES: dict[str, dict[str, Any]] = {
    "numbers": {
        "'nan'::DOUBLE": GONE,
        "'-inf'::FLOAT": GONE,
        "-0.0::DOUBLE": number(0),
        "0.1::FLOAT": number("0.1"),
        "18446744073709551615::UBIGINT": number(2**64 - 1),
        "170141183460469231731687303715884105727::HUGEINT": number(2**127 - 1),
        "340282366920938463463374607431768211455::UHUGEINT": number(2**128 - 1),
        "'12345678901234567890123456789012345678'::DECIMAL(38, 0)": number("12345678901234567890123456789012345678"),
        "1.50::DECIMAL(10, 4)": number("1.5"),
    },
    "times": {
        "'infinity'::DATE": GONE,
        "'-infinity'::TIMESTAMPTZ": GONE,
        "DATE '0044-03-15 (BC)'": GONE,
        "DATE '10000-01-01'": GONE,
        "TIMESTAMP_S '2024-01-01 00:00:00'": "2024-01-01T00:00:00Z",
        "TIMESTAMP_MS '2024-01-01 00:00:00.1'": "2024-01-01T00:00:00.1Z",
        "TIMESTAMPTZ '2024-07-01 12:00:00+05:30'": "2024-07-01T06:30:00Z",
        "TIME '24:00:00'": "24:00:00",
        "INTERVAL '1 month 2 days 3 seconds'": "1 month 2 days 00:00:03",
    },
    "texts": {
        r"'\xFF\x00'::BLOB": "/wA=",
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::UUID": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "'x'::ENUM ('x', 'y')": "x",
        "'101'::BIT": "101",
        "NULL": GONE,
    },
    "objects": {
        "{'a': 1, 'b': NULL, 'c d': [1]}": {"a": number(1), "b": None, "c d": [number(1)]},
        "MAP {1: 'a', 2: 'b'}": {"1": "a", "2": "b"},
        "MAP {DATE '2024-01-01': 1.5}": {"2024-01-01": number("1.5")},
        """'{ "b": 12345678901234567890.123 }'::JSON""": {"b": number("12345678901234567890.123")},
    },
    "arrays": {
        "[170141183460469231731687303715884105727::HUGEINT]": [number(2**127 - 1)],
        "[NULL, 1]": [None, number(1)],
        "array_value(1, 2)": [number(1), number(2)],
    },
}


@pytest.mark.parametrize("product", ["postgresql", "duckdb"])
def test_every_value_arrives_as_documented_and_only_once(project: Project, product: str) -> None:
    values = {"postgresql": POSTGRESQL_VALUES, "duckdb": DUCKDB_VALUES}[product]
    project.table("nothing", "id")
    if product == "duckdb":
        del project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"]
    for sync, expressions in values.items():
        columns = "".join(f", {sql} AS v{place}" for place, sql in enumerate(expressions))
        project.define(sync, PERSON, f"SELECT '{sync}' AS id{columns}")

    first, again = (project.syncer("run", "--all", "--json") for _ in range(2))

    assert (first.code, again.code) == (0, 0), first.err
    assert {run["accepted"] for run in again.objects} == {0}
    stored = people(project)
    for sync, expressions in values.items():
        arrived = {sql: stored[sync].get(f"v{place}", GONE) for place, sql in enumerate(expressions)}
        assert arrived == expressions
        lost = sum(value is GONE and "NULL" not in sql for sql, value in expressions.items())
        notes = [line for line in first.err.splitlines() if line.startswith(f"note: {sync}: ") and "NaN" in line]
        assert [str(lost) in note for note in notes] == [True] * (lost > 0)
