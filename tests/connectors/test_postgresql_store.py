from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest

from connectors.postgresql import store as postgresql_store
from connectors.postgresql.store import PostgreSQLStore
from syncer.model.errors import StoreError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity
from tests.contracts.batches import ACCEPTED, ACCOUNTS, MEMBERS, PEOPLE, apply, batch_of, person, put


def opened(url: str) -> PostgreSQLStore:
    return PostgreSQLStore("default", url, identity=Identity.ID)


@pytest.fixture
def store(postgres_url: str) -> Iterator[ProfileStore]:
    with closing(opened(postgres_url)) as store:
        yield store


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Another program on the same database, in a transaction."""
    with closing(psycopg.connect(postgres_url)) as connection:
        yield connection


def waiting_backend(connection: psycopg.Connection) -> int:
    """The process of the server that waits for a lock in this database, once there is one."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'syncer' "
        "AND datname = current_database()"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        # The view is a copy, made when a transaction first looks.
        connection.execute("SELECT pg_stat_clear_snapshot()")
        if found := connection.execute(query).fetchone():
            return int(found[0])
    raise AssertionError("nobody waits")


def meanwhile(work: Callable[[], Any]) -> Future[Any]:
    """Run *work* in a thread."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


@pytest.mark.parametrize("known", [False, True], ids=["new people", "known people"])
def test_a_connection_that_is_lost_in_a_batch_leaves_nothing_of_it(
    store: ProfileStore, postgres_url: str, other: psycopg.Connection, known: bool
) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}))
    apply(store, ACCOUNTS, put("acme"))
    rows = [put("ann" if known else "bob", attributes={"a": 2}), put("cy")]
    other.execute("INSERT INTO people (id, attributes) VALUES ('cy', '{}')")

    applied = meanwhile(lambda: store.apply(PEOPLE, batch_of(*rows), create=True))
    other.execute("SELECT pg_terminate_backend(%s)", [waiting_backend(other)])

    with pytest.raises(StoreError, match="store `default`: "):
        applied.result(timeout=30)
    with pytest.raises(StoreError, match="store `default`: the connection was lost"):
        store.apply(PEOPLE, batch_of(*rows), create=True)
    other.rollback()
    with closing(opened(postgres_url)) as again:
        assert person(again, "ann")["attributes"] == {"a": 1}
        assert [again.show(Entity.PERSON, "id", id_) for id_ in ("bob", "cy")] == [None, None]
        assert apply(again, PEOPLE, *rows) == [ACCEPTED, ACCEPTED]


@pytest.mark.parametrize("known", [False, True], ids=["new people", "known people"])
def test_a_person_whom_another_program_makes_meanwhile_is_updated(
    store: ProfileStore, other: psycopg.Connection, known: bool
) -> None:
    apply(store, PEOPLE, put("ann"))
    other.execute("INSERT INTO people (id, attributes) VALUES ('bob', '{\"theirs\": 1}')")

    rows = [put("ann" if known else "cy"), put("bob", attributes={"ours": 2})]
    applied = meanwhile(lambda: apply(store, PEOPLE, *rows))
    waiting_backend(other)
    other.commit()

    assert applied.result(timeout=30) == [ACCEPTED, ACCEPTED]
    assert person(store, "bob")["attributes"] == {"theirs": 1, "ours": 2}


def test_an_object_that_another_program_deletes_meanwhile_is_a_rejection(
    store: ProfileStore, other: psycopg.Connection
) -> None:
    apply(store, PEOPLE, put("ann"))
    apply(store, ACCOUNTS, put("acme"))
    other.execute("DELETE FROM objects")

    applied = meanwhile(lambda: apply(store, MEMBERS, put("ann", "acme")))
    waiting_backend(other)
    other.commit()

    assert applied.result(timeout=30) == [("rejected", "the object does not exist yet")]


@pytest.mark.parametrize(
    ("attributes", "key", "condition"),
    [
        (r'{"s":"hunter2 \u0000"}', "p1", "untranslatable character (SQLSTATE 22P05)"),
        (r'{"s":"hunter2 \ud800"}', "p1", "invalid text representation (SQLSTATE 22P02)"),
        ('{"n":[1e999999]}', "p1", "numeric value out of range (SQLSTATE 22003)"),
        ("{}", "hunter2" * 1000, "program limit exceeded (SQLSTATE 54000)"),
    ],
)
@pytest.mark.parametrize("known", [False, True], ids=["new people", "known people"])
def test_a_value_that_postgresql_refuses_is_one_rejection(
    store: ProfileStore, attributes: str, key: str, condition: str, known: bool
) -> None:
    if known:
        apply(store, PEOPLE, put("p0", attributes={"was": 1}))
    # Not compressible, or the index would take it.
    key = "".join(f"{hash((key, i)):x}" for i in range(500)) if len(key) > 9 else key
    rows = [put(f"p{i}", attributes={"n": i}) for i in range(30)]
    rows[1] = put(key, attributes=attributes)

    verdicts = apply(store, PEOPLE, *rows)

    assert verdicts == [ACCEPTED, ("rejected", condition)] + [ACCEPTED] * 28
    assert person(store, "p0")["attributes"] == ({"was": 1, "n": 0} if known else {"n": 0})
    assert store.show(Entity.PERSON, "id", key) is None


def test_a_writer_that_hangs_is_a_store_error(
    store: ProfileStore, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_store, "_WAIT_SECONDS", 0.1)
    other.execute("SELECT FROM workspace FOR UPDATE")

    with pytest.raises(StoreError, match="store `default`: canceling statement due to lock timeout") as raised:
        store.apply(PEOPLE, batch_of(put("ann")), create=True)

    assert "another process" in raised.value.hint.lower()
    other.rollback()
    assert apply(store, PEOPLE, put("ann")) == [ACCEPTED]


def test_a_store_that_cannot_be_written_is_a_store_error(postgres_url: str, other: psycopg.Connection) -> None:
    other.execute(f"ALTER DATABASE {other.info.dbname} SET default_transaction_read_only = on")
    other.commit()

    with pytest.raises(StoreError, match="read-only transaction") as raised:
        opened(postgres_url)

    assert "not a replica" in raised.value.hint


def test_a_user_who_may_not_make_tables_is_told_so(postgres_url: str, other: psycopg.Connection) -> None:
    role = f"reader_{other.info.dbname}"
    other.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    other.commit()

    with pytest.raises(StoreError, match="permission denied for schema public") as raised:
        opened(postgres_url.replace("postgres@", f"{role}:hunter2@"))

    assert "GRANT" in raised.value.hint
    with pytest.raises(StoreError) as wrong:
        opened(postgres_url.replace("postgres@", f"{role}:hunter3@"))
    assert "hunter" not in f"{raised.value} {raised.value.hint} {wrong.value} {wrong.value.hint}"
    other.execute(f"DROP ROLE {role}")
    other.commit()


def test_a_store_can_have_a_schema_of_its_own(postgres_url: str, other: psycopg.Connection) -> None:
    other.execute("CREATE TABLE people (name text)")
    other.execute("CREATE SCHEMA syncer")
    other.commit()

    with closing(opened(f"{postgres_url}?options=-csearch_path%3Dsyncer")) as store:
        apply(store, PEOPLE, put("ann"))
        assert person(store, "ann")["id"] == "ann"

    assert other.execute("SELECT count(*) FROM public.people").fetchone() == (0,)
    assert other.execute("SELECT id FROM syncer.people").fetchone() == ("ann",)
