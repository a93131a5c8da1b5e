"""What only MySQL and MariaDB can do to a reader."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.mysql.values import reading
from syncer.model.errors import WarehouseError
from syncer.model.protocols import JSON
from tests.connectors.warehouses.reading import TIMEOUT, opened, rows
from tests.servers.mariadb import MariaDBServer


def test_a_connection_that_is_cut_half_way_is_an_error(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    with opened(mariadb_url) as warehouse:
        result = warehouse.query("SELECT seq FROM seq_1_to_100000000", timeout=TIMEOUT)
        result.read_next_batch()
        ((number,),) = mariadb.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{mariadb_database}' AND id <> connection_id()"
        )
        mariadb.execute(f"KILL CONNECTION {number}")

        with pytest.raises(WarehouseError, match="crm") as caught:
            result.read_all()

    assert "Nothing of the result was used" in caught.value.hint


def test_a_change_during_the_read_does_not_tear_the_result(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT seq AS id, 'old' AS state FROM seq_1_to_200000", mariadb_database)
    with opened(mariadb_url) as warehouse:
        result = warehouse.query("SELECT state FROM people", timeout=TIMEOUT)
        first = result.read_next_batch()
        mariadb.execute("UPDATE people SET state = 'new'", mariadb_database)
        mariadb.execute("DELETE FROM people WHERE id % 2 = 0", mariadb_database)

        rest = result.read_all()

    assert first.num_rows + rest.num_rows == 200_000
    assert set(rest["state"].to_pylist()) == {"old"}


def test_any_mixture_of_values_and_nulls_arrives_as_another_reader_has_it(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    chosen = random.Random(7)
    names: dict[str, tuple[str, Callable[[], Any]]] = {
        "small": ("SMALLINT", lambda: chosen.randrange(-32768, 32768)),
        "short": ("VARCHAR(255)", lambda: "é" * chosen.randrange(130)),
        "big": ("BIGINT UNSIGNED", lambda: chosen.randrange(2**64)),
        "flag": ("BOOLEAN", lambda: chosen.randrange(2) == 1),
        "long": ("LONGTEXT", lambda: "x" * chosen.choice([0, 249, 250, 251, 252, 65535, 65536])),
        "moment": ("DATETIME(6)", lambda: datetime.fromtimestamp(chosen.uniform(0, 2e9), UTC).replace(tzinfo=None)),
        "second": ("DATETIME", lambda: datetime.fromtimestamp(chosen.randrange(2**31), UTC).replace(tzinfo=None)),
        "day": ("DATE", lambda: date.fromordinal(chosen.randrange(1, date.max.toordinal()))),
        "wide": ("DOUBLE", lambda: chosen.uniform(-1e300, 1e300)),
        "last": ("VARBINARY(20)", lambda: chosen.randbytes(chosen.randrange(21))),
    }
    mariadb.execute(
        "CREATE TABLE mixed (id INT PRIMARY KEY, " + ", ".join(f"`{n}` {t}" for n, (t, _) in names.items()) + ")",
        mariadb_database,
    )
    expected = [
        {"id": i} | {n: make() if chosen.random() < 0.7 else None for n, (_, make) in names.items()}
        for i in range(3000)
    ]
    with mariadb.connect(mariadb_database) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO mixed VALUES (" + ", ".join(["%s"] * (len(names) + 1)) + ")",
            [list(row.values()) for row in expected],
        )

    with opened(mariadb_url) as warehouse:
        got = rows(warehouse, "SELECT * FROM mixed ORDER BY id")

    assert got == expected


def test_the_json_of_mysql_is_json() -> None:
    # MariaDB has no such type, and tells its own JSON as LONGTEXT.
    found = reading(SimpleNamespace(type_code=245, flags=128, length=2**32 - 1, charsetnr=63))

    assert (found.word, found.metadata) == ("JSON", JSON)


@pytest.mark.parametrize("length", [0xFFFFFF - 7, 0xFFFFFF - 6, 0xFFFFFF, 0x1000000, 40_000_000])
def test_rows_of_several_packets_arrive_whole(mariadb_url: str, length: int) -> None:
    sql = f"SELECT IF(seq % 2 = 0, repeat('x', {length}), seq) AS a FROM seq_1_to_4"
    with opened(mariadb_url) as warehouse:
        column = warehouse.query(sql, timeout=TIMEOUT).read_all()["a"]

    assert [len(text) for text in column.to_pylist()] == [1, length, 1, length]
    assert set(column[1].as_py()) == {"x"}


def test_a_boolean_that_holds_other_numbers_is_refused_by_name(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    mariadb.execute("CREATE TABLE films (stars TINYINT(1))", mariadb_database)
    mariadb.execute("INSERT INTO films VALUES (1), (5), (NULL)", mariadb_database)
    with opened(mariadb_url) as warehouse:
        with pytest.raises(WarehouseError, match="the column `stars` is TINYINT") as caught:
            rows(warehouse, "SELECT stars FROM films")

        assert "`stars + 0 AS stars`" in caught.value.hint
        assert rows(warehouse, "SELECT stars + 0 AS stars FROM films") == [{"stars": 1}, {"stars": 5}, {"stars": None}]


def test_an_incremental_query_compares_in_utc(mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str) -> None:
    last = int(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp())
    mariadb.execute("CREATE TABLE people (id INT, updated_at TIMESTAMP, updated_on DATETIME)", mariadb_database)
    for number, at in enumerate([last - 1, last, last + 1]):
        utc = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        mariadb.execute(f"INSERT INTO people VALUES ({number}, FROM_UNIXTIME({at}), '{utc}')", mariadb_database)
    with opened(mariadb_url) as warehouse:
        for column in ("updated_at", "updated_on"):
            got = rows(warehouse, f"SELECT id FROM people WHERE {column} >= FROM_UNIXTIME({last})")

            assert got == [{"id": 1}, {"id": 2}]


def test_settings_of_the_server_do_not_change_what_arrives(mariadb_database: str, mariadb: MariaDBServer) -> None:
    settings = {
        "sql_select_limit": ("1", "DEFAULT"),
        "max_statement_time": ("0.01", "DEFAULT"),
        "character_set_server": ("latin1", "utf8mb4"),
        "time_zone": ("'-11:00'", "'+05:30'"),
    }
    mariadb.execute("CREATE TABLE people AS SELECT TIMESTAMP '2024-01-02 03:04:05' AS t", mariadb_database)
    try:
        for name, (value, _) in settings.items():
            mariadb.execute(f"SET GLOBAL {name} = {value}")
        with opened(mariadb.url(mariadb_database)) as warehouse:
            got = rows(warehouse, "SELECT '€' AS e, @@time_zone AS z, sleep(0.1) AS s UNION ALL SELECT 'a', 'b', 2")
    finally:
        for name, (_, usual) in settings.items():
            mariadb.execute(f"SET GLOBAL {name} = {usual}")

    assert got == [{"e": "€", "z": "+00:00", "s": 0}, {"e": "a", "z": "b", "s": 2}]


def test_a_table_that_others_hold_is_waited_for_until_the_timeout(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    with opened(mariadb_url) as warehouse:
        with mariadb.connect(mariadb_database) as holder:
            holder.query("LOCK TABLES people WRITE")
            with pytest.raises(WarehouseError, match=r"over the timeout of 0\.5 seconds"):
                warehouse.query("SELECT id FROM people", timeout=timedelta(seconds=0.5)).read_all()

        assert rows(warehouse, "SELECT id FROM people") == [{"id": 1}]


def test_a_table_that_is_altered_before_it_is_read_is_an_error(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    with opened(mariadb_url) as warehouse:
        result = warehouse.query("SELECT * FROM people", timeout=TIMEOUT)
        mariadb.execute("ALTER TABLE people ADD COLUMN name TEXT", mariadb_database)

        with pytest.raises(WarehouseError) as caught:
            result.read_all()

    assert "un the sync again" in caught.value.hint
