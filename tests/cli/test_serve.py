"""`syncer serve` as a process: how it starts, follows its folder, ends at signals, and begins again after a crash."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import MANY_ROWS, Folder
from tests.cli.forked import Running
from tests.cli.watching import (
    ENDLESS,
    SECONDS,
    is_busy,
    is_running,
    store_locked,
    stored_people,
    wait_until,
)

PERSON = "entity: person\nperson: {id: id}"
MANUAL = f"{PERSON}\nschedule: manual"


@contextmanager
def served(folder: Folder, *options: str, **variables: str) -> Iterator[tuple[Running, str]]:
    """A service whose page answers, and its address."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with folder.started("serve", "--port", str(port), *options, **variables) as process:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()
            try:
                return httpx2.get(f"{address}/livez").is_success
            except httpx2.TransportError:
                return False

        wait_until(answers)
        yield process, address


def runs(folder: Folder, sync: str) -> list[dict[str, Any]]:
    """The runs of a sync, oldest first."""
    with closing(sqlite3.connect(folder.path / ".syncer/runs.db")) as log:
        log.row_factory = sqlite3.Row
        found = log.execute("SELECT * FROM syncer_runs WHERE sync = ? ORDER BY id", [sync]).fetchall()
    return [dict(run) for run in found]


def statuses(folder: Folder, sync: str) -> list[str]:
    return [run["status"] for run in runs(folder, sync)]


def phase(address: str, sync: str) -> str | None:
    """How far the newest run of a sync is; None where none goes on."""
    found = httpx2.get(f"{address}/api/v1/runs", params={"sync": sync}).json()["items"]
    return found[0]["progress"]["phase"] if found and found[0]["progress"] else None


def ended(process: Running) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err, err
    return process.wait(), out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_runs_what_is_due_and_ends_at_a_signal(folder: Folder, number: signal.Signals) -> None:
    with served(folder) as (process, _):
        wait_until(lambda: statuses(folder, "customers") == ["success"])
        process.send_signal(number)
        code, _, _ = ended(process)

    assert code == 128 + number
    (run,) = runs(folder, "customers")
    assert (run["trigger"], run["term"], run["added"]) == ("schedule", 1, 3)


def test_a_query_that_goes_on_is_cut_off_at_a_signal(folder: Folder) -> None:
    folder.define("endless", ENDLESS)

    with served(folder) as (process, _):
        wait_until(lambda: is_running(folder, "endless") and is_busy(process))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _, _ = ended(process)

    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - began < 20
    (run,) = runs(folder, "endless")
    assert (run["status"], run["error"]) == ("interrupted", "the service was stopped")


def test_a_run_that_sends_finishes_its_batch_at_a_signal_and_goes_on_at_the_next_start(sending: Folder) -> None:
    with served(sending) as (process, address):
        with store_locked(sending):
            wait_until(lambda: phase(address, "many") == "send")
            process.send_signal(signal.SIGTERM)
            while "stopping" not in process.stderr.readline():
                pass
        code, _, _ = ended(process)

    assert code == 128 + signal.SIGTERM
    (run,) = runs(sending, "many")
    assert (run["status"], 0 < run["accepted"] < MANY_ROWS) == ("interrupted", True)
    assert stored_people(sending) == 3 + run["accepted"]

    with served(sending):
        wait_until(lambda: statuses(sending, "many") == ["interrupted", "success"])

    assert runs(sending, "many")[1]["unchanged"] == run["accepted"]
    assert stored_people(sending) == 3 + MANY_ROWS


def test_the_second_signal_ends_a_service_at_once(sending: Folder) -> None:
    with served(sending) as (process, address), store_locked(sending):
        wait_until(lambda: phase(address, "many") == "send")
        process.send_signal(signal.SIGTERM)
        while "stopping" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        code, _, _ = ended(process)

    assert code == 128 + signal.SIGTERM
    assert statuses(sending, "many") == ["running"]


def test_after_a_crash_what_was_left_open_is_interrupted_and_run_again(sending: Folder) -> None:
    with served(sending) as (process, address), store_locked(sending):
        wait_until(lambda: phase(address, "many") == "send")
        process.kill()
        process.wait()

    with served(sending):
        wait_until(lambda: statuses(sending, "many") == ["interrupted", "success"])

    first, second = runs(sending, "many")
    assert (first["due_at"] is not None, second["due_at"], second["term"]) == (True, None, first["term"] + 1)
    assert "this run makes up for the one before, which was interrupted" in json.loads(second["notes"])
    assert stored_people(sending) == 3 + MANY_ROWS


def test_files_that_change_are_followed(folder: Folder) -> None:
    with served(folder):
        wait_until(lambda: statuses(folder, "customers") == ["success"])
        folder.define("later", "SELECT id, plan FROM people")
        wait_until(lambda: statuses(folder, "later") == ["success"])


def test_a_command_by_hand_goes_on_beside_a_service(folder: Folder) -> None:
    folder.define("by_hand", "SELECT id, plan FROM people", MANUAL)
    folder.define("endless", ENDLESS)
    with served(folder):
        assert folder.syncer("run", "by_hand").code == 0
        wait_until(lambda: is_running(folder, "endless"))
        assert folder.syncer("run", "endless").code == 4


def test_a_port_that_is_taken_is_reported(folder: Folder) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = folder.syncer("serve", "--port", str(port))

    assert refused.code == 2
    assert f"the page cannot listen on 127.0.0.1 port {port}: " in refused.err
    assert "SYNCER_WEB__PORT" in refused.err


def test_a_folder_of_definitions_that_is_missing_is_reported(folder: Folder) -> None:
    refused = folder.syncer("serve", "--port", "0", env={"SYNCER_DEFINITIONS_DIR": "missing"})

    assert refused.code == 2
    assert "there is no folder of sync definitions at missing" in refused.err
    assert "syncer init" in refused.err


def test_what_a_cluster_sets_for_services_is_named_once(folder: Folder) -> None:
    variables = {"SYNCER_WEB_SERVICE_HOST": "10.0.0.1", "SYNCER_WEB_PORT": "tcp://10.0.0.1:80"}

    with served(folder, **variables) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 143
    assert err.count("SYNCER_WEB_PORT, SYNCER_WEB_SERVICE_HOST") == 1
