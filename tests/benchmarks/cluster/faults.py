"""What befalls services and workers: they are killed and come back, and they stand still for a while."""

from __future__ import annotations

import enum
import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.benchmarks.cluster.machines import Machine, Machines

#: Seconds between the end of one fault and the next, of workers and of services.
PAUSES = {"workers": (2.0, 10.0), "services": (6.0, 20.0)}

#: Seconds that a worker is waited for which is to be hit in the middle of a run.
_AIMED_SECONDS = 6.0


class Kind(enum.StrEnum):
    """A kind of fault; its value is for people."""

    KILL = "killed"
    #: For less time than after which others count it as dead.
    SHORT_STOP = "stopped for 1 to 8 s"
    #: For more.
    LONG_STOP = "stopped for 12 to 18 s"


_SECONDS = {Kind.KILL: (0.2, 4.0), Kind.SHORT_STOP: (1.0, 8.0), Kind.LONG_STOP: (12.0, 18.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, and what it hit."""

    kind: Kind
    machine: str
    #: Aware UTC.
    at: datetime
    #: The syncs that a worker was running.
    syncs: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Faults:
    """Faults of the same seed, one after the other of workers, and beside them one after the other of services.

    So one worker and one service are away at the same time, at most.
    """

    machines: Machines
    seed: int
    #: By how much pauses are shorter.
    haste: float = 1.0
    done: list[Fault] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, stopped: threading.Event) -> None:
        """Let them come until told to stop."""
        for group in PAUSES:
            thread = threading.Thread(target=self._come, args=(group, stopped), name=group, daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Wait until all machines are there again."""
        for thread in self._threads:
            thread.join()

    def _come(self, group: str, stopped: threading.Event) -> None:
        choice = random.Random(f"{self.seed} {group}")
        victims = self.machines.workers if group == "workers" else self.machines.services
        while not stopped.wait(choice.uniform(*PAUSES[group]) / self.haste):
            kind, victim = (
                choice.choice([Kind.KILL, Kind.KILL, Kind.SHORT_STOP, Kind.LONG_STOP]),
                choice.choice(victims),
            )
            seconds, aims, anew = choice.uniform(*_SECONDS[kind]), choice.random() < 0.7, choice.random() < 0.25
            if group == "workers" and aims:
                self._wait_for_run(victim)
            self._strike(victim, kind, seconds, anew=anew and group == "workers")

    def _wait_for_run(self, worker: Machine) -> None:
        deadline = time.monotonic() + _AIMED_SECONDS
        while time.monotonic() < deadline and not self.machines.held(worker):
            time.sleep(0.1)

    def _strike(self, victim: Machine, kind: Kind, seconds: float, *, anew: bool) -> None:
        at = datetime.now(UTC)
        if kind is Kind.KILL:
            victim.kill()
        else:
            victim.send(signal.SIGSTOP)
        # It changes nothing any more.
        syncs = self.machines.held(victim) if victim in self.machines.workers else []
        self.done.append(Fault(kind=kind, machine=victim.name, at=at, syncs=syncs))
        time.sleep(seconds)
        if kind is Kind.KILL:
            victim.start(anew=anew)
        else:
            victim.send(signal.SIGCONT)
