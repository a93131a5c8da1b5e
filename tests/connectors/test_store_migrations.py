"""How a database becomes a profile store, and an older store a newer one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from connectors import open_store
from connectors.sql_store import schema, store
from syncer.model.errors import StoreError
from syncer.model.types import Entity, Identity
from tests.contracts.batches import PEOPLE, apply, person, put

OPENING = """
import sys
from pathlib import Path
from connectors import open_store
from connectors.sql_store import store
from syncer.model.types import Identity
url, migrations, version = sys.argv[1:]
if migrations:
    from connectors.sql_store import schema
    schema.MIGRATIONS, store.SCHEMA_VERSION = Path(migrations), version
print("ready", flush=True)
sys.stdin.readline()
opened = open_store("default", url, identity=Identity.ID)
print(opened.store_id, *sorted(name for name in ("alembic", "sqlalchemy") if name in sys.modules))
"""

SECOND = """
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.add_column("objects", sa.Column("note", sa.Text))
    op.execute("{then}")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/people.db"
    return str(request.getfixturevalue("postgres_url"))


def made(url: str) -> str:
    """Make or open the store; returns its id."""
    opened = open_store("default", url, identity=Identity.ID)
    opened.close()
    return opened.store_id


def engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def opened_at_once(url: str, processes: int, migrations: str = "", version: str = "") -> list[str]:
    """What that many processes print that open the store at the same moment: its id, and what they imported."""
    command = [sys.executable, "-c", OPENING, url, migrations, version]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return answers


def structure(url: str) -> set[tuple[Any, ...]]:
    """Everything that makes up the tables, but for what the store's identity adds."""
    sqlite = [
        "SELECT name, replace(replace(sql, char(10), ''), char(9), '') FROM sqlite_master "
        "WHERE name NOT IN ('people_id', 'people_email') AND tbl_name <> 'workspace_version'"
    ]
    postgresql = [
        "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name, is_identity "
        "FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'workspace_version'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('workspace_version'), 0)",
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "AND indexname NOT IN ('people_id', 'people_email') AND tablename <> 'workspace_version'",
        "SELECT relname, reloptions::text FROM pg_class WHERE reloptions IS NOT NULL AND relkind = 'r'",
    ]
    with engine(url).connect() as connection:
        queries = sqlite if connection.dialect.name == "sqlite" else postgresql
        return {tuple(row) for query in queries for row in connection.execute(sa.text(query))}


def with_second(tmp_path: Path, then: str = "SELECT 1") -> str:
    """A folder of migrations with one more than there is."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_note.py").write_text(SECOND.replace("{then}", then))
    return str(folder)


def columns_of_objects(url: str) -> list[str]:
    return [column["name"] for column in sa.inspect(engine(url)).get_columns("objects")]


def test_the_migrations_make_the_declared_schema(url: str) -> None:
    made(url)
    migrated = structure(url)
    with engine(url).begin() as connection:
        schema.metadata.drop_all(connection)
        schema.metadata.create_all(connection)

    assert structure(url) == migrated


def test_the_newest_migration_is_the_version_that_stores_ask_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_current_head() == store.SCHEMA_VERSION


def test_processes_that_start_at_once_make_one_store(url: str) -> None:
    answers = opened_at_once(url, 3)

    assert {answer.split()[0] for answer in answers} == {made(url)}


def test_opening_a_store_that_is_up_to_date_does_not_import_alembic(url: str) -> None:
    store_id = made(url)

    assert opened_at_once(url, 1) == [store_id]


def test_processes_that_start_at_once_upgrade_an_older_store_once(url: str, tmp_path: Path) -> None:
    old = open_store("default", url, identity=Identity.ID)
    apply(old, PEOPLE, put("ann", attributes={"a": 1}))
    old.close()

    answers = opened_at_once(url, 3, with_second(tmp_path), "0002")

    assert {answer.split()[0] for answer in answers} == {old.store_id}
    assert columns_of_objects(url)[-1] == "note"


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_store("default", url, identity=Identity.ID)
    apply(old, PEOPLE, put("ann", attributes={"a": 1}))
    old.close()

    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", Path(with_second(tmp_path, "SELECT nonsense")))
        newer.setattr(store, "SCHEMA_VERSION", "0002")
        with pytest.raises(StoreError, match=r"store `default`: .*nonsense"):
            open_store("default", url, identity=Identity.ID)

    assert "note" not in columns_of_objects(url)
    again = open_store("default", url, identity=Identity.ID)
    assert person(again, "ann")["attributes"] == {"a": 1}
    again.close()


def test_a_store_of_a_newer_program_is_refused_and_left_alone(url: str) -> None:
    made(url)
    with engine(url).begin() as connection:
        connection.execute(sa.text("UPDATE workspace_version SET version_num = '0999'"))

    for _ in range(2):
        with pytest.raises(StoreError, match="made by a newer Syncer: its schema is 0999, this Syncer knows 0001") as e:
            made(url)
        assert "newer Syncer" in e.value.hint


def test_tables_of_another_program_are_left_alone(url: str) -> None:
    with engine(url).begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (name text)"))

    with pytest.raises(StoreError, match=r"people.* already exists") as raised:
        made(url)

    assert "SYNCER_STORES__DEFAULT__URL" in raised.value.hint
    assert sa.inspect(engine(url)).get_table_names() == ["people"]


def test_a_new_store_is_another_store(url: str) -> None:
    first = made(url)
    with engine(url).begin() as connection:
        connection.execute(sa.text("DROP TABLE workspace_version"))
        schema.metadata.drop_all(connection)

    assert made(url) != first
    opened = open_store("default", url, identity=Identity.ID)
    assert opened.show(Entity.PERSON, "id", "ann") is None
    opened.close()
