"""Who people are, what is known of them, and the keys of a workspace are told by no log, error or run record."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.customerio import connection
from connectors.customerio.errors import HIDDEN, LONGEST, kept, kept_of_many
from connectors.support.connection import ConnectionName
from tests.cli import forked
from tests.cli.forked import Result
from tests.connectors.customerio.logging_everything import log_everything
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import LOST_BEFORE, Fault

#: Part of every identifier, value and key here.
CANARY = "canary"

#: What the run log keeps of a rejected row: its key, its values, and their digest.
KEPT = {"key", "row_values", "row_digest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A working folder."""

    path: Path

    def syncer(self, *arguments: str) -> Result:
        """Run a command that logs everything."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return forked.run(*arguments, folder=self.path, environment=environment, before=log_everything)

    @property
    def log(self) -> str:
        """All that was logged."""
        return (self.path / "everything.log").read_text()

    @property
    def records(self) -> str:
        """What the run log says of runs and of rejections, without the rejections' rows, which it keeps on purpose."""
        with closing(sqlite3.connect(self.path / ".syncer/runs.db")) as database:
            runs = database.execute("SELECT * FROM syncer_runs").fetchall()
            columns = [row[1] for row in database.execute("PRAGMA table_info(syncer_rejections)")]
            told = ", ".join(name for name in columns if name not in KEPT)
            assert set(columns) >= KEPT
            return repr(runs) + repr(database.execute(f"SELECT {told} FROM syncer_rejections").fetchall())


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    keys = {name: f"{CANARY}-{name}" for name in ("site_id", "api_key", "app_api_key", "cdp_api_key")}
    with customerio_server(**keys) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, server: CustomerIOServer) -> Folder:
    definitions = tmp_path / "sync_definitions"
    data = definitions / "data"
    data.mkdir(parents=True)
    for name, header in {
        "people": "entity: person\nperson: {id: id}\non_removed: delete",
        "accounts": "entity: object\nobject: {type: account, id: id}",
        "members": "entity: relationship\nperson: {id: id}\nobject: {type: account, id: account_id}",
        "coupons": "entity: collection\ncollection: coupons\nkey: id",
    }.items():
        (definitions / f"{name}.sql").write_text(f"/* sync\n{header}\n*/\nSELECT * FROM {name}\n")
    for name in ("people", "accounts", "members", "coupons"):
        write(tmp_path, name, "first")
    settings = {
        "SYNCER_WAREHOUSES__DEFAULT__URL": "duckdb:///sync_definitions/data",
        **server.environment(),
        "SYNCER_STORES__DEFAULT__CDP_API_KEY": server.workspace.cdp_api_key,
        "SYNCER_STORES__DEFAULT__CDP_URL": server.address,
    }
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    return Folder(path=tmp_path)


def write(folder: Path, name: str, word: str, rows: int = 9) -> None:
    """Give a table rows of which every value is a canary."""
    columns = {
        "people": "{id},{mail},{value}",
        "accounts": "{id},{value},{value}",
        "members": "{id},{value},{value}",
        "coupons": "{id},{value},{value}",
    }
    header = {"people": "id,email,plan", "members": "id,account_id,role"}.get(name, "id,name,note")
    lines = [
        columns[name].format(id=f"{CANARY}-id-{i}", mail=f"{CANARY}{i}@example.com", value=f"{CANARY}_{word}_{i}")
        for i in range(rows)
    ]
    (folder / f"sync_definitions/data/{name}.csv").write_text("\n".join([header, *lines]) + "\n")


def assert_nothing_tells(folder: Folder, *ended: Result) -> None:
    told = {"log": folder.log, "stderr": "".join(one.err for one in ended), "records": folder.records}
    for where, text in told.items():
        lines = [line for line in text.splitlines() if CANARY in line.lower()]
        assert not lines, f"{where}: {lines[:3]}"


def test_commands_that_end_well_tell_nothing(folder: Folder) -> None:
    ended = [
        folder.syncer("plan", "people"),
        folder.syncer("run", "--all"),
        folder.syncer("connections", "--test"),
        folder.syncer("show", "person", f"{CANARY}-id-1"),
        folder.syncer("show", "object", "account", f"{CANARY}-id-1"),
    ]
    write(folder.path, "people", "second", rows=8)
    ended.append(folder.syncer("run", "people"))

    assert [one.code for one in ended] == [0] * len(ended), ended
    assert f"{CANARY}_first_1" in ended[3].out
    assert_nothing_tells(folder, *ended)


def _poisoned(server: CustomerIOServer) -> None:
    server.workspace.faults.poison = lambda item: True


def _refused(server: CustomerIOServer) -> None:
    server.workspace.faults.refuses = lambda item: True


def _always(fault: Fault) -> Callable[[CustomerIOServer], None]:
    def misbehave(server: CustomerIOServer) -> None:
        server.workspace.faults.always = fault

    return misbehave


ECHO = json.dumps({"errors": [{"reason": f"{CANARY}_first_1", "batch_index": "x", "message": f"{CANARY}-id-1"}]})
TOO_LARGE = json.dumps({"errors": [{"detail": f"row {CANARY}-id-1 ({CANARY}_first_1) is not valid", "status": "422"}]})
ELSEWHERE = {"Location": f"https://{CANARY}.example.com/v1/customers/{CANARY}-id-1?key={CANARY}"}


@pytest.mark.parametrize(
    ("misbehave", "ended_with"),
    [
        (_poisoned, "rejected"),
        (_refused, "rejected"),
        (_always(Fault(status=401, body=ECHO.encode())), "refuses the login: 401"),
        (_always(Fault(status=500, body=ECHO.encode())), "answered 500"),
        (_always(Fault(status=404, body=ECHO.encode())), "answered 404"),
        (_always(Fault(applied=True, status=200, body=f"[{ECHO}]".encode())), "did not answer for"),
        (_always(Fault(status=301, headers=ELSEWHERE)), "from elsewhere: 301"),
        # The server ended the connection, or it was reset.
        (_always(LOST_BEFORE), "did not answer: the "),
    ],
    ids=["poison", "refused", "login", "down", "not found", "unknown shape", "redirect", "cut"],
)
def test_runs_that_fail_tell_nothing(
    folder: Folder, server: CustomerIOServer, misbehave: Callable[[CustomerIOServer], None], ended_with: str
) -> None:
    server.workspace.faults.quoting = True
    misbehave(server)

    ended = folder.syncer("run", "--all")

    assert ended.code == 1
    assert ended.err.count(ended_with) >= 3
    assert_nothing_tells(folder, ended)


def test_a_collection_that_is_refused_tells_nothing(folder: Folder, server: CustomerIOServer) -> None:
    server.workspace.faults.always = Fault(status=422, body=TOO_LARGE.encode())

    ended = folder.syncer("run", "coupons")

    assert "rejected" in ended.err
    assert "is not valid" in folder.records
    assert_nothing_tells(folder, ended)


def test_a_refusal_of_the_pipelines_api_tells_nothing(folder: Folder, server: CustomerIOServer) -> None:
    with (folder.path / ".env").open("a") as settings:
        settings.write("SYNCER_STORES__DEFAULT__VIA=pipelines\n")
    server.workspace.faults.quoting = True
    _poisoned(server)

    ended = folder.syncer("run", "people")

    assert ended.code == 1
    assert "not valid" in folder.records
    assert_nothing_tells(folder, ended)


def test_what_is_read_back_from_elsewhere_tells_nothing(folder: Folder, server: CustomerIOServer) -> None:
    folder.syncer("run", "people")
    server.workspace.faults.reading = Fault(status=301, headers=ELSEWHERE)

    ended = folder.syncer("show", "person", f"{CANARY}-id-1")

    assert "from elsewhere: 301" in ended.err
    assert_nothing_tells(folder, ended)


# What is kept of a reason

ITEM = json.dumps(
    {
        "type": "person",
        "identifiers": {"id": "u-17"},
        "timestamp": 1790000000,
        "attributes": {
            "email": "Ann@x.com",
            "bio": 'says "hi"\nand more',
            "seats": 50,
            "on": True,
            "tree": {"a": ["Oslo"]},
        },
    }
)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("invalid: attributes: seats is over 1000", "invalid: attributes: seats is over 1000"),
        ("id u-17 is known", f"id {HIDDEN} is known"),
        ("id 'U-17' is known", f"id '{HIDDEN}' is known"),
        ("u-170 and 500 are others", "u-170 and 500 are others"),
        ("seats=50", f"seats={HIDDEN}"),
        ("ann@x.com belongs to bob@y.com", f"{HIDDEN} belongs to {HIDDEN}"),
        ("mail ann%40x.com", f"mail {HIDDEN}"),
        (r'bio: "says \"hi\"\nand more"', f'bio: "{HIDDEN}"'),
        ("city: Oslo", f"city: {HIDDEN}"),
        ("a\nb\0c\ud800", "a b c "),
        ("", ""),
    ],
)
def test_a_reason_is_kept_without_what_the_row_says(reason: str, expected: str) -> None:
    assert kept(reason, item=ITEM) == expected


def test_a_value_is_hidden_that_is_cut_short_by_the_reason_or_by_its_limit() -> None:
    item = json.dumps({"identifiers": {"id": "1"}, "attributes": {"bio": "confidential-notes " * 40}})

    assert "conf" not in kept("bio 'confidential-not...' is too long", item=item)
    assert kept("x" * (LONGEST - 5) + " " + "confidential-notes", item=item).endswith("x [hid")


def test_a_reason_about_many_rows_is_kept_without_their_values() -> None:
    deep = "[" * 5_000 + "secret" + "]" * 5_000

    assert kept_of_many("row ten: no list", rows='[{"code":"ten","off":1}]') == f"row {HIDDEN}: no list"
    assert kept_of_many("row secret: no list", rows=f'[{{"code":{deep}}}]') == f"row {HIDDEN}: no list"


@given(
    values=st.lists(st.text(min_size=1) | st.integers() | st.floats(allow_nan=False), min_size=1, max_size=5),
    around=st.text(alphabet=" .,:'\"()[]=\n\\", min_size=1),
)
def test_no_value_that_stands_by_itself_is_kept(values: list[Any], around: str) -> None:
    item = json.dumps({"identifiers": {"id": "u-17"}, "attributes": {f"a{i}": value for i, value in enumerate(values)}})
    told = [value if isinstance(value, str) else json.dumps(value) for value in values]

    text = kept(around.join(["", *told, ""]), item=item)

    words = set(re.findall(r"[0-9A-Za-z]{2,}", text.replace(HIDDEN, " ")))
    assert not words


def test_the_client_is_quiet_whatever_levels_are_set(
    caplog: pytest.LogCaptureFixture, server: CustomerIOServer
) -> None:
    caplog.set_level("DEBUG")
    for name in ("httpx2", "httpcore2.http11"):
        caplog.set_level("DEBUG", name)

    api = connection.Api(ConnectionName("store", "crm"), server.address, login="x", key_setting="KEY", per_second=10)
    with closing(api), pytest.raises(Exception, match="refuses the login"):
        api.call("GET", f"/v1/customers/{CANARY}/attributes")

    assert not [record for record in caplog.records if record.name.startswith(("httpx2", "httpcore2"))]
