"""Clients that are slow, half gone, or too many."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from syncer.service import connections
from syncer.service.connections import BoundedConnection
from syncer.web.api import runs
from tests.web.conftest import ENDLESS, Served, Site, wait_for_phase, wait_until

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def connected(served: Served, sent: bytes = b"") -> Iterator[socket.socket]:
    """A client that sent so much, and sends no more."""
    url = urlsplit(served.address)
    with socket.create_connection((url.hostname, url.port or 0), timeout=10) as client:
        client.sendall(sent)
        yield client


def is_ended(client: socket.socket) -> bool:
    """Whether the service ended the connection; waits for it."""
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn has two, as installed."""
    monkeypatch.setattr(connections, "AutoHTTPProtocol", request.param)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        HEAD,
        HEAD + b"\r\n" + HEAD,
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\npass",
    ],
    ids=["nothing", "a word", "no end of headers", "a second request", "half a body"],
)
def test_a_request_that_does_not_come_in_time_is_ended(
    guarded: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    began = time.monotonic()

    with connected(guarded, sent) as client:
        # A byte now and then buys no time.
        while time.monotonic() - began < 0.4:
            if sent.startswith(HEAD):
                client.sendall(b"x")
            time.sleep(0.1)
        assert is_ended(client)

    assert time.monotonic() - began < 9


def test_many_who_send_no_request_do_not_keep_others_out(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "limit", 20)
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(guarded, HEAD)) for _ in range(60)]

        for _ in range(3):
            assert guarded.client().get("/livez").status_code == 200
        assert is_ended(slow[0])


def test_a_client_that_is_answered_is_not_ended(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    client = guarded.client()
    for _ in range(3):
        assert client.get("/livez").status_code == 200
        time.sleep(0.3)


def test_the_limit_leaves_files_to_the_rest_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))

    assert connections.limit() == 128


def test_one_address_follows_a_number_of_runs_at_a_time(
    site: Site, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_STREAMS", 2)
    site.define("endless", ENDLESS)
    served.service.reload()
    client = served.client()
    run_id = str(client.post("/api/v1/syncs/endless/runs").json()["run_id"])
    wait_for_phase(client, run_id, "query")
    events = f"/api/v1/runs/{run_id}/events"

    with client.stream("GET", events) as first, client.stream("GET", events) as second:
        assert (first.status_code, second.status_code) == (200, 200)
        assert client.get(events).status_code == 429

    def is_let_in() -> bool:
        with client.stream("GET", events) as again:
            return again.status_code == 200

    wait_until(is_let_in)
