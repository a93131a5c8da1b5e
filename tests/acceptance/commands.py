"""The real `syncer` in a working folder: each command is a process of its own, forked where its modules are loaded."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import runpy
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_SECONDS = 120

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [
        # First, before DuckDB.
        "tests.acceptance.main_file",
        "sqlglot",
        "syncer.cli",
        "syncer.sync.runner",
        "connectors.postgresql.store",
        "connectors.sqlite.store",
        "connectors.duckdb.warehouse",
        "connectors.postgresql.warehouse",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it printed with `--json`, numbers with a fraction as the texts that they are written in."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was started."""

    process: ForkServerProcess
    out: Path
    err: Path

    def ended(self) -> Ended:
        """Wait for its end."""
        self.process.join(_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError("the command hangs")
        said = Ended(code=self.process.exitcode, out=self.out.read_text(), err=self.err.read_text())
        self.process.close()
        assert "Traceback" not in said.err, said.err
        assert "defect" not in said.err, said.err
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A working folder with sync definitions."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    #: The size in bytes beyond which a command can write no file.
    file_limit: int = resource.RLIM_INFINITY
    #: Every command so far: its words, and the files of what it printed.
    commands: list[tuple[tuple[str, ...], Path, Path]] = field(default_factory=list)

    def define(self, name: str, header: str, sql: str) -> Path:
        """Write a definition; the header's first line is line 2 of the file."""
        return self.write(f"sync_definitions/{name}.sql", f"/* sync\n{header.strip()}\n*/\n{sql.strip()}\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def table(self, name: str, *lines: str) -> None:
        """Write a CSV file that is a table of the default warehouse; the first line is its columns."""
        self.write(f"sync_definitions/sample_data/{name}.csv", "".join(f"{line}\n" for line in lines))

    def syncer(self, *words: str) -> Ended:
        """Run a command to its end."""
        return self.started(*words).ended()

    def started(self, *words: str) -> Command:
        """Start a command."""
        printed = self.path / "printed"
        printed.mkdir(exist_ok=True)
        out, err = (printed / f"{len(self.commands)}.{stream}" for stream in ("out", "err"))
        self.commands.append((words, out, err))
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | self.environment
        process = _processes.Process(target=_syncer, args=(self.path, words, environment, out, err, self.file_limit))
        process.start()
        return Command(process=process, out=out, err=err)

    def told(self) -> str:
        """All that commands printed, but for those that show rows, and all that the run log says of runs."""
        texts = [path.read_text() for words, *paths in self.commands if words[0] not in _SHOW_ROWS for path in paths]
        log = self.path / ".syncer" / "runs.db"
        if log.exists():
            with closing(sqlite3.connect(log)) as connection:
                texts += map(str, connection.execute("SELECT * FROM syncer_runs"))
                texts += map(str, connection.execute("SELECT reason FROM syncer_rejections"))
        return "\n".join(texts)


#: Commands whose output is rows or their keys.
_SHOW_ROWS = ("plan", "rejected", "show")


def _syncer(
    folder: Path, words: tuple[str, ...], environment: Mapping[str, str], out: Path, err: Path, file_limit: int
) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["syncer", *words]
    runpy.run_module("syncer", run_name="__main__", alter_sys=True)
