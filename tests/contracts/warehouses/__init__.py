"""The warehouses that the contract suite runs over. A new one is one module here and its names in ADAPTERS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contracts.warehouses.adapter import Adapter
from tests.contracts.warehouses.bigquery import bigquery_rest, bigquery_storage
from tests.contracts.warehouses.duckdb import duckdb_file, duckdb_folder
from tests.contracts.warehouses.mysql import mariadb
from tests.contracts.warehouses.postgresql import postgresql, redshift, sqlalchemy_postgresql
from tests.contracts.warehouses.snowflake import snowflake_stand_in
from tests.contracts.warehouses.sqlite import sqlite_file

ADAPTERS: list[Callable[[pytest.FixtureRequest], Adapter]] = [
    postgresql,
    mariadb,
    duckdb_file,
    duckdb_folder,
    bigquery_storage,
    bigquery_rest,
    snowflake_stand_in,
    redshift,
    sqlite_file,
    sqlalchemy_postgresql,
]
