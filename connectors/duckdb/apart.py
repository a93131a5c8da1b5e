"""A query in a process of its own, which has a limit of memory and can be ended at any moment."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

import pyarrow as pa

from connectors.duckdb.folder import TYPES
from syncer.model.errors import WarehouseError
from syncer.model.temporary_folders import TemporaryFolder
from syncer.model.types import Column

#: Megabytes that the process may have, with the 2 GB that DuckDB may take.
MOST_MEGABYTES = 3072

#: What a new interpreter runs; modules are found where they are here.
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from connectors.duckdb import apart, warehouse
apart.serve(warehouse.DuckDBWarehouse)
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the process is to do. *sql* is described where there is no *timeout*."""

    name: str
    url: str
    sql: str
    timeout: timedelta | None = None
    #: As `connectors.duckdb.folder` remembers them.
    types: dict[Any, Any]
    #: Bytes that DuckDB may use.
    memory: int


class Apart:
    """The process, as the one that waits for it sees it. The calls block; `end` may be called from any thread."""

    def __init__(self, task: Task, *, folder: TemporaryFolder) -> None:
        """Start it; *folder* is for what it writes, and in use until both processes have ended."""
        self._label = f"warehouse `{task.name}`"
        command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": str(folder.path)},
            pass_fds=[] if folder.descriptor is None else [folder.descriptor],
            # A signal from the terminal is for the other process, which ends this one.
            start_new_session=True,
        )
        self._batches: Iterator[pa.RecordBatch] = iter(())
        with suppress(OSError):
            pickle.dump(task, self._pipe(self._process.stdin))
            self._pipe(self._process.stdin).flush()

    def columns(self) -> tuple[Column, ...]:
        """What it described."""
        return tuple(Column(**column) for column in self._answer()["columns"])

    def schema(self) -> pa.Schema:
        """Of the result, whose batches `next` gives."""
        self._answer()
        try:
            reader = pa.ipc.open_stream(self._pipe(self._process.stdout))
        except (pa.ArrowException, OSError, ValueError):
            raise self._died() from None
        self._batches = iter(reader)
        return reader.schema

    def next(self) -> pa.RecordBatch | None:
        """The next batch; None after the last one.

        Raises:
            WarehouseError: the query failed, or the process ended.
        """
        try:
            batch = next(self._batches, None)
        except (pa.ArrowException, OSError, ValueError):
            raise self._died() from None
        if batch is None:
            self._answer()
        return batch

    def end(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let go of its pipes, once it has ended and nobody reads them."""
        with suppress(OSError):
            self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()

    def _answer(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line.endswith(b"\n"):
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "message" in answer:
            message = answer.pop("message")
            raise WarehouseError(message, **answer)
        return answer

    def _died(self) -> WarehouseError:
        return WarehouseError(
            f"{self._label}: the process of the query ended, since it needed more than {MOST_MEGABYTES:,} MB of memory "
            "or was killed",
            hint="Let the query build smaller values: see `syncer docs duckdb`.",
        )

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def serve(opened: Callable[..., Any]) -> None:
    """Do the task that comes by stdin, and write what comes of it to stdout; ends when the other process does.

    *opened*: opens the warehouse.
    """
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory()
    TYPES.update(task.types)
    try:
        with closing(opened(task.name, task.url, is_apart=True, memory=task.memory)) as warehouse:
            if task.timeout is None:
                found = [{"name": one.name, "type": one.type} for one in warehouse.columns(task.sql)]
                _say(output, {"columns": found})
            else:
                reader = warehouse.query(task.sql, timeout=task.timeout)
                _say(output, {})
                with pa.ipc.new_stream(output, reader.schema) as writer:
                    for batch in reader:
                        writer.write_batch(batch)
                        output.flush()
                _say(output, {})
    except WarehouseError as exc:
        _say(output, vars(exc))


def _say(output: IO[bytes], answer: dict[str, Any]) -> None:
    output.write(json.dumps(answer).encode() + b"\n")
    output.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = MOST_MEGABYTES * 2**20
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, most))
