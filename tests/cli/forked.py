"""The real `syncer`, each command in a process of its own, forked from a server that has its modules loaded.

Python imports this module again in every such process: it imports nothing that only tests need, such as pytest.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TextIO

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
        # Of an upgrade, also by a user who cannot read the environment.
        "pyarrow.parquet",
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
        "tests.cli.warm",
        # What a service needs.
        "syncer.alerts.ping",
        "syncer.definitions.folder",
        "syncer.observability.logs",
        "syncer.service.process",
        "syncer.sync.retention",
        "syncer.web.app",
        "uvicorn.lifespan.off",
        "uvicorn.protocols.http.httptools_impl",
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


class Running:
    """A command that runs on, as `subprocess.Popen` has it; killed at the end of a `with` if it is still there."""

    def __init__(self, process: ForkServerProcess, stdout: TextIO, stderr: TextIO) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._process = process

    def poll(self) -> int | None:
        """How it ended; None while it goes on."""
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float = _SECONDS) -> int:
        """Wait for its end; raises TimeoutExpired."""
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("syncer", timeout)
        return code

    def communicate(self, timeout: float = _SECONDS) -> tuple[str, str]:
        """Wait for its end; returns what it has printed that nobody has read; raises TimeoutExpired."""
        with ThreadPoolExecutor(2) as readers:
            out, err = readers.submit(self.stdout.read), readers.submit(self.stderr.read)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                # A reader waits for the end.
                self.kill()
                raise
        self.stdout.close()
        self.stderr.close()
        return out.result(), err.result()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.poll() is None:
            # Its end may not be known here yet.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self._process.close()
        self.stdout.close()
        self.stderr.close()


def running(
    *words: str, folder: Path, environment: Mapping[str, str], module: str = "syncer", log: Path | None = None
) -> Running:
    """Start a command that runs on, in which no warning may arise.

    Shapes:
        environment: all of it.
        module: a Python module that is run as a program.
        log: a file to which all that it prints is added; otherwise it goes to `stdout` and `stderr`.
    """
    (out, printed), (err, reported) = (_processes.Pipe(duplex=False) for _ in range(2))
    targets = (log, log) if log else (printed, reported)
    process = _processes.Process(
        target=_run, args=(module, words, folder, environment, *targets), kwargs={"no_warning": True}
    )
    process.start()
    printed.close()
    reported.close()
    streams = [os.fdopen(os.dup(pipe.fileno()), encoding="utf-8") for pipe in (out, err)]
    out.close()
    err.close()
    return Running(process, *streams)


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
    process = _processes.Process(
        target=_run,
        args=("syncer", words, folder, environment, out, err),
        kwargs={"file_limit": file_limit, "before": before},
    )
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


def _run(
    module: str,
    words: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    out: Path | Connection,
    err: Path | Connection,
    *,
    file_limit: int = resource.RLIM_INFINITY,
    before: Callable[[], None] | None = None,
    no_warning: bool = False,
) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, target in ((1, out), (2, err)):
        if isinstance(target, Path):
            os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        else:
            os.dup2(target.fileno(), number)
            target.close()
    # Those of the server know what was there before.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    if no_warning:
        warnings.simplefilter("error")
        # It says that the program's modules are loaded.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    if before is not None:
        before()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
