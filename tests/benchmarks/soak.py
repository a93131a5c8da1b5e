"""Fifty syncs every minute in one process of `syncer serve`: is a tick lost, does memory grow?

`python -m tests.benchmarks.soak`, ten minutes by default. Each sync has a table of its own, of which rows change every
minute; at the end the store must equal the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The process at one moment."""

    #: Since it started.
    seconds: float
    megabytes: float
    open_files: int
    threads: int


def main() -> None:
    """Run, watch, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--syncs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncer-soak-") as name:
        folder = Path(name)
        for number in range(options.syncs):
            _define(folder, number)
            _write(folder, number, options.rows, turn=0)
        samples = _watched(folder, options.syncs, options.rows, options.minutes)
        _tell(samples)
        _check_ticks(folder, options.syncs)
        _check_store(folder, options.syncs)


def _define(folder: Path, number: int) -> None:
    definitions = folder / "sync_definitions"
    definitions.mkdir(exist_ok=True)
    (definitions / f"sync_{number:02}.sql").write_text(
        "/* sync\nentity: object\n"
        f"object: {{type: kind_{number:02}, id: id}}\n"
        f"schedule: every 1 minute\non_removed: delete\n*/\nSELECT * FROM table_{number:02}\n"
    )


def _write(folder: Path, number: int, rows: int, turn: int) -> None:
    """Write a sync's table, in which another tenth of the rows has the newest value at each turn."""
    tables = folder / "sync_definitions/sample_data"
    tables.mkdir(exist_ok=True)
    lines = [f"{row},name {row},{turn if row % 10 == turn % 10 else 0},{row * 1.5}" for row in range(rows)]
    path = tables / f"table_{number:02}.csv"
    new = path.with_suffix(".new")
    new.write_text("\n".join(["id,name,turn,amount", *lines]) + "\n")
    new.rename(path)


def _watched(folder: Path, syncs: int, rows: int, minutes: float) -> list[Sample]:
    command = [sys.executable, "-m", "syncer", "serve", "--port", "0"]
    environment = {**os.environ, "SYNCER_JITTER": "6"}
    samples = []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            begun, turn, watched = time.monotonic(), 0, psutil.Process(process.pid)
            while (seconds := time.monotonic() - begun) < minutes * 60:
                if process.poll() is not None:
                    sys.exit(f"the service ended with {process.returncode}:\n{(folder / 'log').read_text()[-3000:]}")
                memory = watched.memory_info().rss / 1e6
                samples.append(
                    Sample(
                        seconds=seconds, megabytes=memory, open_files=watched.num_fds(), threads=watched.num_threads()
                    )
                )
                if seconds // 60 > turn:
                    turn += 1
                    for number in random.sample(range(syncs), syncs // 2):
                        _write(folder, number, rows, turn)
                time.sleep(2)
            # One more tick for what was written last.
            time.sleep(70)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
    return samples


def _tell(samples: list[Sample]) -> None:
    settled = [sample for sample in samples if sample.seconds > samples[-1].seconds / 3]
    slope = statistics.linear_regression([s.seconds / 60 for s in settled], [s.megabytes for s in settled]).slope
    print(
        f"memory: {settled[0].megabytes:.0f} MB after a third of the time, {settled[-1].megabytes:.0f} MB at the end,"
    )
    print(f"  {max(s.megabytes for s in samples):.0f} MB at the most; slope {slope:+.2f} MB a minute")
    print(f"open files: {settled[0].open_files} to {settled[-1].open_files}; threads: {settled[-1].threads}")


def _check_ticks(folder: Path, syncs: int) -> None:
    with closing(sqlite3.connect(folder / ".syncer/runs.db")) as connection:
        rows = connection.execute("SELECT sync, due_at, status, started_at FROM syncer_runs").fetchall()
    by_sync: dict[str, list[datetime]] = {}
    delays = []
    for sync, due_at, _, started_at in rows:
        if due_at is not None:
            due, started = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (due_at, started_at))
            by_sync.setdefault(sync, []).append(due)
            delays.append((started - due).total_seconds())
    lost = 0
    for ticks in by_sync.values():
        expected = (max(ticks) - min(ticks)) // MINUTE + 1
        lost += expected - len(set(ticks))
    statuses = {status: sum(row[2] == status for row in rows) for status in {row[2] for row in rows}}
    print(f"runs: {len(rows):,} of {len(by_sync)} syncs, {json.dumps(statuses)}")
    print(
        f"ticks lost: {lost}; from tick to start: median {statistics.median(delays):.1f} s, at most {max(delays):.1f} s"
    )
    assert len(by_sync) == syncs, "a sync never ran"
    assert lost == 0, "a tick was lost"


def _check_store(folder: Path, syncs: int) -> None:
    with closing(sqlite3.connect(folder / ".syncer/profiles.db")) as connection:
        held = {
            (kind, object_id): json.loads(attributes)["turn"]
            for kind, object_id, attributes in connection.execute(
                "SELECT object_type, object_id, attributes FROM objects"
            )
        }
    expected = {}
    for number in range(syncs):
        path = folder / f"sync_definitions/sample_data/table_{number:02}.csv"
        for line in path.read_text().splitlines()[1:]:
            id_, _, turn, _ = line.split(",")
            expected[f"kind_{number:02}", id_] = int(turn)
    assert held == expected, "the store is not what the queries say"
    print(f"the store equals the queries: {len(held):,} objects")


if __name__ == "__main__":
    main()
