"""The real `syncer`, each command in a process of its own, forked from a server that has its modules loaded.

Python imports this module again in every such process: it imports nothing that only tests need, such as pytest.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_SECONDS = 120

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [
        # First, before DuckDB.
        "tests.cli.main_file",
        "tests.cli.forked",
        "sqlglot.dialects.duckdb",
        "sqlglot.dialects.postgres",
        "sqlalchemy.dialects.postgresql",
        "sqlalchemy.dialects.sqlite",
        "syncer.cli",
        "syncer.sync.runner",
        "syncer.starter",
        "connectors.bigquery.options",
        "connectors.customerio.store",
        "connectors.duckdb.warehouse",
        "connectors.mysql.options",
        "connectors.postgresql.store",
        "connectors.postgresql.warehouse",
        "connectors.redshift.options",
        "connectors.snowflake.options",
        "connectors.sqlalchemy.options",
        "connectors.sqlite.store",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it printed with `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was started."""

    process: ForkServerProcess
    out: Path
    err: Path

    def result(self) -> Result:
        """Wait for its end; no command may end by a defect."""
        self.process.join(_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError("the command hangs")
        result = Result(code=self.process.exitcode, out=self.out.read_text(), err=self.err.read_text())
        self.process.close()
        assert "Traceback" not in result.err, result.err
        assert "this is a defect of Syncer" not in result.err, result.err
        return result


def start(
    words: tuple[str, ...],
    *,
    folder: Path,
    environment: Mapping[str, str],
    out: Path,
    err: Path,
    file_limit: int = resource.RLIM_INFINITY,
    before: Callable[[], None] | None = None,
) -> Command:
    """Start `syncer` with these words in a working folder.

    Shapes:
        environment: all of it.
        out, err: files to which what it prints is added; the same one for both keeps the order.
        file_limit: in bytes, beyond which it can write no file.
        before: called in the process, in the working folder, before the command.
    """
    process = _processes.Process(target=_syncer, args=(words, folder, environment, out, err, file_limit, before))
    process.start()
    return Command(process=process, out=out, err=err)


def run(
    *words: str,
    folder: Path,
    environment: Mapping[str, str],
    in_one: bool = False,
    before: Callable[[], None] | None = None,
) -> Result:
    """Run `syncer` with these words to its end; *in_one* adds what it prints on stderr to the rest, in order."""
    with tempfile.TemporaryDirectory() as printed:
        out, err = Path(printed, "out"), Path(printed, "out" if in_one else "err")
        return start(words, folder=folder, environment=environment, out=out, err=err, before=before).result()


def _syncer(
    words: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    out: Path,
    err: Path,
    file_limit: int,
    before: Callable[[], None] | None,
) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if before is not None:
        before()
    sys.argv = ["syncer", *words]
    runpy.run_module("syncer", run_name="__main__", alter_sys=True)
