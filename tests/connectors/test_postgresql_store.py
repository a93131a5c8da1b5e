from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from connectors.postgresql import store as postgresql_store
from connectors.postgresql.store import PostgreSQLStore
from connectors.sql_store import reading
from syncer.model.errors import StoreError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity
from tests.cli.conftest import Folder
from tests.contracts.batches import ACCEPTED, ACCOUNTS, MEMBERS, PEOPLE, apply, batch_of, made, person, put
from tests.servers.commit_proxy import commit_proxy
from tests.servers.postgresql import PostgresServer
from tests.workbench import Workbench


def opened(url: str) -> PostgreSQLStore:
    return PostgreSQLStore("default", url, identity=Identity.ID)


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgreSQLStore]:
    with closing(made(opened(postgres_url))) as store:
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

    with closing(opened(postgres_url)) as store, pytest.raises(StoreError, match="read-only transaction") as raised:
        store.check(PEOPLE)

    assert "not a replica" in raised.value.hint


def test_a_user_who_may_not_make_tables_is_told_so(postgres_url: str, other: psycopg.Connection) -> None:
    role = f"reader_{other.info.dbname}"
    other.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    other.commit()

    with closing(opened(postgres_url.replace("postgres@", f"{role}:hunter2@"))) as store:
        with pytest.raises(StoreError, match="permission denied for schema public") as raised:
            store.check(PEOPLE)
        assert store.probe().note.startswith("It cannot be written: store `default`: permission denied")

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


# A server that is frozen, and a connection that is closed while it idles


@contextmanager
def frozen(store: PostgreSQLStore) -> Iterator[None]:
    """The server's process for this store's connection stops; the kernel goes on to take what it is sent."""
    ((pid,),) = store._fetch("SELECT pg_backend_pid()")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("rows", [1, 40_000], ids=["few", "more than fits into the network"])
def test_a_frozen_server_fails_the_run_and_the_next_one_sends_again(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(postgresql_store, "_STATEMENT_SECONDS", 1)
    monkeypatch.setattr(postgresql_store, "_GRACE_SECONDS", 1)
    result = pa.table({"id": [str(row) for row in range(rows)], "text": ["x" * 200] * rows})
    bench, began = Workbench(tmp_path), time.monotonic()
    with closing(made(opened(postgres_url))) as store:
        bench.store = store  # type: ignore[assignment]
        with (
            frozen(store),
            pytest.raises(StoreError, match="store `default`: the server did not answer within 2 seconds"),
        ):
            bench.run(result)
    monkeypatch.undo()

    assert time.monotonic() - began < 30
    assert bench.progress.notes == [f"rows in doubt, which the next run sends again: {rows:,}"]
    with closing(opened(postgres_url)) as store:
        bench.store = store  # type: ignore[assignment]
        assert bench.run(result).counts.accepted == rows


def test_a_server_that_is_frozen_before_it_answers_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreError, match="timeout"):
            opened(f"postgresql://postgres@127.0.0.1:{port}/shop?connect_timeout=2&sslmode=disable")


def test_every_wait_for_the_network_has_a_bound(store: PostgreSQLStore) -> None:
    found = store._connection.info.get_parameters()

    assert {name: found[name] for name in ("connect_timeout", "tcp_user_timeout", "keepalives_idle")} == {
        "connect_timeout": "15",
        "tcp_user_timeout": "60000",
        "keepalives_idle": "30",
    }


@pytest.mark.parametrize("use", ["apply", "show", "identifiers"])
def test_a_connection_closed_while_it_idles_is_opened_again(
    store: PostgreSQLStore, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    apply(store, PEOPLE, put("ann"))
    monkeypatch.setattr(postgresql_store, "_IDLE_SECONDS", 0.0)
    ((pid,),) = store._fetch("SELECT pg_backend_pid()")
    other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])

    match use:
        case "apply":
            assert apply(store, PEOPLE, put("bob")) == [ACCEPTED]
        case "show":
            assert store.show(Entity.PERSON, "id", "ann") is not None
        case _:
            assert len(store.identifiers(PEOPLE, pa.table({"k1": ["ann"]}))) == 2
    assert store._fetch("SELECT pg_backend_pid()") != [(pid,)]


def test_a_store_that_does_not_come_back_is_opened_again_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with commit_proxy(postgres_url) as way:
        store = opened(way.url)
        monkeypatch.setattr(postgresql_store, "_IDLE_SECONDS", 0.0)
    with closing(store), pytest.raises(StoreError, match="cannot connect to PostgreSQL"):
        store.apply(PEOPLE, batch_of(put("ann")), create=True)


SECRET = "s3cr3t-Pa55"


@pytest.fixture
def reader_url(postgres: PostgresServer, postgres_url: str, store: PostgreSQLStore) -> Iterator[str]:
    """Of a login that may read the store and no more."""
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        name = f"reader_{owner.info.dbname}"
        owner.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
        )
        owner.execute(f"REVOKE TEMP ON DATABASE {owner.info.dbname} FROM public")
        yield postgres.url(owner.info.dbname, user=name, password=SECRET)
        owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


RIGHTS = [
    "GRANT TEMP ON DATABASE {database} TO {role}",
    "GRANT UPDATE ON workspace TO {role}",
    "GRANT INSERT, UPDATE, DELETE ON people, objects, relationships, devices, collections TO {role}",
    "GRANT INSERT, UPDATE, DELETE ON collection_rows, sync_fences, identifier_moves TO {role}",
    "GRANT INSERT, UPDATE, DELETE ON suppressions, merged_people TO {role}",
    "GRANT INSERT, UPDATE, DELETE ON events, event_starts, visitors TO {role}",
    "GRANT USAGE ON SEQUENCE people_person_id_seq TO {role}",
]


def test_a_probe_finds_each_right_that_a_login_lacks(reader_url: str, other: psycopg.Connection) -> None:
    other.autocommit = True
    names = {"database": other.info.dbname, "role": f"reader_{other.info.dbname}"}
    for right in RIGHTS:
        with closing(opened(reader_url)) as reader:
            probe = reader.probe()

        assert probe.can_write is False, right
        assert probe.note.startswith("It cannot be written: store `default`: permission denied for ")
        assert "GRANT this user what is missing" in probe.note
        other.execute(right.format(**names))

    with closing(opened(reader_url)) as writer:
        assert writer.probe().can_write is True
        assert apply(writer, PEOPLE, put("ann")) == [ACCEPTED]


def test_connections_and_plan_tell_of_a_store_that_cannot_be_written(tmp_path: Path, reader_url: str) -> None:
    folder, environment = Folder(path=tmp_path), {"SYNCER_STORES__DEFAULT__URL": reader_url}
    folder.people({"1": "free"})
    folder.define("customers", "SELECT id, plan FROM people")

    tested = folder.syncer("connections", "--test", "--json", env=environment)
    planned = folder.syncer("plan", "customers", env=environment)

    assert (tested.code, tested.objects[-1]["can_write"]) == (1, False)
    assert "the run would fail, as the store cannot be written: store `default`: permission denied" in planned.out


@pytest.mark.parametrize("table", ["workspace (id int)", "workspace (identity text, store_id text)"])
def test_tables_of_another_program_are_said_to_be_none_of_a_store(
    postgres_url: str, other: psycopg.Connection, table: str
) -> None:
    other.execute(f"CREATE TABLE {table}")
    other.commit()

    with pytest.raises(StoreError, match="store `default`: ") as raised:
        opened(postgres_url)

    assert "no tables of a profile store. Give the store a database of its own" in raised.value.hint


def test_a_schema_that_is_missing_is_to_be_created(postgres_url: str) -> None:
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csearch_path%3Dnowhere"
    with closing(opened(url)) as store, pytest.raises(StoreError, match="no schema has been selected") as raised:
        store.check(PEOPLE)

    assert raised.value.hint.startswith("Create the schema that the search path in SYNCER_STORES__DEFAULT__URL names")


def test_a_page_that_is_too_long_a_text_is_read_in_parts(
    store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(store, PEOPLE, *(put(f"p{number}") for number in range(9)))
    # PostgreSQL refuses a text of more than 1 GB at once, as it does JSON that becomes so long.
    refused = "HAVING count(*) <= 2 OR repeat('x', 2000000000 * sign(count(*))::int) = ''"
    dialect = replace(store.dialect, as_json=f"{store.dialect.as_json} {refused}")
    monkeypatch.setattr(store, "dialect", dialect)
    monkeypatch.setattr(reading, "PAGE_ROWS", 8)

    pages = list(store.contained(PEOPLE, None))

    assert [len(page) for page in pages] == [2, 2, 2, 2, 1]
