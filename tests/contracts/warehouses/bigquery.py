"""A stand-in for BigQuery, read in both ways."""

from __future__ import annotations

import pytest

from tests.contracts.warehouses.adapter import (
    Adapter,
    entered,
    with_people,
)
from tests.contracts.warehouses.bigquery_types import BIGQUERY_TYPES
from tests.servers.bigquery import BigQueryProject, BigQueryServer


def bigquery_storage(request: pytest.FixtureRequest) -> Adapter:
    """BigQuery, read by the Storage Read API."""
    project = _project(request)
    return _bigquery(project, project.url())


def bigquery_rest(request: pytest.FixtureRequest) -> Adapter:
    """BigQuery, read by REST alone."""
    project = _project(request)
    return _bigquery(project, project.url(storage=False))


def _project(request: pytest.FixtureRequest) -> BigQueryProject:
    server: BigQueryServer = request.getfixturevalue("bigquery")
    return entered(request, server.new_project())


def _bigquery(project: BigQueryProject, url: str) -> Adapter:
    def rows(count: int) -> str:
        return f"FROM UNNEST(GENERATE_ARRAY(1, {count})) AS i"

    return with_people(
        Adapter(
            url=url,
            make_table=lambda name, select: project.execute(f"CREATE TABLE {name} AS {select}"),
            product="BigQuery",
            has_catalog=False,
            silent=f"SELECT COUNTIF(MOD(i, 7) = 3) AS n {rows(10**14)}",
            # Its rows come when there are all.
            flooding=f"SELECT i {rows(30 * 10**6)}",
            types=list(BIGQUERY_TYPES),
            # BigQuery refuses a name twice.
            odd_names=[("id", "id"), ("`Größe in %`", "Größe in %"), ("`select`", "select")],
            marks=f"SELECT CONCAT('\ufeff', REPEAT('x', 20)) AS a {rows(200_000)}",
            bad_values=("SELECT CAST(name AS INT64) FROM people", "SELECT CAST('Ann' AS DATE)"),
            bad_late=f"SELECT CAST(IF(i = 900000, 'x', '1') AS INT64) AS n {rows(1_000_000)}",
            many=(
                "SELECT i AS id, CONCAT('user', i, '@example.com') AS email, CONCAT('Name ', i) AS name, "
                "IF(MOD(i, 7) <> 0, CONCAT('city ', MOD(i, 1000)), NULL) AS city, CAST(i / 100 AS NUMERIC) AS ltv, "
                "TIMESTAMP_SECONDS(1704067200 + i) AS seen_at, MOD(i, 2) = 0 AS active, 'free' AS plan, "
                f"DATE '2024-01-01' AS born, MOD(i, 100) AS score {rows(1_000_000)}"
            ),
            literal=_bigquery_literal,
            json=("JSON {}",),
            binary=(r"b'\x00\xff'",),
            tells_line_of_tables=False,
            running=project.running,
        )
    )


def _bigquery_literal(text: str) -> str:
    escapes = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return "'" + "".join(escapes.get(character, character) for character in text) + "'"
