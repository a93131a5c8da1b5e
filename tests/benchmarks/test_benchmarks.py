"""What the benchmarks measure with, and that all of them run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest

from tests.benchmarks.growth import drawn
from tests.benchmarks.measuring import Cost, costs, run
from tests.benchmarks.results import TARGETS, TITLES, Result, from_json, joined, line_of
from tests.benchmarks.works import GROUPS, LARGE

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

    assert 0.9 - _OFF <= cost().cpu <= 0.9 + 0.6, "the start of Python in between counts too"


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
    assert known / 2 <= ended().cpu <= 2 * known


def test_memory_is_that_of_the_program_and_not_of_this_process(tmp_path: Path) -> None:
    held = bytearray(b"x" * 200_000_000)

    small = run(["-c", "pass"], folder=tmp_path, settings={})
    large = run(["-c", "b'x' * 100_000_000; import time; time.sleep(0.1)"], folder=tmp_path, settings={})

    assert len(held) > 0
    assert small.cost.peak_mb < 60
    assert 95 <= large.cost.peak_mb < 160


def test_a_programs_own_time_is_told_from_that_of_others(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", _BUSY.format(seconds=0.4)])
    ran = run(["-c", _BUSY.format(seconds=0.6)], folder=tmp_path, settings={})
    busy.wait()

    assert 0.6 - _OFF <= ran.cost.own_cpu <= 0.6 + 0.3, "the start of Python counts too"
    assert ran.cost.cpu >= ran.cost.own_cpu - _OFF


def test_what_a_program_wrote_last_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1:.*ZeroDivisionError"):
        run(["-c", "1 / 0"], folder=tmp_path, settings={})


def _result(cpu: float, peak_mb: int) -> Result:
    read, change = Cost(seconds=1, cpu=2), Cost(seconds=1, cpu=4)
    cost = Cost(seconds=8, cpu=cpu, peak_mb=peak_mb, own_cpu=cpu / 2)
    return Result(work="every-row", rows=10, cost=cost, read=read, disk_mb=3, change=change, how="UPDATE")


def test_a_line_is_the_median_of_each_measure_and_says_which_targets_are_missed() -> None:
    line = line_of([_result(14, 310), _result(30, 280), _result(16, 320)])

    found = json.loads(line.as_json())
    assert (found["cpu_ratio"], found["bare_ratio"], found["peak_mb"]) == (8, pytest.approx(16 / 6, abs=1e-3), 310)
    assert (found["target"], found["met"], found["missed"]) == (9, False, ["peak_mb"])
    assert from_json(line.as_json()).as_text() == line.as_text()
    alone = [line_of([_result(cpu, peak_mb)]) for cpu, peak_mb in ((14, 310), (30, 280), (16, 320))]
    assert joined([*alone]) == [line]
    assert line.as_markdown(before=line_of([_result(40, 683)])) == (
        "| every row changed | 10 | 20 × CPU, 683 MB | 8.00 × CPU, 310 MB | 4.00 × | 3.0 × "
        "| 9 × CPU, 300 MB: **not met** |"
    )


def test_every_work_has_targets_and_a_title() -> None:
    assert {work for group in (*GROUPS, LARGE) for work in group.works} == set(TARGETS) == set(TITLES)


def test_growth_is_drawn_with_a_point_for_each_work_and_count_of_rows() -> None:
    measured = [
        {"work": work, "rows": rows, "seconds": rows / 1e5, "read_seconds": rows / 1e6, "peak_mb": 200 + rows / 1e5}
        for work in ("first-load", "unchanged", "one-percent")
        for rows in (100_000, 1_000_000)
    ]

    picture = ElementTree.fromstring(drawn(measured))

    assert len(picture.findall("{*}circle")) == 2 * (4 + 3)
    assert {"1 % changed", "a bare COPY", "0.1 M"} <= {text.text for text in picture.findall("{*}text")}


@pytest.mark.early
@pytest.mark.timeout(900)
def test_every_work_runs_on_few_rows() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json"]
    output = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    found = [json.loads(line) for line in output.splitlines()]

    assert [line["work"] for line in found] == [work for group in GROUPS for work in group.works]
    for line in found:
        assert {"rows", "cpu_ratio", "wall_ratio", "peak_mb", "disk_mb", "target", "met"} <= set(line)
