"""A run as it goes on."""

from __future__ import annotations

import gc
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import AsyncGeneratorType
from typing import Any

import httpx2
import pytest

from tests.web.conftest import ENDLESS, Served, Site, wait_for_phase, wait_until

#: More than one of the store's batches.
MANY = "SELECT 'p' || range AS id, md5(range::VARCHAR) AS plan FROM range(25000)"

#: Read for a second or more.
LONG = "SELECT 'p' || range AS id, md5(range::VARCHAR) AS plan FROM range(2000000)"


def heard(answer: httpx2.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream, each with its data."""
    event = ""
    for line in answer.iter_lines():
        name, _, text = line.partition(": ")
        if name == "event":
            event = text
        elif name == "data":
            yield event, json.loads(text)


def listening() -> int:
    """How many streams the service is busy with."""
    generators = [found for found in gc.get_objects() if isinstance(found, AsyncGeneratorType)]
    return sum(found.ag_code.co_name == "follow_run" and found.ag_frame is not None for found in generators)


@pytest.fixture
def endless(site: Site, served: Served) -> str:
    """The id of a run that does not end by itself, and queries."""
    site.define("endless", ENDLESS)
    served.service.reload()
    run_id = str(served.client().post("/api/v1/syncs/endless/runs").json()["run_id"])
    wait_for_phase(served.client(), run_id, "query")
    return run_id


def test_a_run_is_followed_to_its_end(site: Site, served: Served) -> None:
    client = served.client()
    assert client.post("/api/v1/syncs/customers/runs?wait=30").status_code == 200
    site.define("many", MANY)
    served.service.reload()
    with ExitStack() as until_then:
        until_then.enter_context(site.store_locked())
        run_id = client.post("/api/v1/syncs/many/runs").json()["run_id"]
        wait_for_phase(client, run_id, "send")
        with client.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            events = heard(answer)
            name, first = next(events)
            until_then.close()
            rest = list(events)

    assert (name, first["run_id"], first["status"]) == ("progress", run_id, "running")
    assert (first["progress"]["phase"], first["progress"]["total"]) == ("send", 25_000)
    assert first["counts"]["added"] == 25_000
    assert [name for name, _ in rest] == ["progress"] * (len(rest) - 1) + ["end"]
    last = rest[-1][1]
    assert (last["status"], last["counts"]["accepted"], last["progress"]) == ("success", 25_000, None)


def test_a_run_that_is_over_is_told_at_once(served: Served) -> None:
    client = served.client()
    run_id = client.post("/api/v1/syncs/customers/runs?wait=30").json()["run_id"]

    with client.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        assert [(name, told["status"]) for name, told in heard(answer)] == [("end", "success")]
    assert client.get("/api/v1/runs/x/events").status_code == 404


def test_events_come_a_few_a_second_and_tell_the_rate(site: Site, served: Served) -> None:
    site.define("long", LONG)
    served.service.reload()
    client = served.client()
    run_id = client.post("/api/v1/syncs/long/runs").json()["run_id"]

    arrivals, rates = [], []
    with client.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        for _, told in heard(answer):
            arrivals.append(time.monotonic())
            rates.append(told["progress"] and told["progress"]["rate"])
            if len(arrivals) == 4:
                break
    client.post(f"/api/v1/runs/{run_id}/cancel")

    assert arrivals[-1] - arrivals[0] > 0.6
    assert any(rate and rate > 1000 for rate in rates)


def test_who_leaves_is_told_nothing_more(served: Served, endless: str) -> None:
    with served.client().stream("GET", f"/api/v1/runs/{endless}/events") as answer:
        events = heard(answer)
        assert next(events)[0] == "progress"
        assert listening() == 1

    wait_until(lambda: listening() == 0)
    assert served.service.active_run(endless) is not None


def test_a_service_that_stops_ends_its_streams(served: Served, endless: str, caplog: pytest.LogCaptureFixture) -> None:
    with served.client().stream("GET", f"/api/v1/runs/{endless}/events") as answer:
        events = heard(answer)
        assert next(events)[0] == "progress"
        asked = time.monotonic()
        served.process.asked_to_stop.set()
        assert "end" not in [name for name, _ in events]

    assert time.monotonic() - asked < 3
    assert "timeout" not in caplog.text


def test_another_processs_run_is_followed_by_the_run_log(site: Site, served: Served) -> None:
    site.define("endless", ENDLESS)
    served.service.reload()
    with (
        site.elsewhere("endless") as (process, run_id),
        served.client().stream("GET", f"/api/v1/runs/{run_id}/events") as answer,
    ):
        events = heard(answer)
        name, told = next(events)
        process.send_signal(signal.SIGINT)
        rest = [(name, told["status"]) for name, told in events]

    assert (name, told["status"], told["progress"]) == ("progress", "running", None)
    assert rest == [("end", "interrupted")]
