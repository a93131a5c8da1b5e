"""The benchmark of the warehouses runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.warehouses import CANDIDATES
from tests.benchmarks.warehouses.__main__ import measure, resolved


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.filterwarnings("ignore:Retrieving Arrow:PendingDeprecationWarning")
def test_each_candidate_is_read_by_its_driver_and_by_us(name: str) -> None:
    with resolved(name).serve(1000) as url:
        bare, ours = (measure(name, url, is_bare=is_bare) for is_bare in (True, False))

    assert bare.seconds > 0
    assert ours.seconds > 0


def test_a_candidate_has_a_row() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.warehouses", "--rows", "1000", "--rounds", "1", "SQLite"]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)

    assert [line.split()[0] for line in run.stdout.splitlines()] == ["warehouse", "SQLite"]
