"""What only MySQL and MariaDB can do to a reader."""

from __future__ import annotations

import random
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from connectors import open_warehouse
from connectors.mysql_connection import address, connect
from connectors.mysql_text import NotASelectError, one_select
from syncer.errors import SettingsError, SyncerError, WarehouseError
from syncer.interfaces import Warehouse
from tests.certificates import write_certificates
from tests.mariadb_server import MariaDBServer, mariadb_server

TIMEOUT = timedelta(minutes=1)
SECRET = "s3cr3t-Pa55"


@contextmanager
def opened(url: str) -> Iterator[Warehouse]:
    warehouse = open_warehouse("crm", url)
    try:
        yield warehouse
    finally:
        warehouse.close()


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = warehouse.query(sql, timeout=TIMEOUT).read_all().to_pylist()
    return found


@pytest.fixture
def database_url(mariadb: MariaDBServer, mariadb_database: str) -> str:
    """An empty database, as root."""
    return mariadb.url(mariadb_database)


@pytest.fixture
def user(mariadb: MariaDBServer, mariadb_database: str) -> Iterator[str]:
    """A user who may log in and nothing else."""
    name = f"analyst_{mariadb_database}"
    mariadb.execute(f"CREATE USER {name} IDENTIFIED BY '{SECRET}'")
    yield name
    mariadb.execute(f"DROP USER {name}")


@pytest.fixture
def user_url(mariadb: MariaDBServer, mariadb_database: str, user: str) -> str:
    """The user's way to the database, of which they may read the table `people`."""
    mariadb.execute("CREATE TABLE people (id int)", mariadb_database)
    mariadb.execute(f"GRANT SELECT ON {mariadb_database}.people TO {user}")
    return mariadb.url(mariadb_database, user=user, password=SECRET)


def test_a_connection_that_is_cut_half_way_is_an_error(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
) -> None:
    with opened(database_url) as warehouse:
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
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT seq AS id, 'old' AS state FROM seq_1_to_200000", mariadb_database)
    with opened(database_url) as warehouse:
        result = warehouse.query("SELECT state FROM people", timeout=TIMEOUT)
        first = result.read_next_batch()
        mariadb.execute("UPDATE people SET state = 'new'", mariadb_database)
        mariadb.execute("DELETE FROM people WHERE id % 2 = 0", mariadb_database)

        rest = result.read_all()

    assert first.num_rows + rest.num_rows == 200_000
    assert set(rest["state"].to_pylist()) == {"old"}


def test_any_mixture_of_values_and_nulls_arrives_as_another_reader_has_it(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
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

    with opened(database_url) as warehouse:
        got = rows(warehouse, "SELECT * FROM mixed ORDER BY id")

    assert got == expected


@pytest.mark.parametrize("length", [0xFFFFFF - 7, 0xFFFFFF - 6, 0xFFFFFF, 0x1000000, 40_000_000])
def test_rows_of_several_packets_arrive_whole(database_url: str, length: int) -> None:
    sql = f"SELECT IF(seq % 2 = 0, repeat('x', {length}), seq) AS a FROM seq_1_to_4"
    with opened(database_url) as warehouse:
        column = warehouse.query(sql, timeout=TIMEOUT).read_all()["a"]

    assert [len(text) for text in column.to_pylist()] == [1, length, 1, length]
    assert set(column[1].as_py()) == {"x"}


def test_a_boolean_that_holds_other_numbers_is_refused_by_name(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
) -> None:
    mariadb.execute("CREATE TABLE films (stars TINYINT(1))", mariadb_database)
    mariadb.execute("INSERT INTO films VALUES (1), (5), (NULL)", mariadb_database)
    with opened(database_url) as warehouse:
        with pytest.raises(WarehouseError, match="the column `stars` is TINYINT") as caught:
            rows(warehouse, "SELECT stars FROM films")

        assert "`stars + 0 AS stars`" in caught.value.hint
        assert rows(warehouse, "SELECT stars + 0 AS stars FROM films") == [{"stars": 1}, {"stars": 5}, {"stars": None}]


def test_an_incremental_query_compares_in_utc(mariadb: MariaDBServer, mariadb_database: str, database_url: str) -> None:
    last = int(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp())
    mariadb.execute("CREATE TABLE people (id INT, updated_at TIMESTAMP, updated_on DATETIME)", mariadb_database)
    for number, at in enumerate([last - 1, last, last + 1]):
        utc = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        mariadb.execute(f"INSERT INTO people VALUES ({number}, FROM_UNIXTIME({at}), '{utc}')", mariadb_database)
    with opened(database_url) as warehouse:
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


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '{}'",
        "SELECT 1 INTO DUMPFILE '{}'",
        "SELECT 1.5INTO OUTFILE '{}'",
        r"SELECT \NINTO OUTFILE '{}'",
        "SELECT 1 /**/INTO/**/OUTFILE '{}'",
        "SELECT 1 -- comment\nINTO OUTFILE '{}'",
        "SELECT 1 --\u00a0INTO OUTFILE '{}'",
        r"SELECT '\\' INTO OUTFILE '{}' -- '",
        "SELECT 1 /*!50000 INTO OUTFILE '{}' */",
        "SELECT 1 /*M!100000 INTO OUTFILE '{}' */",
        "SELECT SQL_NO_CACHE 1 into outfile '{}'",
        "(SELECT 1) INTO OUTFILE '{}'",
        "SELECT 1 UNION SELECT 2 INTO OUTFILE '{}'",
        "SELECT * FROM (SELECT 1 INTO OUTFILE '{}') AS q",
    ],
)
def test_a_file_on_the_server_is_not_written(mariadb: MariaDBServer, database_url: str, sql: str) -> None:
    path = mariadb.folder / "written"
    mariadb.execute(f"SELECT 1 INTO OUTFILE '{path}'")
    assert path.exists(), "else this proves nothing"
    path.unlink()
    with opened(database_url) as warehouse:
        for ask in (warehouse.columns, lambda text: rows(warehouse, text)):
            with pytest.raises(WarehouseError):
                ask(sql.format(path))

    assert not path.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM people FOR UPDATE",
        "SELECT * FROM people LOCK IN SHARE MODE",
        "SELECT * FROM (SELECT * FROM people FOR UPDATE) AS q",
        "CALL read_people()",
        "SHOW TABLES",
        "DESCRIBE people",
        "ANALYZE SELECT 1",
        "SET @a = 1",
        "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
        "SELECT id FROM people WHERE id = ?",
        "SELECT 1 INTO @a",
        "SELECT 1 PROCEDURE ANALYSE()",
        "SELECT 'never closed",
        "SELECT 1 /* never closed",
        "SELECT 1 AS a\0",
    ],
)
def test_what_else_is_not_one_select_is_refused(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str, sql: str
) -> None:
    mariadb.execute("CREATE TABLE people (id int)", mariadb_database)
    mariadb.execute("CREATE PROCEDURE read_people() SELECT * FROM people", mariadb_database)
    with opened(database_url) as warehouse, pytest.raises(WarehouseError):
        warehouse.columns(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SQL_NO_CACHE 1 AS a",
        "SELECT 1 AS a FROM people USE INDEX FOR ORDER BY (PRIMARY)",
        "SELECT 1 AS a, substring('abc' FROM 1 FOR 2) AS b, 'INTO; it''s' AS c, \"FOR UPDATE\" AS d",
        "WITH a AS (SELECT 1 AS x) SELECT x AS a, x AS a FROM a",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 1) SELECT a FROM r",
        "(SELECT 1 AS a) UNION (SELECT 1) ORDER BY 1 LIMIT 1 -- the end",
        "SELECT 1 AS a # ; the end",
        "SELECT '\\'; INTO' AS a",
    ],
)
def test_what_looks_like_more_than_a_select_is_read(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str, sql: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    mariadb.execute("ALTER TABLE people ADD PRIMARY KEY (id)", mariadb_database)
    with opened(database_url) as warehouse:
        assert len(rows(warehouse, sql)) == 1


@pytest.mark.parametrize(
    ("sql_mode", "sql"),
    [
        ("NO_BACKSLASH_ESCAPES", r"SELECT '\' INTO OUTFILE 'x' -- '"),
        ("ANSI_QUOTES,STRICT_TRANS_TABLES", r'SELECT 1 AS "\" INTO OUTFILE "x" -- "'),
        ("", r"SELECT '\\' INTO OUTFILE 'x' -- '"),
        ("", r"SELECT `\` INTO OUTFILE 'x' -- `"),
        ("", "SELECT x'41'INTO OUTFILE 'x'"),
        ("", "SELECT 1e5INTO OUTFILE 'x'"),
        ("", "SELECT 1 FROM t WHERE a = 5FOR UPDATE"),
    ],
)
def test_what_a_quote_hides_depends_on_the_servers_mode(sql_mode: str, sql: str) -> None:
    with pytest.raises(NotASelectError, match=r"INTO|locks"):
        one_select(sql, sql_mode=sql_mode)


@pytest.mark.parametrize(
    ("sql_mode", "sql"),
    [
        ("", r"SELECT '\' INTO' AS a"),
        ("", r'SELECT "\" INTO" AS a'),
        ("NO_BACKSLASH_ESCAPES", r"SELECT '\', 'INTO'"),
        ("", "SELECT 1 AS `INTO`, 2 AS intone /* INTO */ -- INTO\n# INTO"),
    ],
)
def test_what_a_quote_or_comment_hides_is_no_word(sql_mode: str, sql: str) -> None:
    assert one_select(sql, sql_mode=sql_mode) == sql


def test_a_table_that_others_hold_is_waited_for_until_the_timeout(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    with opened(database_url) as warehouse:
        with mariadb.connect(mariadb_database) as holder:
            holder.query("LOCK TABLES people WRITE")
            with pytest.raises(WarehouseError, match=r"over the timeout of 0\.5 seconds"):
                warehouse.query("SELECT id FROM people", timeout=timedelta(seconds=0.5)).read_all()

        assert rows(warehouse, "SELECT id FROM people") == [{"id": 1}]


def test_a_table_that_is_altered_before_it_is_read_is_an_error(
    mariadb: MariaDBServer, mariadb_database: str, database_url: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    with opened(database_url) as warehouse:
        result = warehouse.query("SELECT * FROM people", timeout=TIMEOUT)
        mariadb.execute("ALTER TABLE people ADD COLUMN name TEXT", mariadb_database)

        with pytest.raises(WarehouseError) as caught:
            result.read_all()

    assert "un the sync again" in caught.value.hint


def test_writing_by_a_function_is_refused(mariadb: MariaDBServer, mariadb_database: str, database_url: str) -> None:
    mariadb.execute("CREATE TABLE people (id int)", mariadb_database)
    mariadb.execute("CREATE TABLE others (id int) ENGINE = MyISAM", mariadb_database)
    mariadb.execute("CREATE SEQUENCE numbers", mariadb_database)
    for table in ("people", "others"):
        mariadb.execute(
            f"CREATE FUNCTION sneak_{table}() RETURNS int BEGIN INSERT INTO {table} VALUES (1); RETURN 1; END",
            mariadb_database,
        )
    with opened(database_url) as warehouse:
        for call in ("sneak_people()", "sneak_others()", "nextval(numbers)", "setval(numbers, 9)"):
            with pytest.raises(WarehouseError, match="READ ONLY"):
                rows(warehouse, f"SELECT {call}")

    counted = "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM others), (SELECT nextval(numbers))"
    assert mariadb.execute(counted, mariadb_database) == [(0, 0, 1)]


def test_a_probe_finds_a_user_that_can_only_read(user_url: str) -> None:
    with opened(user_url) as warehouse:
        probe = warehouse.probe()

    assert (probe.can_write, probe.note) == (False, "")


@pytest.mark.parametrize(
    ("grant", "found"),
    [
        ("GRANT INSERT ON {database}.people TO {user}", "INSERT on {database}.people"),
        ("GRANT SELECT, UPDATE (id) ON {database}.people TO {user}", "UPDATE on {database}.people"),
        ("GRANT CREATE, DROP ON {database}.* TO {user}", "DROP on {database}.*"),
        ("GRANT ALL ON {database}.* TO {user}", "ALL PRIVILEGES on {database}.*"),
        ("GRANT FILE, SELECT ON *.* TO {user}", "FILE on *.*"),
        ("GRANT {user}_role TO {user}; SET DEFAULT ROLE {user}_role FOR {user}", "DELETE on {database}.people"),
    ],
)
def test_a_probe_finds_a_user_that_could_write(
    mariadb: MariaDBServer, mariadb_database: str, user: str, user_url: str, grant: str, found: str
) -> None:
    mariadb.execute(f"CREATE ROLE {user}_role")
    try:
        mariadb.execute(f"GRANT DELETE ON {mariadb_database}.people TO {user}_role")
        for statement in grant.format(database=mariadb_database, user=user).split("; "):
            mariadb.execute(statement)
        with opened(user_url) as warehouse:
            probe = warehouse.probe()
    finally:
        mariadb.execute(f"DROP ROLE {user}_role")

    assert probe.can_write
    assert found.format(database=mariadb_database) in probe.note


def test_a_missing_privilege_says_what_to_ask_for(mariadb: MariaDBServer, mariadb_database: str, user_url: str) -> None:
    mariadb.execute("CREATE TABLE salaries (id int)", mariadb_database)
    with opened(user_url) as warehouse, pytest.raises(WarehouseError, match="salaries") as caught:
        rows(warehouse, "SELECT * FROM salaries")

    assert "GRANT SELECT" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://{user}:wrong-{secret}@127.0.0.1:{port}/{database}", "Access denied"),
        ("mysql://{user}:{secret}@127.0.0.1:{port}/nowhere", "nowhere"),
        ("mysql://{user}:{secret}@127.0.0.1:1/{database}", "127.0.0.1:1"),
        ("mysql://{user}:{secret}@nowhere.invalid/{database}", "nowhere.invalid"),
        ("mysql://{user}:{secret}@{long}.invalid/{database}", "cannot connect"),
        ("mysql://{user}:{secret}@localhost/{database}?unix_socket=/nowhere/socket", "/nowhere/socket"),
        ("mysql://{user}:{secret}@127.0.0.1:{port}/{database}?ssl_mode=required", "TLS"),
    ],
)
def test_a_connection_that_fails_says_why_and_tells_no_secret(
    mariadb: MariaDBServer, mariadb_database: str, user: str, url: str, said: str
) -> None:
    filled = url.format(user=user, secret=SECRET, port=mariadb.port, database=mariadb_database, long="x" * 70)

    with pytest.raises(WarehouseError, match="warehouse `crm`: cannot connect") as caught:
        open_warehouse("crm", filled)

    assert said in caught.value.message
    assert "SYNCER_WAREHOUSES__CRM__URL" in caught.value.hint
    assert not _tells(caught.value, SECRET)


@pytest.mark.parametrize(
    ("parameters", "said", "hint"),
    [
        ("ssl_mod=REQUIRED", "`ssl_mod`", "`ssl_mode`"),
        ("sslmode=require", "`sslmode`", "`ssl_mode`"),
        ("local_infile=1", "`local_infile`", "unix_socket"),
        ("ssl-mode=VERIFY_IDENTIY", "`ssl_mode`", "`VERIFY_IDENTITY`"),
        ("charset=latin1", "`charset`", "CRM"),
        ("ssl_ca=/nowhere/ca.pem", "certificates", "`ssl_ca`"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(parameters: str, said: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_warehouse("crm", f"mysql://someone:{SECRET}@127.0.0.1:1/crm?{parameters}")

    assert said in caught.value.message
    assert hint in caught.value.hint
    assert not _tells(caught.value, SECRET)


@pytest.mark.parametrize(
    "password", ["left@right", "left/right", "left%zzright", "left?right@", "left#right", "left:right", "1/right"]
)
def test_a_password_that_is_not_quoted_is_not_told_in_parts(password: str) -> None:
    with pytest.raises((WarehouseError, SettingsError)) as caught:
        open_warehouse("crm", f"mysql://someone:{password}@127.0.0.1:1/crm")

    assert not _tells(caught.value, "left", "right")


@pytest.mark.parametrize("password", ["a@b/c:d%?#", "pässwörd€"])
def test_a_password_of_any_characters_logs_in(
    mariadb: MariaDBServer, mariadb_database: str, user: str, password: str
) -> None:
    mariadb.execute(f"ALTER USER {user} IDENTIFIED BY '{password}'")
    mariadb.execute(f"GRANT SELECT ON {mariadb_database}.* TO {user}")

    with opened(mariadb.url(mariadb_database, user=user, password=quote(password, safe=""))) as warehouse:
        assert rows(warehouse, "SELECT 1 AS a") == [{"a": 1}]


@pytest.mark.parametrize("scheme", ["mariadb", "mysql+pymysql", "mariadb+mariadbconnector"])
def test_other_spellings_of_the_scheme_are_understood(database_url: str, scheme: str) -> None:
    with opened(database_url.replace("mysql", scheme, 1) + "?charset=utf8mb4") as warehouse:
        assert rows(warehouse, "SELECT 1 AS a") == [{"a": 1}]


def test_a_socket_is_a_way_to_the_server(mariadb: MariaDBServer, mariadb_database: str) -> None:
    with opened(f"mysql://root@/{mariadb_database}?unix_socket={mariadb.socket}") as warehouse:
        assert rows(warehouse, "SELECT database() AS a") == [{"a": mariadb_database}]


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = address("crm", f"mysql://someone@127.0.0.1:{silent.getsockname()[1]}/crm")

        with pytest.raises(WarehouseError, match="cannot connect"):
            connect(to, seconds=0.2)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MariaDBServer, Path]]:
    """A server with a certificate for 127.0.0.1, and the folder of `ca.pem` and another authority's `other.pem`."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    with mariadb_server(
        ssl_ca=f"{folder}/ca.pem", ssl_cert=f"{folder}/server.pem", ssl_key=f"{folder}/server.key"
    ) as server:
        yield server, folder


@pytest.mark.parametrize(
    ("parameters", "is_encrypted"),
    [
        ("", True),
        ("?ssl_mode=REQUIRED", True),
        ("?ssl_ca={}/ca.pem", True),
        ("?ssl-mode=verify_identity&ssl-ca={}/ca.pem", True),
        ("?ssl_mode=DISABLED", False),
    ],
)
def test_a_connection_is_encrypted_where_the_server_can(
    certified: tuple[MariaDBServer, Path], parameters: str, is_encrypted: bool
) -> None:
    server, folder = certified
    with opened(server.url("mysql") + parameters.format(folder)) as warehouse:
        ((status),) = rows(warehouse, _CIPHER)
        result = warehouse.query("SELECT seq FROM seq_1_to_300000", timeout=TIMEOUT).read_all()
        with pytest.raises(WarehouseError, match="timeout"):
            warehouse.query("SELECT sleep(100)", timeout=timedelta(seconds=0.2)).read_all()

    assert (status["cipher"] != "") == is_encrypted
    assert result.num_rows == 300_000


_CIPHER = "SELECT variable_value AS cipher FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"


@pytest.mark.parametrize("parameters", ["?ssl_ca={}/other.pem", "?ssl_mode=VERIFY_CA", "?ssl_mode=VERIFY_IDENTITY"])
def test_a_certificate_of_somebody_else_is_refused(certified: tuple[MariaDBServer, Path], parameters: str) -> None:
    server, folder = certified

    with pytest.raises(WarehouseError, match="certificate") as caught:
        open_warehouse("crm", server.url("mysql") + parameters.format(folder))

    assert "ssl_ca" in caught.value.hint


def _tells(error: SyncerError, *secrets: str) -> bool:
    told = "".join(traceback.format_exception(error)) + error.message + error.hint
    return any(secret in told for secret in secrets)
