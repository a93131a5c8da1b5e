"""A working folder in which the real `syncer` is run as a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncer.starter import write_starter
from tests.cli import forked
from tests.cli.forked import Result, Running

REPOSITORY = Path(__file__).parents[2]

#: More than two of the store's batches.
MANY_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A working folder."""

    path: Path

    def syncer(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run a command to its end."""
        return forked.run(*arguments, folder=self.path, environment=environment(env))

    def started(self, *arguments: str, **variables: str) -> Running:
        """A command that runs on; it is killed at the end if it is still there."""
        return forked.running(*arguments, folder=self.path, environment=environment(variables))

    def command(self, *arguments: str) -> list[str]:
        """The words that start `syncer`."""
        return [sys.executable, "-W", "error", "-m", "syncer", *arguments]

    def write(self, name: str, text: str) -> Path:
        """Write a file below the folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def define(self, name: str, sql: str, header: str = "entity: person\nperson: {id: id}") -> Path:
        """Write a sync definition."""
        return self.write(f"sync_definitions/{name}.sql", f"/* sync\n{header}\n*/\n{sql}\n")

    def people(self, rows: Mapping[str, str], name: str = "people") -> None:
        """Make a table of the warehouse, with a `plan` for each `id`."""
        lines = ["id,plan", *(f"{id_},{plan}" for id_, plan in rows.items())]
        self.write(f"sync_definitions/sample_data/{name}.csv", "\n".join(lines) + "\n")


def environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a command: the tests' own checkout, and nothing of who runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "LC_ALL": "C.UTF-8", **(added or {})}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with one sync, `customers`, over a table of three people."""
    made = Folder(path=tmp_path)
    made.people({"1": "free", "2": "pro", "3": "free"})
    made.define("customers", "SELECT id, plan FROM people")
    return made


@pytest.fixture
def sending(folder: Folder) -> Folder:
    """A folder whose store exists, and a sync, `many`, of several batches."""
    assert folder.syncer("run", "customers").code == 0
    folder.define(
        "many",
        f"SELECT 'p' || range AS id, md5(range::VARCHAR) || md5(range::VARCHAR || 'x') AS plan FROM range({MANY_ROWS})",
    )
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Folder:
    """A folder with the starter project."""
    write_starter(tmp_path)
    return Folder(path=tmp_path)
