"""What only PostgreSQL can do to a reader."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pyarrow as pa
import pytest

from syncer.model.errors import SettingsError, SyncerError, WarehouseError
from syncer.settings import registry
from syncer.settings.registry import open_warehouse
from tests.connectors.warehouses.reading import opened, rows
from tests.contracts.probing import probed
from tests.servers.postgresql import PostgresServer

TIMEOUT = timedelta(minutes=1)
SECRET = "s3cr3t-Pa55"


@pytest.fixture
def owner(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def role(postgres: PostgresServer, owner: psycopg.Connection) -> Iterator[str]:
    """A role that may log in and nothing else; it goes with what it owns."""
    name = f"analyst_{owner.info.dbname}"
    owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield name
    owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def role_url(postgres: PostgresServer, owner: psycopg.Connection, role: str) -> str:
    return postgres.url(owner.info.dbname, user=role, password=SECRET)


def test_a_connection_that_is_cut_half_way_is_an_error(postgres_url: str, owner: psycopg.Connection) -> None:
    with opened(postgres_url) as warehouse:
        result = warehouse.query("SELECT generate_series(1, 100000000) AS i", timeout=TIMEOUT)
        result.read_next_batch()
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'syncer' AND datname = current_database()"
        )

        with pytest.raises(WarehouseError, match="crm") as caught:
            result.read_all()

    assert "Nothing of the result was used" in caught.value.hint


def test_a_change_during_the_read_does_not_tear_the_result(postgres_url: str, owner: psycopg.Connection) -> None:
    owner.execute("CREATE TABLE people AS SELECT i AS id, 'old' AS state FROM generate_series(1, 200000) AS t (i)")
    with opened(postgres_url) as warehouse:
        result = warehouse.query("SELECT state FROM people", timeout=TIMEOUT)
        first = result.read_next_batch()
        owner.execute("UPDATE people SET state = 'new'")
        owner.execute("DELETE FROM people WHERE id % 2 = 0")

        rest = result.read_all()

    assert first.num_rows + rest.num_rows == 200_000
    assert set(rest["state"].to_pylist()) == {"old"}


def test_every_table_is_read_at_one_moment(postgres_url: str, owner: psycopg.Connection) -> None:
    owner.execute("CREATE TABLE a AS SELECT 1 AS n")
    with opened(postgres_url) as warehouse:
        result = warehouse.query("SELECT count(*) AS n FROM a, pg_sleep(0)", timeout=TIMEOUT)
        owner.execute("INSERT INTO a VALUES (2)")

        assert result.read_all().to_pylist() in ([{"n": 1}], [{"n": 2}])


def test_times_without_end_in_one_row_of_many_leave_the_others(postgres_url: str) -> None:
    sql = (
        "SELECT CASE WHEN i = 150000 THEN 'infinity' ELSE timestamptz '2024-01-01 00:00+00' END AS t, "
        "CASE WHEN i = 150000 THEN '-infinity' ELSE date '2024-01-01' END AS d FROM generate_series(1, 200000) AS s (i)"
    )
    with opened(postgres_url) as warehouse:
        result = warehouse.query(sql, timeout=TIMEOUT).read_all()

    times = result["t"].cast(pa.int64()).value_counts().to_pylist()
    days = result["d"].cast(pa.int32()).value_counts().to_pylist()
    assert {(c["values"], c["counts"]) for c in times} == {(1704067200000000, 199_999), (2**63 - 1, 1)}
    assert {(c["values"], c["counts"]) for c in days} == {(19723, 199_999), (-(2**31) + 1, 1)}


def test_settings_of_the_role_do_not_change_what_arrives(role: str, role_url: str, owner: psycopg.Connection) -> None:
    for setting in [
        "TimeZone = 'Asia/Kolkata'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "extra_float_digits = -5",
        "bytea_output = 'escape'",
        "statement_timeout = 1",
        "client_encoding = 'LATIN1'",
    ]:
        owner.execute(f"ALTER ROLE {role} SET {setting}")
    sql = (
        "SELECT timestamptz '2024-01-02 03:04:05+00' AS t, date '2024-01-02' AS d, interval '1 day' AS i, "
        r"0.1::float8 + 0.2 AS f, '\x00ff'::bytea AS b, '€' AS e, pg_sleep(0.05) IS NULL AS slow"
    )

    with opened(role_url) as warehouse:
        (row,) = warehouse.query(sql, timeout=TIMEOUT).read_all().to_pylist()

    assert str(row.pop("t")) == "2024-01-02 03:04:05+00:00"
    assert str(row.pop("d")) == "2024-01-02"
    assert row == {"i": "1 day", "f": 0.1 + 0.2, "b": b"\x00\xff", "e": "€", "slow": False}


def test_broken_text_is_passed_on_for_its_row_to_be_refused(
    postgres: PostgresServer, owner: psycopg.Connection
) -> None:
    name = f"ascii_{owner.info.dbname}"
    owner.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc")
    try:
        with opened(postgres.url(name)) as warehouse:
            column = warehouse.query(r"SELECT E'a\xff' AS a", timeout=TIMEOUT).read_all()["a"]
    finally:
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")

    assert column.cast(pa.binary()).to_pylist() == [b"a\xff"]


def test_writing_by_a_function_is_refused(postgres_url: str, owner: psycopg.Connection) -> None:
    owner.execute("CREATE TABLE people (id int)")
    owner.execute("CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'INSERT INTO people VALUES (1) RETURNING id'")
    with opened(postgres_url) as warehouse:
        for sql in ["SELECT sneak()", "SELECT set_config('transaction_read_only', 'off', false)"]:
            with pytest.raises(WarehouseError, match="read-"):
                warehouse.query(sql, timeout=TIMEOUT).read_all()

    assert owner.execute("SELECT count(*) FROM people").fetchall() == [(0,)]


def test_a_probe_finds_a_role_that_can_only_read(role: str, role_url: str, owner: psycopg.Connection) -> None:
    owner.execute(f"CREATE TABLE people (id int); GRANT SELECT ON people TO {role}")
    with opened(role_url) as warehouse:
        probe = probed(warehouse)

    assert (probe.can_write, probe.note) == (False, "")


@pytest.mark.parametrize(
    ("grant", "found"),
    [
        ("GRANT INSERT ON people TO {}", "may change public.people"),
        ("GRANT TRUNCATE ON people TO {}", "may change public.people"),
        ("GRANT UPDATE (id) ON people TO {}", "may change public.people"),
        ("GRANT pg_write_all_data TO {}", "may change public.people"),
        ("ALTER TABLE people OWNER TO {}", "owns public.people"),
        ("GRANT CREATE ON SCHEMA public TO {}", "may create tables in the schema public"),
        ("GRANT CREATE ON DATABASE {database} TO {}", "may create schemas"),
        ("ALTER ROLE {} SUPERUSER", "is a superuser"),
    ],
)
def test_a_probe_finds_a_role_that_could_write(
    role: str, role_url: str, owner: psycopg.Connection, grant: str, found: str
) -> None:
    owner.execute("CREATE TABLE people (id int)")
    owner.execute(grant.format(role, database=owner.info.dbname))
    with opened(role_url) as warehouse:
        probe = probed(warehouse)

    assert probe.can_write
    assert found in probe.note


def test_a_missing_privilege_says_what_to_ask_for(role_url: str, owner: psycopg.Connection) -> None:
    owner.execute("CREATE TABLE salaries (id int)")
    with opened(role_url) as warehouse, pytest.raises(WarehouseError, match="salaries") as caught:
        warehouse.query("SELECT * FROM salaries", timeout=TIMEOUT).read_all()

    assert "GRANT SELECT" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://{role}:wrong-{secret}@127.0.0.1:{port}/{database}", "password"),
        ("postgresql://{role}:{secret}@127.0.0.1:{port}/nowhere", "nowhere"),
        ("postgresql://{role}:{secret}@127.0.0.1:1/{database}", "127.0.0.1:1"),
        ("postgresql://{role}:{secret}@nowhere.invalid/{database}", "nowhere.invalid"),
        ("postgresql://{role}:{secret}@127.0.0.1:{port}/{database}?sslmode=require", "SSL"),
    ],
)
def test_a_connection_that_fails_says_why_and_tells_no_secret(
    postgres: PostgresServer, role: str, owner: psycopg.Connection, url: str, said: str
) -> None:
    filled = url.format(role=role, secret=SECRET, port=postgres.port, database=owner.info.dbname)

    with pytest.raises(WarehouseError, match="warehouse `crm`: cannot connect") as caught:
        open_warehouse("crm", filled)

    assert said in caught.value.message
    assert "SYNCER_WAREHOUSES__CRM__URL" in caught.value.hint
    assert not _tells(caught.value, SECRET)


@pytest.mark.parametrize(
    "password", ["left@right", "left/right", "left%zzright", "left?right@", "left#right", "left:right"]
)
def test_a_password_that_is_not_quoted_is_not_told_in_parts(password: str) -> None:
    with pytest.raises((WarehouseError, SettingsError)) as caught:
        open_warehouse("crm", f"postgresql://someone:{password}@127.0.0.1:1/crm?connect_timeout=2")

    assert not _tells(caught.value, "left", "right")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg"])
def test_other_spellings_of_the_scheme_are_understood(postgres_url: str, scheme: str) -> None:
    with opened(postgres_url.replace("postgresql", scheme, 1)) as warehouse:
        assert warehouse.query("SELECT 1 AS a", timeout=TIMEOUT).read_all().num_rows == 1


def test_a_unix_socket_such_as_cloud_sqls_is_understood(postgres: PostgresServer, owner: psycopg.Connection) -> None:
    url = f"postgresql://postgres@/{owner.info.dbname}?host={postgres.sockets}&port={postgres.port}"
    with opened(registry.checked(url)) as warehouse:
        assert warehouse.query("SELECT inet_server_addr() IS NULL AS a", timeout=TIMEOUT).read_all()["a"][0].as_py()


def _tells(error: SyncerError, *secrets: str) -> bool:
    told = "".join(traceback.format_exception(error)) + error.message + error.hint
    return any(secret in told for secret in secrets)


def test_of_several_hosts_the_one_that_answers_is_read(postgres: PostgresServer, postgres_url: str) -> None:
    several = postgres_url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:") + "?target_session_attrs=any"
    assert several.count("127.0.0.1") == 2

    with opened(several) as warehouse:
        assert rows(warehouse, "SELECT 1 AS a") == [{"a": 1}]
