"""Looks into a snapshot beside its runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from syncer.model.errors import RunInProgressError, StoreError
from syncer.model.types import ValueForm
from syncer.snapshot.rows import KnownRows, reading_snapshots
from tests.workbench import Workbench, table

#: Opens a snapshot, says so, and keeps it until its input ends.
_HOLDING = "import duckdb, sys; kept = duckdb.connect({path!r}, read_only={read_only}); print('open', flush=True)\n"
_HOLDING += "sys.stdin.readline()"


def look(bench: Workbench, key: str) -> KnownRows | None:
    with reading_snapshots(form=ValueForm.EXACT, most=10) as reader:
        return reader.find(bench.folder / "customers.duckdb", lambda target: [{"k1": key}])


def holding(bench: Workbench, *, read_only: bool) -> subprocess.Popen[str]:
    code = _HOLDING.format(path=str(bench.folder / "customers.duckdb"), read_only=read_only)
    held = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "open\n"
    return held


def test_what_a_run_that_died_left_open_is_in_doubt(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.run(table({"id": ["1", "2"], "a": ["x", "x"]}))
    bench.store.strikes_at, bench.store.fault = 0, "after"
    with pytest.raises(StoreError):
        bench.run(table({"id": ["1", "2"], "a": ["x", "y"]}))

    one, two = look(bench, "1"), look(bench, "2")

    assert one is not None
    assert two is not None
    assert [(row.accepted, row.in_doubt) for row in one.rows] == [({"a": '"x"'}, False)]
    assert [(row.accepted, row.in_doubt) for row in two.rows] == [({"a": '"x"'}, True)]


def test_a_run_waits_for_another_process_that_looks_and_is_left_alone_itself(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.run(table({"id": ["1"], "a": ["x"]}))

    reader = holding(bench, read_only=True)
    assert look(bench, "1") is not None
    ending = threading.Timer(0.3, reader.terminate)
    ending.start()
    assert bench.run(table({"id": ["1"], "a": ["x"]})).counts.unchanged == 1
    reader.communicate()

    writer = holding(bench, read_only=False)
    with pytest.raises(RunInProgressError):
        look(bench, "1")
    writer.communicate("\n")
