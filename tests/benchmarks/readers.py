"""Which way of reading PostgreSQL into Arrow is fastest, smallest and exact: `python -m tests.benchmarks.readers`.

Each candidate reads one million rows into a DuckDB table in a fresh process, beside a bare binary COPY that is thrown
away. Candidates that are not installed are left out: `pip install adbc-driver-postgresql connectorx`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import duckdb
import psycopg

from syncer.settings.registry import open_warehouse
from tests.benchmarks.peak_memory import peak_megabytes
from tests.servers.postgresql import postgres_server

_QUERY = "SELECT * FROM people"
_PEOPLE = """
CREATE TABLE people AS
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, (i * 7 % 10000000)::numeric / 100 AS ltv,
    timestamptz '2024-01-01 00:00+00' + i * interval '1.123456 seconds' AS created_at, i % 2 = 0 AS active,
    i % 100 AS score, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CASE WHEN i % 5 <> 0 THEN i::bigint * 3 END AS visits
FROM generate_series(1, {rows}) AS i
"""

#: An expression, and how DuckDB may spell what arrives.
_PROBES: list[tuple[str, str, set[str | None]]] = [
    ("numeric, 69 digits", f"{'1234567890' * 6}.123456789::numeric", {f"{'1234567890' * 6}.123456789"}),
    ("numeric, small", "1e-20::numeric", {"0.00000000000000000001"}),
    ("numeric NaN", "'NaN'::numeric", {"NaN"}),
    ("numeric Infinity", "'Infinity'::numeric", {"Infinity"}),
    ("double", "0.1::float8", {"0.1"}),
    ("bigint", "9223372036854775807", {"9223372036854775807"}),
    ("timestamptz", "'2024-02-29 12:00:00.123456+02'::timestamptz", {"2024-02-29 10:00:00.123456+00"}),
    ("timestamptz infinity", "'infinity'::timestamptz", {"infinity"}),
    ("timestamp -infinity", "'-infinity'::timestamp", {"-infinity"}),
    ("date infinity", "'infinity'::date", {"infinity"}),
    ("date, year 12000", "'12000-01-01'::date", {"12000-01-01", "infinity"}),
    ("time 24:00", "'24:00'::time", {"24:00:00"}),
    ("timetz", "'12:34:56+05:30'::timetz", {"12:34:56+05:30"}),
    ("interval", "'14 mons 3 days 04:05:06'::interval", {"1 year 2 mons 3 days 04:05:06", "1 year 2 months 3 days 04:05:06"}),  # noqa: E501
    ("json", """'{"a": [2.50, 12345678901234567890123]}'::json""", {'{"a": [2.50, 12345678901234567890123]}'}),
    ("jsonb", """'{"a": [2.50, 12345678901234567890123]}'::jsonb""", {'{"a": [2.50, 12345678901234567890123]}'}),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    ("integer[] with NULL", "'{1,NULL,3}'::int[]", {"[1, null, 3]", "[1, NULL, 3]"}),
    ("integer[][]", "'{{1,2},{3,4}}'::int[]", {"[[1, 2], [3, 4]]"}),
    ("jsonb[]", """ARRAY['{"a": 1}'::jsonb]""", {'[{"a": 1}]'}),
    ("NULL", "NULL::text", {None}),
    ("empty text", "''::text", {""}),
    ("bytea", r"'\x00ff'::bytea", {r"\x00\xFF"}),
    ("enum", "'sad'::mood", {"sad"}),
    ("domain", "7::positive", {"7"}),
    ("composite", "ROW(1, 'a', NULL)::pair", {'{"x": 1, "y": "a", "z": null}', "{'x': 1, 'y': a, 'z': NULL}"}),
    ("inet", "'10.0.0.0/8'::inet", {"10.0.0.0/8"}),
    ("money", "12.34::numeric::money", {"12.34", "$12.34"}),
    ("char(5)", "'ab'::char(5)", {"ab"}),
    ("bit", "B'0101'", {"0101"}),
    ("range", "'[1,5)'::int4range", {"[1,5)"}),
    ("multirange", "'{[1,5),[7,9)}'::int4multirange", {"{[1,5),[7,9)}"}),
]  # fmt: skip
_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (x int, y text, z text);
CREATE DOMAIN positive AS int CHECK (value > 0)
"""


#: What must outlive its reader.
_OPEN: list[Any] = []


def _ours(url: str, query: str) -> Any:
    return open_warehouse("benchmark", url).query(query, timeout=timedelta(minutes=5))


def _adbc(url: str, query: str) -> Any:
    from adbc_driver_postgresql import dbapi

    connection = dbapi.connect(url)
    cursor = connection.cursor(adbc_stmt_kwargs={"adbc.postgresql.batch_size_hint_bytes": str(1 << 20)})
    _OPEN.extend([connection, cursor])
    cursor.execute(query)
    return cursor.fetch_record_batch()


def _connectorx(url: str, query: str) -> Any:
    import connectorx

    return connectorx.read_sql(url, query, return_type="arrow_stream", batch_size=1 << 16)


CANDIDATES: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "COPY as CSV, parsed by pyarrow": ("psycopg", _ours),
    "ADBC": ("adbc_driver_postgresql", _adbc),
    "connectorx": ("connectorx", _connectorx),
}


def _bare(url: str) -> None:
    with (
        psycopg.connect(url) as connection,
        connection.cursor().copy(f"COPY ({_QUERY}) TO STDOUT (FORMAT binary)") as rows,
    ):
        for _ in rows:
            pass


def _measure(name: str, url: str) -> dict[str, float]:
    """Seconds, CPU seconds and megabytes of reading everything once; meant for a process of its own."""
    started, cpu = time.perf_counter(), time.process_time()
    if name == "bare":
        _bare(url)
    else:
        _duckdb_over(CANDIDATES[name][1](url, _QUERY)).execute("CREATE TEMP TABLE t AS SELECT * FROM result")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "megabytes": peak_megabytes()}


def _duckdb_over(result: Any) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET timezone = 'UTC'")
    return connection.register("result", result)


def _verdict(name: str, url: str, expression: str, expected: set[str | None]) -> str:
    try:
        result = CANDIDATES[name][1](url, f"SELECT {expression} AS x")
        ((got,),) = _duckdb_over(result).execute("SELECT x::VARCHAR FROM result").fetchall()
    except BaseException:  # connectorx panics with an exception that is no Exception.
        return "refused"
    return "exact" if got in expected else f"WRONG: {got}"


def _in_own_process(action: str, name: str, url: str) -> Any:
    command = [sys.executable, "-m", "tests.benchmarks.readers", f"--{action}", name, url]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Print the table of speeds, then the table of types."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5, help="the best one counts")
    arguments.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments.add_argument("--verdicts", nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.measure:
        print(json.dumps(_measure(*given.measure)))
    elif given.verdicts:
        name, url = given.verdicts
        print(json.dumps([_verdict(name, url, expression, expected) for _, expression, expected in _PROBES]))
    else:
        _compare(given.rows, given.rounds)


def _compare(rows: int, rounds: int) -> None:
    names = [name for name, (module, _) in CANDIDATES.items() if importlib.util.find_spec(module)]
    with postgres_server() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(_PEOPLE.format(rows=rows))
            connection.execute(_TYPES)
            connection.execute("VACUUM (FREEZE, ANALYZE) people")
        # In turns, so that whatever else the machine does meets all alike.
        runs = [
            {name: _in_own_process("measure", name, server.url()) for name in ["bare", *names]} for _ in range(rounds)
        ]
        verdicts = {name: _in_own_process("verdicts", name, server.url()) for name in names}
    best = {name: {unit: min(run[name][unit] for run in runs) for unit in run0} for name, run0 in runs[0].items()}
    print(f"{rows} rows, best of {rounds}")
    for name, figures in best.items():
        ratio = figures["seconds"] / best["bare"]["seconds"]
        figure = "{seconds:5.2f} s {cpu:5.2f} s of CPU {megabytes:5.0f} MB".format(**figures)
        print(f"{name:32} {figure} {ratio:5.2f} x")
    for number, (label, _, _) in enumerate(_PROBES):
        print(f"{label:24}" + "".join(f" {verdicts[name][number]:40.40}" for name in names))


if __name__ == "__main__":
    main()
