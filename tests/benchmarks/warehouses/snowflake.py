"""A stand-in for Snowflake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import snowflake.connector

from tests.benchmarks.warehouses.candidate import Candidate
from tests.servers.snowflake import snowflake_server

_PEOPLE = """
CREATE TABLE people AS
SELECT i AS user_id, 'user' || i || '@example.com' AS email, 'Name ' || i AS name,
    IFF(i % 7 <> 0, 'city ' || (i % 1000), NULL) AS city, CAST(i * 7 % 10000000 / 100 AS NUMBER(12, 2)) AS ltv,
    DATEADD(second, i, '2024-01-01'::TIMESTAMP_NTZ) AS created_at, CAST('2024-01-01' AS DATE) AS born,
    i % 100 AS score, IFF(i % 3 = 0, 'free', 'pro') AS plan, IFF(i % 5 <> 0, i * 3, NULL) AS visits
FROM (SELECT SEQ4() + 1 AS i FROM TABLE(GENERATOR(ROWCOUNT => {rows})))
"""


@contextmanager
def _stand_in(rows: int) -> Iterator[str]:
    with snowflake_server() as server:
        database = server.new_database()
        server.execute(database, _PEOPLE.format(rows=rows))
        yield server.url(f"{database}/public")


def _arrow(url: str, query: str) -> None:
    # The driver would ask the network where this machine stands.
    os.environ["SNOWFLAKE_DISABLE_PLATFORM_DETECTION"] = "true"
    parts = urlsplit(url)
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    database, schema = parts.path[1:].split("/")
    with snowflake.connector.connect(
        user=parts.username, password=unquote(parts.password or ""), account="account1", host=given["host"],
        port=int(given["port"]), protocol=given["protocol"], warehouse=given["warehouse"], database=database,
        schema=schema, use_proxy_env=False, enable_server_session_keep_alive_auto_detection=False,
    ) as connection:  # fmt: skip
        for _ in connection.cursor().execute(query).fetch_arrow_batches():
            pass


SNOWFLAKE = Candidate(serve=_stand_in, bare=_arrow, against="the connector, its batches of Arrow")
