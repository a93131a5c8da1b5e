"""A stand-in for BigQuery, read in both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from tests.benchmarks.warehouses.candidate import Candidate
from tests.servers.bigquery import bigquery_server

_PEOPLE = """
CREATE TABLE people AS
SELECT i AS user_id, CONCAT('user', i, '@example.com') AS email, CONCAT('Name ', i) AS name,
    IF(MOD(i, 7) <> 0, CONCAT('city ', MOD(i, 1000)), NULL) AS city,
    CAST(MOD(i * 7, 10000000) / 100 AS NUMERIC) AS ltv, TIMESTAMP_SECONDS(1704067200 + i) AS created_at,
    DATE '2024-01-01' AS born, MOD(i, 100) AS score, IF(MOD(i, 3) = 0, 'free', 'pro') AS plan,
    IF(MOD(i, 5) <> 0, i * 3, NULL) AS visits
FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i
"""


@contextmanager
def _stand_in(rows: int, *, storage: bool) -> Iterator[str]:
    with bigquery_server() as server, server.new_project() as project:
        project.execute(_PEOPLE.format(rows=rows))
        yield project.url(storage=storage)


@contextmanager
def _result(url: str, query: str) -> Iterator[Any]:
    parts = urlsplit(url)
    login = AnonymousCredentials()  # type: ignore[no-untyped-call]
    at = {"api_endpoint": parse_qs(parts.query)["endpoint"][0]}
    config = bigquery.QueryJobConfig(default_dataset=f"{parts.netloc}{parts.path.replace('/', '.')}")
    client = bigquery.Client(project=parts.netloc, credentials=login, client_options=at)
    yield client.query(query, job_config=config).result()
    client.close()  # type: ignore[no-untyped-call]


def _arrow(url: str, query: str) -> None:
    address = parse_qs(urlsplit(url).query)["storage_endpoint"][0]
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    storage: Any = BigQueryReadClient(  # type: ignore[no-untyped-call]
        transport=BigQueryReadGrpcTransport(channel=channel)
    )
    with _result(url, query) as result:
        for _ in result.to_arrow_iterable(bqstorage_client=storage):
            pass
    storage.transport.close()


def _rows(url: str, query: str) -> None:
    with _result(url, query) as result:
        for _ in result:
            pass


STORAGE = Candidate(serve=partial(_stand_in, storage=True), bare=_arrow, against="the client, its iterable of Arrow")
REST = Candidate(serve=partial(_stand_in, storage=False), bare=_rows, against="the client, its iterator of rows")
