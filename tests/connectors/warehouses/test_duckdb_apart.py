"""Queries that may build values without end run in a process of their own, with a limit of memory and of time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from connectors.duckdb.functions import builds_values
from syncer.model.protocols import JSON
from tests.connectors.warehouses.test_duckdb import opened, refusal, rows

#: It works for minutes in many short functions, and for half an hour in a long one.
LONG = "SELECT max(list_sum(range(i))) FROM range(100000) t (i)"
#: One call, which nothing interrupts.
ENDLESS = "SELECT levenshtein(repeat('x', 200000), repeat('y', 200000)) AS n"


def processes_of(parent: int) -> list[int]:
    """The processes for queries that *parent* started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            is_child = int(stat.read_text().rpartition(")")[2].split()[1]) == parent
            if is_child and b"apart.serve" in stat.with_name("cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    return tmp_path


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a, sum(b) FROM t WHERE a IN (1, 2) GROUP BY (a) HAVING count(*) > (SELECT 1)",
        "WITH t (a) AS (VALUES (1)) SELECT CAST(x.a AS DECIMAL(12, 2)) FROM t AS x (a)",
        "SELECT sum(a) OVER (ORDER BY a RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT 'repeat(', \"range\", upper(a), list(b), a::VARCHAR(10) FROM t -- range(5)",
        "SELECT * FROM read_csv('t.csv') /* repeat('x', 5) */",
        "SELECT * FROM range(5) JOIN generate_series(1, 9) ON true",
        "SELECT a || ', ' || b || ' ' || a AS x, concat(a, ' ', b) AS y, [a, b] AS z, hex(a) FROM t",
        "SELECT replace(replace(a, '-', ''), ' ', ''), regexp_replace(b, '[^0-9]+', '', 'g'), a[1] FROM t",
        "SELECT 'a || b ||||||||||||||||||||||||||' AS x FROM t",
    ],
)
def test_usual_queries_run_in_this_process(sql: str) -> None:
    assert not builds_values(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 5)",
        "SELECT list_sum(RANGE (5))",
        "SELECT 'x'.repeat(5)",
        "SELECT \"repeat\"/* */('x', 5)",
        "SELECT repeat -- no\n ('x', 5)",
        "WITH RECURSIVE t AS (SELECT 'x' AS a UNION ALL SELECT a || a FROM t) SELECT a FROM t",
        "SELECT my_macro(a) FROM t",
        "SELECT a FROM t WHERE length(lpad(a, 1000000000)) > 1",
    ],
)
def test_queries_that_may_build_values_do_not(sql: str) -> None:
    assert builds_values(sql)


@pytest.mark.parametrize(
    "step",
    [
        "s||s",
        "concat(s, s)",
        "s.concat(s)",
        "concat_ws(s, s, s)",
        "replace(s, 'x', s)",
        "replace(s, 'x', 'xx')",
        "regexp_replace(s, '.', 'xxx', 'g')",
        "s.replace('x', s)",
        "[s, s]",
        "row(s, s)",
        "hex(s)",
    ],
)
def test_a_value_that_becomes_longer_and_longer_is_built_apart(step: str) -> None:
    steps = "".join(f", t{i} AS (SELECT {step} AS s FROM t{i - 1})" for i in range(1, 31))

    assert builds_values(f"WITH t0 AS (SELECT 'x' AS s){steps} SELECT s FROM t30")


def test_a_query_apart_gives_what_it_would_give_here(folder: Path) -> None:
    with opened(folder) as warehouse:
        sql = "SELECT a, [a] AS l, list_sum(range(4)) AS s, DATE '2024-01-01' AS d FROM t"
        assert [column.type for column in warehouse.columns(sql)] == ["BIGINT", "BIGINT[]", "HUGEINT", "DATE"]
        reader = warehouse.query(sql, timeout=timedelta(minutes=1))
        assert len(processes_of(os.getpid())) == 1
        assert reader.schema.field("l").metadata == JSON
        assert [row["l"] for row in reader.read_all().to_pylist()] == ["[1]", "[2]"]
        assert warehouse.query("SELECT a FROM t", timeout=timedelta(minutes=1)).read_all().num_rows == 2
        assert processes_of(os.getpid()) == []


def test_a_million_rows_come_from_there(folder: Path) -> None:
    assert len(rows(folder, "SELECT repeat('x', 2) FROM range(1000000)")) == 1_000_000


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT repeat(b, 2) AS x,\nnope FROM t", "nope"),
        ("SELECT repeat(b, 2) FROM tt", "Table with name tt does not exist"),
        ("SELECT repeat(content, 1) FROM read_text('/etc/passwd')", "Cannot access file"),
        ("SELECT CAST(repeat(b, 2) AS INTEGER) FROM t", "onversion"),
    ],
)
def test_an_error_there_is_an_error_here(folder: Path, sql: str, said: str) -> None:
    error = refusal(folder, sql)

    assert said in error.message
    assert error.query_line == (2 if "nope" in sql else 1)


def test_memory_that_one_function_takes_has_a_limit(folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    error = refusal(folder, "SELECT list_sum(range(1000000000)) FROM t")

    assert "memory" in error.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("sql", [LONG, ENDLESS])
def test_after_its_timeout_nothing_goes_on(folder: Path, sql: str) -> None:
    started = time.monotonic()
    with opened(folder) as warehouse:
        with pytest.raises(Exception, match="over the timeout"):
            warehouse.query(sql, timeout=timedelta(seconds=1)).read_all()

        assert time.monotonic() - started < 30
        assert processes_of(os.getpid()) == []


def test_a_view_that_may_build_values_is_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE VIEW long AS SELECT repeat('x', i) AS x FROM range(3) t (i)")

    with opened(path) as warehouse:
        reader = warehouse.query("SELECT x FROM long", timeout=timedelta(minutes=1))
        assert len(processes_of(os.getpid())) == 1
        assert reader.read_all().column("x").to_pylist() == ["", "x", "xx"]


def test_it_ends_with_the_process_that_started_it(folder: Path, tmp_path: Path) -> None:
    program = f"""
from datetime import timedelta
from tests.connectors.warehouses.test_duckdb import opened
from pathlib import Path

with opened(Path({str(folder)!r})) as warehouse:
    warehouse.query({ENDLESS!r}, timeout=timedelta(minutes=10)).read_all()
"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, env=environment)
    try:
        assert eventually(lambda: len(processes_of(parent.pid)) == 1)
        (child,) = processes_of(parent.pid)
        time.sleep(1)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    assert eventually(lambda: not Path(f"/proc/{child}").exists())
    # Nor does what both of them wrote outlive the next process for long.
    (left,) = temporary.iterdir()
    short = program.replace(ENDLESS, "SELECT 1 AS id")
    subprocess.run([sys.executable, "-c", short], env=environment, check=True)
    assert not left.exists()
    assert not [*temporary.iterdir()]


def eventually(claim: object) -> bool:
    deadline = time.monotonic() + 30
    while not claim() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)
    return bool(claim())  # type: ignore[operator]
