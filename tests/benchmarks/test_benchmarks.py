"""What the benchmarks measure with, and that all of them run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.benchmarks.measuring import costs, run
from tests.benchmarks.works import GROUPS

_ROOT = Path(__file__).parents[2]
_BUSY = "import time\nwhile time.process_time() < {seconds}: pass"
#: The clock of processor time goes by hundredths of a second, for each process.
_OFF = 0.08


def _busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_processor_time_counts_this_process_what_ended_below_it_and_what_lives() -> None:
    with costs() as cost:
        _busy(0.2)
        # The one that is waited for ends, and it has waited for the other.
        program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BUSY.format(seconds=0.3)!r}])"
        subprocess.run([sys.executable, "-c", program], check=True)
        living = subprocess.Popen(
            [sys.executable, "-c", f"{_BUSY.format(seconds=0.4)}\nprint(flush=True)\ninput()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert living.stdout is not None
        living.stdout.readline()
    living.communicate(b"\n")

    assert 0.9 - _OFF <= cost().cpu <= 0.9 + 0.2, "the start of Python in between counts too"


def test_processor_time_counts_what_a_server_does_for_a_connection_that_has_ended(postgres_url: str) -> None:
    work = "SELECT count(*) FROM generate_series(1, 1500000) AS i WHERE md5(i::text) < '8'"
    with costs() as ended, psycopg.connect(postgres_url) as connection:
        connection.execute(work)
    with psycopg.connect(postgres_url) as connection:
        # By the server's own clock, of this one process.
        statistics = f"/proc/{connection.info.backend_pid}/schedstat"
        before = int(Path(statistics).read_text().split()[0])
        with costs() as living:
            connection.execute(work)
        known = (int(Path(statistics).read_text().split()[0]) - before) / 1e9

    assert abs(living().cpu - known) <= _OFF
    assert 0.7 * known <= ended().cpu <= 1.5 * known


def test_memory_is_that_of_the_program_and_not_of_this_process(tmp_path: Path) -> None:
    held = bytearray(b"x" * 200_000_000)

    small = run(["-c", "pass"], folder=tmp_path, environment={})
    large = run(["-c", "b'x' * 100_000_000; import time; time.sleep(0.1)"], folder=tmp_path, environment={})

    assert len(held) > 0
    assert small.cost.peak_mb < 60
    assert 95 <= large.cost.peak_mb < 160


def test_what_a_program_wrote_last_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1:.*ZeroDivisionError"):
        run(["-c", "1 / 0"], folder=tmp_path, environment={})


@pytest.mark.early
def test_every_work_runs_on_few_rows() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json"]
    output = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]

    assert [line["work"] for line in lines] == [work for group in GROUPS for work in group.works]
    for line in lines:
        assert {"rows", "cpu_ratio", "wall_ratio", "peak_mb", "disk_mb", "target", "met"} <= set(line)
