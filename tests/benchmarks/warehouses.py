"""How fast each warehouse is read into Arrow: `python -m tests.benchmarks.warehouses [NAME…]`.

Every reading, and the bare one of its driver beside it, is a fresh process; the best of several rounds counts. What
does not run on this machine is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import pymysql
import pymysql.cursors
import pytest

from connectors import open_warehouse
from tests.mariadb_server import mariadb_server
from tests.peak_memory import peak_megabytes
from tests.postgres_server import postgres_server

_QUERY = "SELECT * FROM people"
_POSTGRESQL = """
CREATE TABLE people AS
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    CASE WHEN i % 7 <> 0 THEN 'city ' || i % 1000 END AS city, (i * 7 % 10000000)::numeric(12, 2) / 100 AS ltv,
    timestamp '2024-01-01 00:00' + i * interval '1 second' AS created_at, date '2024-01-01' AS born,
    i % 100 AS score, CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CASE WHEN i % 5 <> 0 THEN i::bigint * 3 END AS visits
FROM generate_series(1, {rows}) AS i
"""
_MARIADB = """
CREATE TABLE people AS
SELECT seq AS user_id, concat('user', seq, '@example.com') AS email, concat('Name ', seq) AS name,
    IF(seq % 7 <> 0, concat('city ', seq % 1000), NULL) AS city,
    CAST(seq * 7 % 10000000 / 100 AS DECIMAL(12, 2)) AS ltv,
    timestamp '2024-01-01 00:00:00' + INTERVAL seq SECOND AS created_at, date '2024-01-01' AS born,
    CAST(seq % 100 AS INT) AS score, IF(seq % 3 = 0, 'free', 'pro') AS plan,
    IF(seq % 5 <> 0, seq * 3, NULL) AS visits
FROM seq_1_to_{rows}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One warehouse that runs here."""

    #: Gives, for as long as it is entered, the URL of a warehouse with a table `people` of so many rows, ten columns.
    #: Skips as a test does where it cannot run.
    serve: Callable[[int], AbstractContextManager[str]]
    #: Reads the URL's `people` with the driver alone and throws everything away.
    bare: Callable[[str], None]
    #: What `bare` is, for people.
    against: str


@contextmanager
def _postgresql(rows: int) -> Iterator[str]:
    with postgres_server() as server, server.new_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_POSTGRESQL.replace("{rows}", str(rows)))
            connection.execute("VACUUM (FREEZE, ANALYZE) people")
        yield url


def _bare_copy(url: str) -> None:
    with psycopg.connect(url) as connection, connection.cursor().copy(f"COPY ({_QUERY}) TO STDOUT") as copy:
        for _ in copy:
            pass


@contextmanager
def _mariadb(rows: int) -> Iterator[str]:
    with mariadb_server() as server, server.new_database() as name:
        server.execute(_MARIADB.format(rows=rows), name)
        yield server.url(name)


def _bare_pymysql(url: str) -> None:
    parts = urlsplit(url)
    with (
        pymysql.connect(
            host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:]
        ) as connection,
        connection.cursor(pymysql.cursors.SSCursor) as cursor,
    ):
        cursor.execute(_QUERY)
        while cursor.fetchmany(10_000):
            pass


#: A further warehouse is one more entry.
CANDIDATES: dict[str, Candidate] = {
    "PostgreSQL": Candidate(serve=_postgresql, bare=_bare_copy, against="psycopg, a bare COPY"),
    "MariaDB": Candidate(serve=_mariadb, bare=_bare_pymysql, against="PyMySQL, its unbuffered cursor"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One reading in a process of its own; connecting counts, starting Python does not."""

    seconds: float
    megabytes: int


def _measure(name: str, url: str, *, is_bare: bool) -> Measured:
    started = time.perf_counter()
    if is_bare:
        CANDIDATES[name].bare(url)
    else:
        warehouse = open_warehouse("benchmark", url)
        for _ in warehouse.query(_QUERY, timeout=timedelta(minutes=10)):
            pass
        warehouse.close()
    return Measured(seconds=time.perf_counter() - started, megabytes=peak_megabytes())


def _in_own_process(name: str, url: str, *, is_bare: bool) -> Measured:
    command = [sys.executable, "-m", __spec__.name, "--measure", "bare" if is_bare else "ours", url, name]
    return Measured(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _compare(name: str, rows: int, rounds: int) -> str:
    candidate = CANDIDATES[name]
    with candidate.serve(rows) as url:
        # In turns, so that whatever else the machine does meets both alike.
        pairs = [
            (_in_own_process(name, url, is_bare=True), _in_own_process(name, url, is_bare=False)) for _ in range(rounds)
        ]
    bare, ours = (min(runs, key=lambda run: run.seconds) for runs in zip(*pairs, strict=True))
    figures = f"{rows / ours.seconds:>12,.0f}{ours.megabytes:>8} MB{ours.seconds / bare.seconds:>9.2f} x"
    return f"{name:<14}{figures}  of {bare.seconds:.2f} s, {candidate.against}"


def main() -> None:
    """Print a row for each warehouse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CANDIDATES, []], default=[])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="the best one counts")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        kind, url = given.measure
        measured = _measure(given.names[0], url, is_bare=kind == "bare")
        print(json.dumps({"seconds": measured.seconds, "megabytes": measured.megabytes}))
        return
    print(f"{'warehouse':<14}{'rows/s':>12}{'peak':>11}{'time':>11}  of the driver's own")
    for name in given.names or CANDIDATES:
        try:
            print(_compare(name, given.rows, given.rounds), flush=True)
        except pytest.skip.Exception as exc:
            print(f"{name:<14}left out: {exc}", flush=True)


if __name__ == "__main__":
    main()
