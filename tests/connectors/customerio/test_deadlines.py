"""Answers that come byte by byte, or without end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from connectors.customerio import connection, deadlines
from connectors.customerio.options import CustomerIOOptions
from syncer.model.errors import StoreError
from syncer.model.protocols import Interruptible, ProfileStore
from syncer.model.types import Identity
from syncer.settings.registry import open_store
from tests.contracts.batches import PEOPLE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
#: What an answer consists of, which goes on for ever: its begin at once, then a part after the other.
ANSWERS = {"drips its head": (b"", b"H"), "drips its body": (HEAD, b"x")}


@pytest.fixture
def store_of() -> Iterator[Callable[[bytes, bytes, float], ProfileStore]]:
    """Starts a server of one answer; returns a store that calls it."""
    stores: list[ProfileStore] = []
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def answering(begin: bytes, part: bytes, seconds: float) -> None:
        with suppress(OSError):
            accepted, _ = server.accept()
            with closing(accepted):
                accepted.recv(4096)
                accepted.sendall(begin or b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not ended.wait(seconds):
                    accepted.sendall(part)

    def started(begin: bytes, part: bytes, seconds: float) -> ProfileStore:
        threading.Thread(target=answering, args=(begin, part, seconds), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = CustomerIOOptions(site_id="site", api_key="key", track_url=address)  # type: ignore[arg-type]
        stores.append(open_store("crm", "customerio://us", identity=Identity.ID, options=options))
        return stores[-1]

    yield started
    ended.set()
    server.close()
    for store in stores:
        store.close()


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)


@pytest.mark.parametrize("answer", list(ANSWERS))
def test_a_call_has_a_deadline_as_a_whole(
    store_of: Callable[..., ProfileStore], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(deadlines, "CALL_SECONDS", 0.3)
    store = store_of(*ANSWERS[answer], 0.02)
    began = time.monotonic()

    with pytest.raises(StoreError, match="did not answer: there was no answer in time"):
        store.check(PEOPLE)

    # A busy machine is slow, and a minute is half of the usual deadline.
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("answer", [*ANSWERS, "is silent"])
def test_a_store_that_is_interrupted_ends_its_calls(
    store_of: Callable[..., ProfileStore], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(deadlines, "STOPPED_SECONDS", 0.1)
    store = store_of(*ANSWERS.get(answer, (HEAD, b"x")), 60 if answer == "is silent" else 0.02)
    assert isinstance(store, Interruptible)
    began = time.monotonic()

    threading.Timer(0.2, store.interrupt).start()
    with pytest.raises(StoreError, match="did not answer"):
        store.check(PEOPLE)

    assert time.monotonic() - began < 30


def test_an_answer_has_a_largest_size(store_of: Callable[..., ProfileStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 1_000_000)

    with pytest.raises(StoreError, match="more than 1,000,000 bytes"):
        store_of(HEAD, b"x" * 100_000, 0).check(PEOPLE)
