"""MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pymysql
import pymysql.cursors

from tests.benchmarks.warehouses.candidate import CHUNK_ROWS, Candidate
from tests.servers.mariadb import mariadb_server

_PEOPLE = """
CREATE TABLE people AS
SELECT seq AS user_id, concat('user', seq, '@example.com') AS email, concat('Name ', seq) AS name,
    IF(seq % 7 <> 0, concat('city ', seq % 1000), NULL) AS city,
    CAST(seq * 7 % 10000000 / 100 AS DECIMAL(12, 2)) AS ltv,
    timestamp '2024-01-01 00:00:00' + INTERVAL seq SECOND AS created_at, date '2024-01-01' AS born,
    CAST(seq % 100 AS INT) AS score, IF(seq % 3 = 0, 'free', 'pro') AS plan,
    IF(seq % 5 <> 0, seq * 3, NULL) AS visits
FROM seq_1_to_{rows}
"""


@contextmanager
def _mariadb(rows: int) -> Iterator[str]:
    with mariadb_server() as server, server.new_database() as name:
        server.execute(_PEOPLE.format(rows=rows), name)
        yield server.url(name)


def _unbuffered(url: str, query: str) -> None:
    parts = urlsplit(url)
    with (
        pymysql.connect(
            host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:]
        ) as connection,
        connection.cursor(pymysql.cursors.SSCursor) as cursor,
    ):
        cursor.execute(query)
        while cursor.fetchmany(CHUNK_ROWS):
            pass


MARIADB = Candidate(serve=_mariadb, bare=_unbuffered, against="PyMySQL, its unbuffered cursor")
