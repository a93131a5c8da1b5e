"""What only DuckDB can do to a reader."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pytest

from connectors.duckdb import warehouse as duckdb_warehouse
from connectors.support.warehouse import quote_literal
from syncer.model.errors import WarehouseError
from syncer.model.memory import Memory
from syncer.model.protocols import Warehouse
from syncer.settings.registry import open_warehouse

TIMEOUT = timedelta(minutes=1)
# A time in it would give the test another name in every worker.
_GZIPPED = gzip.compress(b"id,name\n1,Ann\n", mtime=0)


@contextmanager
def opened(path: Path) -> Iterator[Warehouse]:
    warehouse = open_warehouse("files", f"duckdb:///{path}")
    try:
        yield warehouse
    finally:
        warehouse.close()


def rows(path: Path, sql: str) -> list[dict[str, Any]]:
    with opened(path) as warehouse:
        found: list[dict[str, Any]] = warehouse.query(sql, timeout=TIMEOUT).read_all().to_pylist()
        return found


def refusal(path: Path, sql: str) -> WarehouseError:
    with opened(path) as warehouse, pytest.raises(WarehouseError) as caught:
        warehouse.query(sql, timeout=TIMEOUT).read_all()
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv", b"id,name\n1,Ann\n"),
        ("PEOPLE.CSV", b"id,name\n1,Ann\n"),
        ("people.csv.gz", _GZIPPED),
        ("people.tsv", b"id\tname\n1\tAnn\n"),
        ("people.json", b'[{"id": 1, "name": "Ann"}]'),
        ("people.jsonl", b'{"id": 1, "name": "Ann"}\n'),
        ("people.ndjson", b'{"id": 1, "name": "Ann"}\n'),
    ],
)
def test_each_kind_of_file_is_a_table(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    assert rows(tmp_path, "SELECT * FROM people") == [{"id": 1, "name": "Ann"}]


def test_other_files_are_no_tables(tmp_path: Path) -> None:
    for name in ["notes.txt", ".hidden.csv", "folder.csv/inside.csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("id\n1\n")

    assert rows(tmp_path, "SHOW TABLES") == []


def test_a_relative_path_starts_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "people.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)

    assert rows(Path("data"), "SELECT id FROM people") == [{"id": 1}]


@pytest.mark.parametrize("row", ["#3,4", " ,", "a,b", "-,-"])
def test_no_row_of_a_csv_file_is_taken_for_something_else(tmp_path: Path, row: str) -> None:
    (tmp_path / "pairs.csv").write_text(f"a,b\n1,2\n{row}\n5,6\n")

    assert len(rows(tmp_path, "SELECT * FROM pairs")) == 3


def test_quotes_and_line_ends_in_a_csv_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text('name,city\n#1,Rome\n"a ""b"", c",""\n\ufeffx,"two\nlines"\n')

    assert rows(tmp_path, "SELECT * FROM people") == [
        {"name": "#1", "city": "Rome"},
        {"name": 'a "b", c', "city": ""},
        {"name": "\ufeffx", "city": "two\nlines"},
    ]


_GOOD = b"a,b\n" + b"1,x\n" * 30_000


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("people.csv", b"a,b\n1,x\n2,confidential\xff\n3,z\n", 3, "UTF-8"),
        ("people.csv", _GOOD + b"2,confidential\xff\n", 30_002, "UTF-8"),
        ("people.csv", b"a,b\n1,x\n2\n3,confidential\n", 3, "2 columns were expected, 1 found"),
        ("people.csv", _GOOD + b"2,confidential,4\n", 30_002, "2 columns were expected, 3 found"),
        (
            "people.csv.gz",
            gzip.compress(b"a,b\n1,x\n2,confidential,4\n", mtime=0),
            3,
            "2 columns were expected, 3 found",
        ),
        ("people.csv", b'a,b\n1,x\n2,"confidential\n3,z\n', 3, "quote"),
        ("people.tsv", b"a\tb\n1\tx\n2\tconfidential\t4\n", 3, "2 columns were expected, 3 found"),
        ("people.json", b'{"a": 1}\n{"a": confidential}\n', 3, "JSON"),
        ("people.ndjson", b'{"a": 1}\n' * 30_000 + b'{"a": confidential}\n', 30_002, "JSON"),
    ],
)
def test_a_broken_row_is_told_by_file_and_line(tmp_path: Path, name: str, content: bytes, line: int, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    error = refusal(tmp_path, "SELECT * FROM people")

    assert str(tmp_path / name) in error.message
    assert f"line {line}: " in error.message
    assert said in error.message
    assert error.hint
    assert "confidential" not in "".join(traceback.format_exception(error))


def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("id\n1\n")
    (tmp_path / "bad.parquet").write_bytes(b"confidential")

    assert rows(tmp_path, "SELECT id FROM good") == [{"id": 1}]
    assert f"{tmp_path / 'bad.parquet'}: " in refusal(tmp_path, "SELECT * FROM bad").message


def test_a_table_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id\n1\n")

    assert "people" in refusal(tmp_path, "SELECT * FROM nothing").hint


def test_two_files_of_one_name_are_no_table_and_no_fault_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id\n1\n")
    (tmp_path / "People.json").write_text('{"id": 1}')
    (tmp_path / "orders.csv").write_text("id\n2\n")

    error = refusal(tmp_path, "SELECT * FROM people")

    assert "People.json and people.csv" in error.message
    assert "Rename" in error.hint
    assert rows(tmp_path, "SELECT id FROM orders") == [{"id": 2}]


#: Contents of one table, of each kind of file: the columns `id` and `region`.
_KINDS = {
    "csv": b"id,region\n1,own\n",
    "tsv": b"id\tregion\n1\town\n",
    "csv.gz": gzip.compress(b"id,region\n1,own\n", mtime=0),
    "json": b'{"id": 1, "region": "own"}',
    "ndjson": b'{"id": 1, "region": "own"}\n',
    # Read as text, since no double holds the number.
    "jsonl": b'{"id": 1.00000000000000000001, "region": "own"}\n',
}


def _make(path: Path, kind: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    file = path / f"t.{kind}"
    if kind == "parquet":
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT 1 AS id, 'own' AS region) TO '{file}'")
    else:
        file.write_bytes(_KINDS[kind])
    return file


@pytest.mark.parametrize("kind", [*_KINDS, "parquet"])
def test_a_folder_above_a_file_adds_no_column_and_changes_none(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "year=2024" / "region=eu" / "files"
    _make(folder, kind)

    (row,) = rows(folder, "SELECT * FROM t")

    assert [*row] == ["id", "region"]
    assert row["region"] == "own"


#: Names that are patterns for DuckDB's readers, each beside one that it fits.
_PATTERNS = ["sales[2024]", "a*b", "**", "q?x", "[!a]b", "[a-c]", "[", "it's [2]", "%41 #;{a,b}"]
_FITTING = ["sales2", "aXb", "qZx", "cb", "b", "it's 2", "A #;a"]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path, kind: str) -> None:
    for name in [*_PATTERNS, *_FITTING]:
        file = _make(tmp_path / "made", kind)
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS id, $1 AS region", [name])
            connection.execute("COPY t TO '" + str(file) + "' " + ("(ARRAY false)" if kind == "json" else ""))
        file.rename(tmp_path / f"{name}.{kind}")

    found = {name: rows(tmp_path, f'SELECT region FROM "{name}"') for name in _PATTERNS}

    assert found == {name: [{"region": name}] for name in _PATTERNS}


@pytest.mark.parametrize("name", _PATTERNS)
def test_a_folder_whose_name_is_a_pattern_is_that_folder(tmp_path: Path, name: str) -> None:
    for other in (*_FITTING, name):
        (tmp_path / other).mkdir(exist_ok=True)
        (tmp_path / other / "t[1].csv").write_text(f'id,folder\n1,"{other}"\n')

    with closing(open_warehouse("files", f"duckdb:///{quote(str(tmp_path / name))}")) as warehouse:
        found = warehouse.query('SELECT folder FROM "t[1]"', timeout=TIMEOUT).read_all().to_pylist()
        outside = quote_literal(f"{tmp_path / 'A #;a'}/t[[]1].csv")
        with pytest.raises(WarehouseError):
            warehouse.query(f"SELECT * FROM read_csv({outside})", timeout=TIMEOUT).read_all()

    assert found == [{"folder": name}]


_LONG = b"x" * 140_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.csv", b'a,b\n1,"' + _LONG + b'"\n2,"x\n'),
        ("bad.csv", b'"' + _LONG + b"\n"),
        ("bad.csv", b'a,b\n"' + _LONG * 20),
        ("bad.tsv", b'a\tb\n1\t"' + _LONG + b"\n"),
        ("bad.csv.gz", gzip.compress(b'a,b\n1,"' + _LONG, mtime=0)),
        ("bad.csv.gz", gzip.compress(b'a,b\n1,"' + _LONG, mtime=0)[:-12]),
        ("bad.csv.gz", b"confidential"),
        ("bad.csv", b"\xff\xfe\x00\x01"),
        ("bad.json", b"[" * 100_000),
        ("bad.json", b'{"a": ' + b'"confidential'),
        ("bad.json.gz", b"confidential"),
        ("bad.parquet", b"confidential"),
        (os.fsdecode(b"bad\xff.csv"), b"a\n1\n"),
        ("bad.schema.json", b"[" * 100_000),
    ],
)
def test_whatever_is_wrong_with_one_file_is_its_tables_fault(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "good.csv").write_text("id\n1\n")
    (tmp_path / name).write_bytes(content)
    if name == "bad.schema.json":
        (tmp_path / "bad.csv").write_bytes(b"a\n1\n")

    assert rows(tmp_path, "SELECT id FROM good") == [{"id": 1}]
    error = refusal(tmp_path, "SELECT * FROM bad")

    assert "bad" in error.message
    assert "confidential" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("name", "content", "said", "step"),
    [
        ("bad.csv", b'a\n"x\n', "a quote is not closed", "read_csv("),
        ("bad.json", b'{"a": "confidential', "cannot be read as JSON", "read_json("),
        ("bad.parquet", b"confidential", "no Parquet file, or only a part of one", "Write the file again"),
        (
            "bad.parquet",
            b"PAR1" + b"confidential" * 9,
            "no Parquet file, or only a part of one",
            "Write the file again",
        ),
    ],
)
def test_what_to_do_about_a_file_fits_its_kind(tmp_path: Path, name: str, content: bytes, said: str, step: str) -> None:
    (tmp_path / name).write_bytes(content)

    error = refusal(tmp_path, "SELECT * FROM bad")

    assert str(tmp_path / name) in error.message
    assert said in error.message
    assert step in error.hint


@pytest.mark.parametrize(
    ("expression", "step"),
    [
        ("CAST(substr(secret, 1, 2) AS INTEGER)", "TRY_CAST"),
        ("CAST(300 AS TINYINT)", "TRY_CAST"),
        ("9223372036854775807 + id", "cast it to a larger one"),
        ("error(secret)", "run the query in DuckDB"),
        ("strptime(secret, '%Y')", "run the query in DuckDB"),
        ("(SELECT secret FROM t)", "LIMIT 1"),
    ],
)
def test_an_error_of_a_value_has_a_next_step_and_no_value(tmp_path: Path, expression: str, step: str) -> None:
    (tmp_path / "t.csv").write_text("id,secret\n1,confidential\n2,confidential\n")

    error = refusal(tmp_path, f"SELECT id, {expression} AS a FROM t")

    assert step in error.hint
    assert "confid" not in error.message + error.hint


def test_a_link_to_where_nobody_may_look_is_its_tables_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "good.csv").write_text("id\n1\n")
    (folder / "bad.csv").symlink_to(tmp_path / "closed" / "t.csv")
    is_file = Path.is_file

    def refused(path: Path, **options: Any) -> bool:
        if path.name == "bad.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path, **options)

    monkeypatch.setattr(Path, "is_file", refused)

    assert rows(folder, "SELECT id FROM good") == [{"id": 1}]
    assert "bad.csv" in refusal(folder, "SELECT * FROM bad").message


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{outside}'",
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_text('{folder}/../outside.csv')",
        "SELECT * FROM read_csv('{folder}/link.csv')",
        "SELECT * FROM link",
        "SELECT * FROM glob('{folder}/../*')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/people.csv')",
        "COPY (SELECT 1) TO '{folder}/written.csv'",
        "WITH written AS (COPY (SELECT 1) TO '{folder}/written.csv') SELECT * FROM written",
        "SELECT * FROM query('WITH w AS (COPY (SELECT 1) TO ''{folder}/written.csv'') SELECT 1')",
        "ATTACH '{folder}/written.csv' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "CREATE VIEW other AS SELECT 1",
        "DROP VIEW people",
        "EXPORT DATABASE '{folder}/written.csv'",
    ],
)
def test_a_query_cannot_leave_its_folder_or_write_in_it(tmp_path: Path, sql: str) -> None:
    folder, outside = tmp_path / "files", tmp_path / "outside.csv"
    folder.mkdir()
    outside.write_text("id\n1\n")
    (folder / "people.csv").write_text("id\n1\n")
    (folder / "link.csv").symlink_to(outside)

    refusal(folder, sql.format(folder=folder, outside=outside))

    assert sorted(path.name for path in folder.iterdir()) == ["link.csv", "people.csv"]


def test_the_files_of_the_folder_can_be_read_with_other_options(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id;name\n007;Ann\n")

    sql = f"SELECT * FROM read_csv('{tmp_path}/people.csv', delim = ';', all_varchar = true)"
    assert rows(tmp_path, sql) == [{"id": "007", "name": "Ann"}]


@pytest.mark.parametrize(
    "name",
    ["main", "memory", "temp", "system", "information_schema", "pg_catalog", "Main", "people", "my data", "a[1]", 'a"b',
     "100%", "100%41", "default", "select"],
)  # fmt: skip
def test_a_database_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE people AS SELECT 1 AS id")
        connection.execute("CREATE SCHEMA crm; CREATE TABLE crm.deals AS SELECT 2 AS id")

    with closing(open_warehouse("files", f"duckdb:///{quote(str(path))}")) as warehouse:
        assert warehouse.query("SELECT id FROM people", timeout=TIMEOUT).read_all().to_pylist() == [{"id": 1}]
        assert warehouse.query("SELECT id FROM crm.deals", timeout=TIMEOUT).read_all().to_pylist() == [{"id": 2}]


def test_a_query_may_name_the_file_as_the_database(tmp_path: Path) -> None:
    for name in ("shop", "main"):
        with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as connection:
            connection.execute("CREATE TABLE people AS SELECT 1 AS id")

    assert rows(tmp_path / "shop.duckdb", "SELECT id FROM shop.main.people") == [{"id": 1}]
    assert rows(tmp_path / "main.duckdb", "SELECT id FROM main_db.main.people") == [{"id": 1}]


@pytest.mark.parametrize("name", ["my data", "100%", "what?x", "a#b", "ä", "a%20b"])
def test_a_path_in_a_url_is_decoded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "people.csv").write_text("id\n1\n")

    with closing(open_warehouse("files", f"duckdb:///{quote(str(tmp_path / name))}")) as warehouse:
        assert warehouse.query("SELECT id FROM people", timeout=TIMEOUT).read_all().to_pylist() == [{"id": 1}]


@pytest.mark.parametrize("name", ["a%20b", "100%41", "what?x"])
def test_a_path_that_was_never_encoded_is_found_where_it_is_the_only_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "people.csv").write_text("id\n1\n")

    assert rows(tmp_path / name, "SELECT id FROM people") == [{"id": 1}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "crm.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE people AS SELECT 1 AS id")
    return path


def test_one_file_can_be_open_twice(file: Path) -> None:
    with opened(file) as first, opened(file) as second:
        for warehouse in (first, second):
            assert warehouse.query("SELECT id FROM crm.main.people", timeout=TIMEOUT).read_all().num_rows == 1


def test_an_error_that_somebody_keeps_does_not_keep_the_file_open(file: Path) -> None:
    with opened(file) as warehouse:
        result = warehouse.query("SELECT i FROM range(100000000000000) AS t (i)", timeout=timedelta(seconds=0.3))
        with pytest.raises(WarehouseError, match="over the timeout") as caught:
            result.read_all()

    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE another (id INTEGER)")
    assert caught.value.__traceback__ is not None


def test_a_file_that_another_program_writes_says_so(file: Path) -> None:
    program = f"import duckdb, sys; c = duckdb.connect('{file}'); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(WarehouseError, match="lock") as caught:
            open_warehouse("files", f"duckdb:///{file}")

        other.communicate()
    assert "another program" in caught.value.hint.lower()


@pytest.mark.parametrize("name", ["missing.duckdb", "missing/folder", "no-database.duckdb"])
def test_a_path_that_is_no_database_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "no-database.duckdb").write_text("hello" * 10_000)

    with pytest.raises(WarehouseError, match="warehouse `files`") as caught:
        open_warehouse("files", f"duckdb:///{tmp_path / name}")

    assert str(tmp_path / name) in caught.value.message


def test_a_url_without_a_path_is_refused() -> None:
    with pytest.raises(WarehouseError) as caught:
        open_warehouse("files", "duckdb:///")

    assert "duckdb:///" in caught.value.hint


def test_a_closed_warehouse_leaves_no_file_behind(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spill))

    rows(file, "SELECT count(*) FROM (SELECT DISTINCT i FROM range(100000) AS t (i))")

    assert list(spill.iterdir()) == []


#: Prints the error of a query, and how many seconds it and closing took.
_TIMED = """
import sys, time
from contextlib import closing
from datetime import timedelta
from syncer.model.errors import WarehouseError
from syncer.model.memory import Memory
from syncer.settings.registry import open_warehouse
with closing(open_warehouse("files", sys.argv[1])) as warehouse:
    began = time.monotonic()
    try:
        warehouse.query(sys.argv[2], timeout=timedelta(seconds=0.5)).read_all()
    except WarehouseError as error:
        print(error)
print(time.monotonic() - began)
"""


@pytest.mark.parametrize(
    "sql",
    ["SELECT list_sum(range(60000000)) AS id", "SELECT list_sum(range(60000000 + range)) AS id FROM range(2)"],
    ids=["of a constant", "of a column"],
)
def test_a_timeout_also_ends_a_function_that_does_not_look_for_it(tmp_path: Path, sql: str) -> None:
    (tmp_path / "people.csv").write_text("id\n1\n")
    command = [sys.executable, "-c", _TIMED, f"duckdb:///{tmp_path}", sql]

    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr
    error, seconds = ended.stdout.splitlines()
    assert "over the timeout of 0.5 seconds" in error
    assert float(seconds) < 7


def test_a_query_has_its_part_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_warehouse, "PROCESS", Memory(2_347_483_648))
    (tmp_path / "people.csv").write_text("id\n1\n")

    assert rows(tmp_path, "SELECT current_setting('memory_limit') AS id") == [{"id": "1.0 GiB"}]
