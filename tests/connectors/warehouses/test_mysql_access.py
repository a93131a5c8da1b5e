"""How MySQL and MariaDB are reached, and with which powers."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from connectors.mysql.connection import address, connect
from connectors.support.connection import ConnectionName
from syncer.model.errors import SettingsError, SyncerError, WarehouseError
from syncer.settings.registry import open_warehouse
from tests.connectors.warehouses.reading import TIMEOUT, opened, rows
from tests.contracts.probing import probed
from tests.servers.certificates import write_certificates
from tests.servers.mariadb import MariaDBServer, mariadb_server

SECRET = "s3cr3t-Pa55"


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


def test_a_probe_finds_a_user_that_can_only_read(user_url: str) -> None:
    with opened(user_url) as warehouse:
        probe = probed(warehouse)

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
            probe = probed(warehouse)
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
def test_other_spellings_of_the_scheme_are_understood(mariadb_url: str, scheme: str) -> None:
    with opened(mariadb_url.replace("mysql", scheme, 1) + "?charset=utf8mb4") as warehouse:
        assert rows(warehouse, "SELECT 1 AS a") == [{"a": 1}]


def test_a_socket_is_a_way_to_the_server(mariadb: MariaDBServer, mariadb_database: str) -> None:
    with opened(f"mysql://root@/{mariadb_database}?unix_socket={mariadb.socket}") as warehouse:
        assert rows(warehouse, "SELECT database() AS a") == [{"a": mariadb_database}]


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = address(ConnectionName("warehouse", "crm"), f"mysql://someone@127.0.0.1:{silent.getsockname()[1]}/crm")

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


_CIPHER = "SELECT variable_value AS cipher FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"


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


@pytest.mark.parametrize("parameters", ["?ssl_ca={}/other.pem", "?ssl_mode=VERIFY_CA", "?ssl_mode=VERIFY_IDENTITY"])
def test_a_certificate_of_somebody_else_is_refused(certified: tuple[MariaDBServer, Path], parameters: str) -> None:
    server, folder = certified

    with pytest.raises(WarehouseError, match="certificate") as caught:
        open_warehouse("crm", server.url("mysql") + parameters.format(folder))

    assert "ssl_ca" in caught.value.hint


def _tells(error: SyncerError, *secrets: str) -> bool:
    told = "".join(traceback.format_exception(error)) + error.message + error.hint
    return any(secret in told for secret in secrets)
