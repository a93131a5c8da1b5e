"""A writer that waits for another one lets a session go that stands still, and none whose client goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pyarrow as pa
import pytest

from connectors.postgresql import waiting
from connectors.postgresql.store import PostgreSQLStore
from syncer.model.errors import StoreError
from syncer.model.types import Entity, Identity, PersonKey, Target

PERSON = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
LOCK = "SELECT FROM workspace FOR UPDATE"


@pytest.fixture
def opened(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgreSQLStore]:
    """A store that exists, whose writers have little patience."""
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "WITHIN_SECONDS", 1.0)
    monkeypatch.setattr(waiting, "BETWEEN_SECONDS", 2.0)
    made = PostgreSQLStore("crm", postgres_url, identity=Identity.ID)
    made.apply(PERSON, batch("first"), create=True)
    yield made
    made.close()


def batch(*ids: str) -> pa.RecordBatch:
    rows = len(ids)
    return pa.RecordBatch.from_pydict(
        {
            "seq": pa.array(range(rows), pa.int64()),
            "action": ["put"] * rows,
            "k1": [*ids],
            "attributes": ["{}"] * rows,
            "cleared": ["[]"] * rows,
        }
    )


def applied(store: PostgreSQLStore, *ids: str) -> float:
    """How many seconds it takes to store people."""
    began = time.monotonic()
    answers = store.apply(PERSON, batch(*ids), create=True)
    assert answers["verdict"].to_pylist() == ["accepted"] * len(ids)
    return time.monotonic() - began


def ids_of(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute("SELECT id FROM people ORDER BY id").fetchall()]


def test_who_waits_for_rows_of_a_copy_that_do_not_come_goes_on(opened: PostgreSQLStore, postgres_url: str) -> None:
    still = psycopg.connect(postgres_url)
    still.execute(LOCK)
    seconds = list[float]()

    def stand_still() -> None:
        with still.cursor().copy("COPY people (id) FROM STDIN") as copy:
            copy.write(b"lost\n")
            seconds.append(applied(opened, "second"))

    with pytest.raises(psycopg.OperationalError):
        stand_still()
    assert 1.0 <= seconds[0] < 20
    assert still.closed
    assert ids_of(postgres_url) == ["first", "second"]


def test_who_waits_for_one_that_does_nothing_goes_on(opened: PostgreSQLStore, postgres_url: str) -> None:
    still = psycopg.connect(postgres_url)
    still.execute(LOCK)
    assert 2.0 <= applied(opened, "second") < 20
    with pytest.raises(psycopg.OperationalError):
        still.execute("SELECT")


def test_a_client_that_is_slow_is_waited_for(opened: PostgreSQLStore, postgres_url: str) -> None:
    def send_slowly(began: threading.Event) -> None:
        with psycopg.connect(postgres_url) as slow:
            slow.execute(LOCK)
            with slow.cursor().copy("COPY people (id, attributes) FROM STDIN") as copy:
                began.set()
                for number in range(30):
                    # Less would stay here until there is more.
                    copy.write("".join(f"slow {number:02} {i:04}\t{{}}\n" for i in range(4_000)).encode())
                    time.sleep(0.1)
            for _ in range(30):
                slow.execute("SELECT")
                time.sleep(0.1)

    began = threading.Event()
    slow = threading.Thread(target=send_slowly, args=(began,))
    slow.start()
    assert began.wait(60)
    assert applied(opened, "second") >= 3.0
    slow.join()
    assert len(ids_of(postgres_url)) == 120_002


def test_a_server_that_is_slow_is_waited_for(opened: PostgreSQLStore, postgres_url: str) -> None:
    def work(began: threading.Event) -> None:
        with psycopg.connect(postgres_url) as slow:
            slow.execute(LOCK)
            began.set()
            slow.execute("SELECT pg_sleep(4)")
            slow.execute("INSERT INTO people (id, attributes) VALUES ('slow', '{}')")

    began = threading.Event()
    slow = threading.Thread(target=work, args=(began,))
    slow.start()
    assert began.wait(60)
    applied(opened, "second")
    slow.join()
    assert ids_of(postgres_url) == ["first", "second", "slow"]


def test_who_stood_still_learns_that_its_session_ended_and_sends_again(
    opened: PostgreSQLStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PostgreSQLStore("crm", postgres_url, identity=Identity.ID)
    usual: Callable[..., None] = other._copy

    def stand_still(*given: object) -> None:
        applied(opened, "second")
        usual(*given)

    with monkeypatch.context() as still:
        still.setattr(other, "_copy", stand_still)
        with pytest.raises(StoreError) as caught:
            other.apply(PERSON, batch("third"), create=True)
    assert "The next run sends again" in caught.value.hint
    other.close()
    next_run = PostgreSQLStore("crm", postgres_url, identity=Identity.ID)
    applied(next_run, "third")
    next_run.close()
    assert ids_of(postgres_url) == ["first", "second", "third"]


def test_a_store_whose_sessions_this_login_may_not_end_is_waited_for(
    opened: PostgreSQLStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgresql.store._WAIT_SECONDS", 3)
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("CREATE ROLE other LOGIN PASSWORD 'other'")
        server.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO other")
        server.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO other")
        still = psycopg.connect(postgres_url)
        still.execute(LOCK)
        as_other = PostgreSQLStore("crm", postgres_url.replace("postgres@", "other:other@"), identity=Identity.ID)
        with pytest.raises(StoreError, match="lock timeout"):
            as_other.apply(PERSON, batch("second"), create=True)
        as_other.close()
        still.execute("SELECT")
        still.close()
        server.execute("DROP OWNED BY other")
        server.execute("DROP ROLE other")
