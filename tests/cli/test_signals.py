from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.cli.conftest import MANY_ROWS, Folder, environment
from tests.cli.watching import (
    ENDLESS,
    SECONDS,
    bytes_of,
    is_busy,
    is_running,
    store_locked,
    stored_people,
    wait_for_batch,
    wait_until,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_whose_query_goes_on_ends_at_once(folder: Folder, number: signal.Signals) -> None:
    folder.define("an_endless_one", ENDLESS)

    with folder.started("run", "an_endless_one", "customers", "--json") as process:
        wait_until(lambda: is_running(folder, "an_endless_one") and is_busy(process))
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    (run,) = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 128 + number
    assert err == "interrupted: an_endless_one: stopped by a signal\n"
    assert (run["sync"], run["status"]) == ("an_endless_one", "interrupted")
    (logged,) = folder.syncer("runs", "--json").objects
    assert (logged["run_id"], logged["status"]) == (run["run_id"], "interrupted")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_plan_ends_at_once(folder: Folder, number: signal.Signals) -> None:
    folder.define("endless", ENDLESS)
    state = folder.path / ".syncer/runs.db"

    with folder.started("plan", "endless") as process:
        wait_until(state.exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    assert (process.returncode, out, err) == (128 + number, "", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_sends_ends_after_the_batch_in_hand(sending: Folder, number: signal.Signals) -> None:
    before = bytes_of(sending.path / ".syncer/snapshots")
    with sending.started("run", "many", "customers", "--json") as process:
        with store_locked(sending):
            wait_for_batch(sending, before=before)
            process.send_signal(number)
            message = process.stderr.readline()
        out, _ = process.communicate(timeout=SECONDS)
    after_signal = stored_people(sending)
    (again,) = sending.syncer("run", "many", "--json").objects

    runs = {run["sync"]: run for run in map(json.loads, out.splitlines())}
    assert message == "stopping after the batch in hand; a second signal ends at once\n"
    assert process.returncode == 128 + number
    assert runs["many"]["status"] == "interrupted"
    assert 0 < runs["many"]["accepted"] == after_signal - 3 < MANY_ROWS
    assert again["status"] == "success"
    assert again["unchanged"] >= runs["many"]["accepted"]
    assert stored_people(sending) == MANY_ROWS + 3


def test_a_second_signal_ends_a_run_that_sends(sending: Folder) -> None:
    before = bytes_of(sending.path / ".syncer/snapshots")
    with store_locked(sending), sending.started("run", "many") as process:
        wait_for_batch(sending, before=before)
        process.send_signal(signal.SIGTERM)
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=SECONDS)
    (again,) = sending.syncer("run", "many", "--json").objects

    assert code == 143
    assert again["accepted"] == MANY_ROWS
    assert stored_people(sending) == MANY_ROWS + 3


def test_a_signal_that_the_caller_ignores_stays_ignored(folder: Folder) -> None:
    folder.define("an_endless_one", ENDLESS)
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *folder.command("run", "an_endless_one")]

    with subprocess.Popen(ignoring, cwd=folder.path, env=environment()) as process:
        wait_until(lambda: is_running(folder, "an_endless_one"))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=SECONDS)

    assert code == 143
