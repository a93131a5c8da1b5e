"""What supervisors are told."""

from __future__ import annotations

import threading

from tests.web.conftest import Served, Site


def test_a_service_that_lives_says_so_without_content(guarded: Served) -> None:
    client = guarded.client(headers={"Host": "10.0.0.7:8765"})
    for path in ("/livez", "/readyz"):
        assert (client.get(path).status_code, client.get(path).content) == (200, b"")
        assert client.head(path).status_code == 200
        assert client.post(path).status_code == 405
    assert guarded.client(headers={"Host": "whatever-a-supervisor-says"}).get("/livez").status_code == 200


def test_a_schedule_that_hangs_is_not_alive(served: Served) -> None:
    served.service.timetable.stop()
    served.service.last_heartbeat -= 46

    assert served.client().get("/livez").status_code == 503


def test_a_thread_that_died_is_seen(served: Served) -> None:
    assert served.client().get("/livez").status_code == 200
    died = threading.Thread(target=lambda: None)
    died.start()
    died.join()
    served.service.pool._threads.append(died)

    assert served.client().get("/livez").status_code == 503


def test_a_service_that_can_do_nothing_is_not_ready(site: Site, served: Served) -> None:
    client = served.client()
    assert client.get("/readyz").status_code == 200

    served.service.closing.set()
    assert client.get("/readyz").status_code == 503
    served.service.closing.clear()
    with served.without_log(site):
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
