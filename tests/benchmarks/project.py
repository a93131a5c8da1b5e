"""A project in a folder of its own, whose syncs run as whole processes of `syncer run`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import measuring
from tests.benchmarks.measuring import Cost, Program, megabytes_below
from tests.benchmarks.people import DEFINITION, write_definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run of one sync."""

    cost: Cost
    #: Of the state folder, after the run.
    disk_mb: float
    #: By how much all in the state folder grew that is no snapshot of the sync.
    run_log_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Definitions, their state, and where they read and write."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / ".syncer"

    @property
    def store(self) -> str:
        """The URL of the store."""
        return self.settings["SYNCER_STORES__DEFAULT__URL"]

    def define(self, text: str = DEFINITION, name: str = "customers") -> None:
        """Write a definition, or write it anew."""
        write_definition(self.folder / "sync_definitions", text, name)

    def command(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Program:
        """Run the command line in a process of its own, with *settings* beside the project's; raises RuntimeError."""
        return measuring.run(
            ["-m", "syncer", *arguments], folder=self.folder, settings={**self.settings, **(settings or {})}
        )

    def run(self, sync: str = "customers", /, **expected: int) -> Ran:
        """Run one sync, whose counts must be as *expected*."""
        before = self._run_log_megabytes(sync)
        ran = self.command("run", sync, "--json")
        counts = json.loads(ran.output)
        found = {name: counts[name] for name in expected}
        assert found == expected, f"{sync}: expected {expected}, found {found}"
        grown = self._run_log_megabytes(sync) - before
        return Ran(cost=ran.cost, disk_mb=megabytes_below(self.state), run_log_mb=grown)

    def _run_log_megabytes(self, sync: str) -> float:
        snapshots = [
            path for path in self.state.rglob("*") if path.is_file() and path.name.startswith(f"{sync}.duckdb")
        ]
        return megabytes_below(self.state) - sum(path.stat().st_size for path in snapshots) / 1e6


@contextmanager
def new_project(warehouse: str, store: str = "") -> Iterator[Project]:
    """A project that is gone afterwards; its store is *store*, or a new SQLite file."""
    with tempfile.TemporaryDirectory(prefix="syncer-benchmark-") as folder:
        settings = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": warehouse,
            "SYNCER_STORES__DEFAULT__URL": store or f"sqlite:///{folder}/store.db",
        }
        yield Project(folder=Path(folder), settings=settings)
