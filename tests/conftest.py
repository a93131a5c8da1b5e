"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers.bigquery import BigQueryProject, BigQueryServer, bigquery_server
from tests.servers.mariadb import MariaDBServer, mariadb_server
from tests.servers.postgresql import PostgresServer, postgres_server
from tests.servers.snowflake import SnowflakeServer, snowflake_server

#: What `--hypothesis-profile` is called where the properties are to be tried for hours.
LONG = "long"
settings.register_profile(LONG, deadline=None)
#: No example fails because the machine has other work.
settings.register_profile("usual", deadline=None)
settings.load_profile("usual")


def pytest_configure() -> None:
    """Take away what the caller's environment would change in the tests and in the processes they start."""
    for name in list(os.environ):
        if name.startswith(("SYNCER_", "PG", "GOOGLE_", "BIGQUERY_")):
            del os.environ[name]
    # A caller in the background may have had it ignored, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Snowflake's driver would ask the network where this machine stands.
    os.environ["SNOWFLAKE_DISABLE_PLATFORM_DETECTION"] = "true"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for each worker of pytest-xdist."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own, as superuser."""
    with postgres.new_database() as url:
        yield url


@pytest.fixture(scope="session")
def bigquery() -> Iterator[BigQueryServer]:
    """A stand-in for BigQuery, one for each worker of pytest-xdist."""
    with bigquery_server() as server:
        yield server


@pytest.fixture
def bigquery_project(bigquery: BigQueryServer) -> Iterator[BigQueryProject]:
    """A project of this test's own, with an empty dataset `shop`."""
    with bigquery.new_project() as project:
        yield project


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """A MariaDB server, one for each worker of pytest-xdist."""
    with mariadb_server() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDBServer) -> Iterator[str]:
    """The name of an empty MariaDB database of this test's own."""
    with mariadb.new_database() as name:
        yield name


@pytest.fixture
def mariadb_url(mariadb: MariaDBServer, mariadb_database: str) -> str:
    """The URL of that database, as `root`."""
    return mariadb.url(mariadb_database)


@pytest.fixture(scope="session")
def snowflake() -> Iterator[SnowflakeServer]:
    """A stand-in for Snowflake, one for each worker of pytest-xdist."""
    with snowflake_server() as server:
        yield server
