"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.bigquery import BigQueryProject, BigQueryServer
    from tests.servers.mariadb import MariaDBServer
    from tests.servers.postgresql import PostgresServer
    from tests.servers.snowflake import SnowflakeServer

#: What `--hypothesis-profile` is called where everything is to be tried, in hours.
LONG = "long"

if find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile(LONG, deadline=None)
    # No example fails because the machine has other work.
    settings.register_profile("usual", deadline=None)
    settings.load_profile("usual")


_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 * 2**30


def is_long() -> bool:
    """Whether everything is to be tried, in hours."""
    return settings.get_current_profile_name() == LONG


def seeds(usual: int) -> range:
    """The seeds of as many histories, or of ten times as many where everything is to be tried."""
    return range(usual * 10 if is_long() else usual)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept the options in `pyproject.toml` of plugins that are not installed: some tests need only pytest."""
    if not pluginmanager.hasplugin("xdist"):
        parser.addoption("--numprocesses", "--dist", help="of pytest-xdist, which is not loaded")
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", help="of pytest-timeout, which is not loaded")


def pytest_configure(config: pytest.Config) -> None:
    """Take away what the caller's environment would change in the tests and in the processes they start."""
    config.addinivalue_line("markers", "early: it takes long, so that a worker begins with it.")
    # Most of the time of a test on a disk is waiting for `fsync`.
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
    for name in list(os.environ):
        if name.startswith(("SYNCER_", "PG", "GOOGLE_", "BIGQUERY_")):
            del os.environ[name]
    # Each worker, and each process that a test starts, would compile all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # A caller in the background may have had it ignored, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Snowflake's driver would ask the network where this machine stands.
    os.environ["SNOWFLAKE_DISABLE_PLATFORM_DETECTION"] = "true"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker of pytest-xdist begin with some of the tests that take long: the last ones end side by side."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1:
        return
    rest = [item for item in items if item.get_closest_marker("early") is None]
    early = [item for item in items if item.get_closest_marker("early") is not None]
    # Those of one file may share what takes long to make.
    files = [list(file) for _, file in groupby(early, lambda item: item.path)]
    begun = [list(chain.from_iterable(files[worker::workers])) for worker in range(workers)]
    items.clear()
    for worker, first in enumerate(begun):
        # Of those that are left, the scheduler gives each worker its part.
        left = len(rest) + sum(map(len, begun[worker:]))
        more = max(0, left // (workers - worker) - len(first))
        items += first + rest[:more]
        del rest[:more]
    assert not rest


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for each worker of pytest-xdist."""
    from tests.servers.postgresql import postgres_server

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
    from tests.servers.bigquery import bigquery_server

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
    from tests.servers.mariadb import mariadb_server

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
    from tests.servers.snowflake import snowflake_server

    with snowflake_server() as server:
        yield server
