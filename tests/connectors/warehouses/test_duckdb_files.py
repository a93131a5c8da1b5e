"""The types of CSV and JSON files: no value is changed by a guess."""

from __future__ import annotations

import json
import os
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.duckdb import folder
from connectors.duckdb.column_types import FileColumn, csv_columns
from tests.connectors.warehouses.test_duckdb import opened, refusal, rows

NUMBERS = [str(number) for number in range(21_000)]


def types(path: Path, table: str = "t") -> dict[str, str]:
    with opened(path) as warehouse:
        return {column.name: column.type for column in warehouse.columns(f"SELECT * FROM {table}")}


@pytest.mark.parametrize(
    ("before", "late"),
    [
        (NUMBERS, "007"),
        (NUMBERS, "3.7"),
        (NUMBERS, "1E5"),
        (NUMBERS, "12.50"),
        (NUMBERS, "+5"),
        (NUMBERS, "-0"),
        (NUMBERS, " 5"),
        (["1.10"], "1.1"),
        (["1.5"], "2.250"),
        (["1.5"], "2"),
        (["1.5"], "12345678901234567.25"),
        (["0.50"], ".50"),
        (["2024-01-01"] * 21_000, "2024-01-01 10:00:00"),
        (["2024-01-01"], "2024-1-2"),
        (["10-11-12"], "10-11-13"),
        (["01/02/2024"], "01/03/2024"),
        (["2024-01-01 10:00:00"], "2024-01-01T10:00:00"),
        (["2024-01-01 10:00:00.100"], "2024-01-01 10:00:00.1"),
        (["2024-01-01 10:00:00+02"], "2024-01-01 10:00:00+02"),
        (["yes"], "no"),
        (["t"], "f"),
        (["True"], "False"),
        (["infinity"], "2024-01-01"),
        (["2024-01-01"], "0044-03-15 (BC)"),
        (["12345678901234567890123456789012345678901"], "1"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_column_of_mixed_spellings_is_text(tmp_path: Path, before: list[str], late: str, turned: bool) -> None:
    values = [late, *before] if turned else [*before, late]
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{value},x\n" for value in values))

    assert types(tmp_path) == {"a": "VARCHAR", "b": "VARCHAR"}
    assert [row["a"] for row in rows(tmp_path, "SELECT a FROM t")] == values


@pytest.mark.parametrize(
    ("texts", "type_", "values"),
    [
        (["1", "-7"], "BIGINT", [1, -7]),
        (["1", "12345678901234567890"], "DECIMAL(38,0)", [1, 12345678901234567890]),
        (["1.50", "-20.25", "0.00"], "DECIMAL(18,2)", [Decimal("1.50"), Decimal("-20.25"), Decimal("0.00")]),
        (["0.12345678901234567890"], "DECIMAL(38,20)", [Decimal("0.12345678901234567890")]),
        (["1.5", "2.25"], "DOUBLE", [1.5, 2.25]),
        (["true", "false"], "BOOLEAN", [True, False]),
        (["2024-02-29"], "DATE", [date(2024, 2, 29)]),
        (["2024-02-29 12:00:00", "2024-02-29 12:00:00.5"], "TIMESTAMP", None),
        (["2024-02-29T12:00:00"], "TIMESTAMP", ["2024-02-29T12:00:00"]),
        (["2024-02-29 12:00:00.500"], "TIMESTAMP", ["2024-02-29T12:00:00.500000"]),
        (["2024-02-29T12:00:00Z"], "TIMESTAMP WITH TIME ZONE", [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
        (["2024-02-29 12:00:00+00"], "TIMESTAMP WITH TIME ZONE", [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
        (["10:00:00"], "TIME", ["10:00:00"]),
        (["", "5"], "BIGINT", [None, 5]),
        (['""', "5"], "VARCHAR", ["", "5"]),
        (["", '""'], "VARCHAR", [None, ""]),
    ],
)
def test_a_column_has_the_type_in_which_every_value_is_what_it_was(
    tmp_path: Path, texts: list[str], type_: str, values: list[Any] | None
) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{text},x\n" for text in texts))

    assert types(tmp_path)["a"] == type_
    found = [row["a"] for row in rows(tmp_path, "SELECT a FROM t")]
    naive = type_ == "TIMESTAMP"
    assert values is None or [value.isoformat() if naive else value for value in found] == values


def test_a_column_whose_first_value_comes_late_has_its_type(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + ",x\n" * 21_000 + "2024-01-01,x\n")

    assert types(tmp_path)["a"] == "DATE"


def records(path: Path, *found: dict[str, Any] | str) -> None:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in found]
    (path / "t.json").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["007", "8"], "VARCHAR"),
        (["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], "VARCHAR"),
        (["2024-01-01", "2024-01-01 10:00:00"], "VARCHAR"),
        (["2024-01-01", "2024-02-29"], "DATE"),
        (["true"], "VARCHAR"),
        ([1, 2], "BIGINT"),
        ([1, 2.5], "DOUBLE"),
        ([12345678901234567890123, 1], "DECIMAL(38,0)"),
        ([True, False], "BOOLEAN"),
        ([1, "x"], "JSON"),
        (["", None], "VARCHAR"),
        ([{"a": 1}, {"a": 2}], "STRUCT(a BIGINT)"),
        ([["a"], []], "VARCHAR[]"),
        ([{"a": 1}, {"a": 2, "b": None}], "VARIANT"),
        ([{"a": 1, "A": 2}, {"a": 2}], "VARIANT"),
        ([{"at": "2024-01-01", "n": "007"}], 'STRUCT("at" VARCHAR, n VARCHAR)'),
    ],
)
@pytest.mark.parametrize("rows_before", [0, 21_000])
def test_values_of_json_are_what_they_were(tmp_path: Path, values: list[Any], type_: str, rows_before: int) -> None:
    records(tmp_path, *([{"id": 0, "a": values[0]}] * rows_before), *({"id": 1, "a": value} for value in values))

    assert types(tmp_path)["a"] == type_
    found = rows(tmp_path, "SELECT to_json(a)::VARCHAR AS a FROM t WHERE id = 1")
    assert [row["a"] and json.loads(row["a"]) for row in found] == values


@pytest.mark.parametrize(
    ("values", "type_", "sent"),
    [
        (["12345678901234567890.123456789", "1.5"], "DECIMAL(38,9)", ["12345678901234567890.123456789", "1.5"]),
        (["0.12345678901234567890123", "-2"], "DECIMAL(38,23)", ["0.12345678901234567890123", "-2"]),
        (["8.235583262479817"], "DECIMAL(38,15)", ["8.235583262479817"]),
        (["0.1", "1e-7", "1.7976931348623157e308"], "DOUBLE", None),
        (["1.2345678901234567", "2"], "DOUBLE", None),
        (["12345678901234567890.5", "1e300"], "JSON", ["12345678901234567890.5", "1e300"]),
        (["12345678901234567890123456789.0123456789"], "JSON", None),
        (["1234567890123456789e-3", "null"], "JSON", None),
        (['{"x":12345678901234567.25,"y":"#1"}'], "JSON", None),
        (["[0.12345678901234567890123,null]", "[]"], "JSON", None),
        (['"12345678901234567.25"'], "VARCHAR", None),
        (["12345678901234567.25", '"x"'], "JSON", None),
    ],
)
@pytest.mark.parametrize(("rows_before", "form"), [(0, "lines"), (21_000, "array")])
def test_no_digit_of_a_number_in_json_is_lost(
    tmp_path: Path, values: list[str], type_: str, sent: list[str] | None, rows_before: int, form: str
) -> None:
    lines = [f'{{"id": 0, "a": {values[0]}}}'] * rows_before
    lines += [f'{{"id": 1, "a": {value}, "it\'s /\\"~#": 0.12345678901234567890123}}' for value in values]
    (tmp_path / "t.json").write_text("\n".join(lines) if form == "lines" else f"[{','.join(lines)}]")

    found = types(tmp_path)
    assert found["a"] == type_
    assert found["it's /\"~#"] == "DECIMAL(38,23)"
    assert "".join(map(str, rows(tmp_path, "SELECT DISTINCT id FROM t ORDER BY id"))) == (
        "{'id': 0}{'id': 1}" if rows_before else "{'id': 1}"
    )
    got = rows(tmp_path, "SELECT a FROM t WHERE id = 1")
    exact = sent or [value.strip('"') if type_ == "VARCHAR" else value for value in values]
    if type_ == "DOUBLE":
        assert [row["a"] for row in got] == list(map(float, exact))
    elif type_.startswith("DECIMAL"):
        assert [row["a"] for row in got] == list(map(Decimal, exact))
    else:
        assert [row["a"] or "null" for row in got] == exact


def test_of_a_column_that_a_record_has_twice_the_last_one_counts(tmp_path: Path) -> None:
    records(tmp_path, {"a": 1, "A": 5}, '{"a":1.0,"b":{"x":1,"x":2},"a":12345678901234567.25}')

    assert rows(tmp_path, "SELECT a, A_1, to_json(b)::VARCHAR AS b FROM t") == [
        {"a": 1, "A_1": 5, "b": None},
        {"a": Decimal("12345678901234567.25"), "A_1": None, "b": '{"x":2}'},
    ]


def test_columns_keep_their_names_where_each_digit_counts(tmp_path: Path) -> None:
    records(tmp_path, {"b": 1}, '{"c": 1, "B": 0.12345678901234567890123, "é": 2, "É": {"B": [1]}}')

    assert rows(tmp_path, "SELECT b, c, B_1, é, to_json(É) AS e FROM t WHERE c = 1") == [
        {"b": None, "c": 1, "B_1": Decimal("0.12345678901234567890123"), "é": 2, "e": '{"B":[1]}'}
    ]


def test_a_file_beside_json_gives_a_number_with_many_digits_its_type(tmp_path: Path) -> None:
    records(tmp_path, '{"a": 0.12345678901234567890123, "o": {"x": 0.12345678901234567890123}}')
    (tmp_path / "t.schema.json").write_text('{"a": "DECIMAL(38,30)", "o": "STRUCT(x DECIMAL(38,25))"}')

    digits = Decimal("0.12345678901234567890123")
    assert rows(tmp_path, "SELECT a, o.x FROM t") == [{"a": digits, "x": digits}]


def test_members_of_objects_are_found_whether_all_rows_have_them_or_not(tmp_path: Path) -> None:
    records(tmp_path, {"id": 1, "o": {"city": "Rome"}}, {"id": 2, "o": {"city": "Oslo", "zip": "007"}})

    assert rows(tmp_path, "SELECT id, o.zip::VARCHAR AS zip FROM t WHERE o.city <> 'Paris' ORDER BY id") == [
        {"id": 1, "zip": None},
        {"id": 2, "zip": "007"},
    ]


def test_columns_that_differ_by_case_or_come_late_are_columns(tmp_path: Path) -> None:
    records(tmp_path, *([{"id": 0}] * 21_000), {"id": 1, "Name": "Ann", "name": "bob"})

    assert rows(tmp_path, "SELECT * FROM t WHERE id = 1") == [{"id": 1, "Name": "Ann", "name_1": "bob"}]


@pytest.mark.parametrize(
    ("kind", "sql", "row", "cast"),
    [
        ("csv", "SELECT sum(a) FROM t", 21_001, "CAST(a AS BIGINT)"),
        ("csv", "SELECT a + 1 FROM t", 21_001, "CAST(a AS BIGINT)"),
        ("csv", "SELECT * FROM t WHERE a > 5", 21_001, "CAST(a AS BIGINT)"),
        ("csv", "SELECT CAST(a AS INTEGER) FROM t", 21_001, "CAST(a AS INTEGER)"),
        ("csv", "SELECT a::DATE FROM t WHERE a <> '1'", 1, "CAST(a AS DATE)"),
        ("json", "SELECT sum(a) FROM t", 21_001, "CAST(a AS DOUBLE)"),
        ("json", "SELECT CAST(a AS INTEGER) FROM t", 21_001, "CAST(a AS DOUBLE)"),
    ],
)
def test_a_query_that_fails_on_a_value_names_file_column_row_and_cast(
    tmp_path: Path, kind: str, sql: str, row: int, cast: str
) -> None:
    values: list[Any] = [1] * 21_000 + ["confidential", 2]
    if kind == "csv":
        (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{value},x\n" for value in values))
    else:
        records(tmp_path, *({"a": value} for value in values))

    error = refusal(tmp_path, sql)

    assert f"{tmp_path / f't.{kind}'}: column `a`" in error.message
    assert f"row {row:,}" in error.message
    assert cast in error.hint
    assert "confidential" not in "".join(traceback.format_exception(error)) + error.hint


def test_a_file_beside_it_gives_columns_their_types(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip,n,b\n1,007,x\n2,8.5,y\n")
    (tmp_path / "t.schema.json").write_text('{"ZIP": "VARCHAR", "n": "DOUBLE"}')

    assert types(tmp_path) == {"zip": "VARCHAR", "n": "DOUBLE", "b": "VARCHAR"}
    assert rows(tmp_path, "SELECT zip, n FROM t") == [{"zip": "1", "n": 7.0}, {"zip": "2", "n": 8.5}]
    assert [row["name"] for row in rows(tmp_path, "SHOW TABLES")] == ["t"]


def test_a_file_beside_json_gives_columns_their_types(tmp_path: Path) -> None:
    records(tmp_path, {"a": "1", "o": {"x": 1}}, {"a": "2", "o": {"x": 1, "y": 2}})
    (tmp_path / "t.schema.json").write_text('{"a": "BIGINT", "o": "STRUCT(x DOUBLE, y DOUBLE)"}')

    assert rows(tmp_path, "SELECT a, o.x FROM t") == [{"a": 1, "x": 1.0}, {"a": 2, "x": 1.0}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"zipp": "VARCHAR"}', "no column `zipp`"),
        ('{"zip": "NUMBR"}', "`zip` has the type NUMBR"),
        ('{"zip": "INTEGER) FROM t; --"}', "no JSON object of columns and types"),
        ("[]", "no JSON object of columns and types"),
        ("{", "no JSON object of columns and types"),
    ],
)
def test_a_file_of_types_that_cannot_be_used_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.csv").write_text("zip,b\n1,x\n")
    (tmp_path / "t.schema.json").write_text(content)

    error = refusal(tmp_path, "SELECT * FROM t")

    assert str(tmp_path / "t.schema.json") in error.message
    assert said in error.message


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT zip, day, sum(price) FROM t GROUP BY ALL",
        "SELECT zip, price + 1 FROM t",
        "SELECT zip,\n1 + price FROM t",
        "SELECT zip FROM t WHERE price > 5",
        "SELECT zip, p.total FROM (SELECT zip, sum(price) AS total FROM t GROUP BY zip) p",
    ],
)
def test_of_several_columns_of_text_the_one_that_the_query_fails_on_is_named(tmp_path: Path, sql: str) -> None:
    (tmp_path / "t.csv").write_text("zip,day,price\n007,10-11-12,1.10\n12,10-11-13,2.5\n")

    error = refusal(tmp_path, sql)

    assert "column `price` is VARCHAR" in error.message
    assert "CAST(price AS " in error.hint


def test_a_value_that_the_given_type_excludes_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip,b\n1,x\nconfidential,y\n")
    (tmp_path / "t.schema.json").write_text('{"zip": "BIGINT"}')

    error = refusal(tmp_path, "SELECT * FROM t")

    assert f"{tmp_path / 't.csv'}: column `zip`, row 2: " in error.message
    assert "BIGINT" in error.message


def test_a_file_is_read_for_its_types_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(connection: Any, source: str) -> list[FileColumn]:
        measured.append(source)
        return csv_columns(connection, source)

    monkeypatch.setattr(folder, "csv_columns", measure)
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    (tmp_path / "other.csv").write_text("a,b\n1,x\n")

    assert types(tmp_path)["a"] == types(tmp_path)["a"] == "BIGINT"
    assert len(measured) == 1

    (tmp_path / "t.csv").write_text("a,b\n1,x\n007,y\n")
    assert types(tmp_path)["a"] == "VARCHAR"
    os.utime(tmp_path / "t.csv", ns=(0, 0))
    assert types(tmp_path)["a"] == "VARCHAR"
    assert len(measured) == 3
