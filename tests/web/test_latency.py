from __future__ import annotations

import statistics
import time

from tests.web.conftest import Served


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_first_part(guarded: Served) -> None:
    client = guarded.client()
    seconds = []
    for _ in range(20):
        started = time.monotonic()
        assert client.get("/api/v1/syncs").status_code == 401
        seconds.append(time.monotonic() - started)

    # A delayed acknowledgement takes 40 ms each time.
    assert statistics.median(seconds) < 0.04
