"""Projects that an editor has open, and the editor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.cli.conftest import Folder, environment
from tests.lsp.editor import Editor

HEADER = "entity: person\nperson: {id: user_id}"


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """An editor with one server, which several projects are opened in."""
    started = Editor(tmp_path_factory.mktemp("editor"), environment())
    yield started
    try:
        assert started.leave() == 0
    finally:
        started.close()


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """A project over a DuckDB file, with one sync, `customers`."""
    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.execute("CREATE TABLE orders (user_id INTEGER, total DECIMAL(9, 2), placed_at TIMESTAMP)")
        connection.execute('CREATE TABLE people (id INTEGER, "First name" VARCHAR)')
        connection.execute("CREATE SCHEMA crm; CREATE TABLE crm.accounts (account_id VARCHAR, owner INTEGER)")
        connection.execute("INSERT INTO orders VALUES (1, 5, now()::TIMESTAMP), (2, 7, now()::TIMESTAMP)")
    made = Folder(path=tmp_path)
    made.write("syncer.toml", f'[warehouses.default]\nurl = "duckdb:///{tmp_path}/shop.duckdb"\n')
    made.define("customers", "SELECT user_id, total FROM orders", HEADER)
    yield made
    if "editor" in request.fixturenames:
        request.getfixturevalue("editor").close_files(tmp_path)
