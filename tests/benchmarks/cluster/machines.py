"""Services and workers, each a process with a state folder of its own, as on a machine of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.benchmarks.measuring import environment


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Ask until it is so; raises RuntimeError, which says *what* did not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.2)


#: Of the project, where the services find what makes syncs due so often.
_ROOT = Path(__file__).parents[3]


@dataclass(slots=True, kw_only=True)
class Machine:
    """One of them; its process may be another one later."""

    name: str
    #: Behind `python -m`.
    words: Sequence[str]
    folder: Path
    settings: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What its processes printed."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_up(self) -> bool:
        """Whether its process is there, also one that stands still."""
        return self.process is not None and self.process.poll() is None

    def start(self, *, anew: bool = False) -> None:
        """Start its process; *anew*: without anything in the state folder, as on another machine."""
        state = self.folder / self.name
        if anew:
            shutil.rmtree(state, ignore_errors=True)
        settings = {**self.settings, "SYNCER_STATE_DIR": str(state)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.words],
                cwd=self.folder,
                env=environment(settings) | {"PYTHONPATH": str(_ROOT)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it at once; it has ended when this returns."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal, if it is there."""
        if self.is_up:
            os.kill(self.pid, number)

    def end(self) -> int:
        """Ask it to end, and wait; returns how it ended."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """All of them."""

    run_log: str
    services: Sequence[Machine]
    workers: Sequence[Machine]

    @property
    def all(self) -> Sequence[Machine]:
        """The services first."""
        return [*self.services, *self.workers]

    def held(self, worker: Machine) -> list[str]:
        """The syncs that a worker runs now, by its leases."""
        pattern = f"{socket.gethostname()}-{worker.pid}-%"
        with psycopg.connect(self.run_log) as connection:
            found = connection.execute("SELECT sync FROM syncer_leases WHERE worker LIKE %s ORDER BY sync", [pattern])
            return [sync for (sync,) in found]

    def workers_ready(self) -> bool:
        """Whether each worker has said so once."""
        return all(one.log.exists() and b"ready " in one.log.read_bytes() for one in self.workers)


@contextmanager
def started(machines: Machines) -> Iterator[Machines]:
    """Start all of them; those that are there at the end are killed."""
    with ExitStack() as stack:
        for machine in machines.all:
            stack.callback(machine.kill)
            machine.start()
        yield machines
