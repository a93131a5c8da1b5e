"""A stand-in for Snowflake, for tests: a process of its own on a free port of 127.0.0.1.

It has one user, one warehouse, and any databases that a test asks for. tests.servers.snowflake_stand_in is the program.
"""

from __future__ import annotations

import base64
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import snowflake.connector

from tests.servers.process import started

USER, PASSWORD, TOKEN, WAREHOUSE = "SYNC", "pass word/1", "the-token", "LOADING"

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnowflakeServer:
    """A running stand-in."""

    port: int
    pid: int
    _numbers: Iterator[int]

    def new_database(self) -> str:
        """The name of an empty database."""
        name = f"test_{next(self._numbers)}"
        self._put(f"databases/{name}", b"")
        return name

    def execute(self, database: str, *statements: str) -> None:
        """Run *statements* in a database, in its schema `public`."""
        with snowflake.connector.connect(
            user=USER, password=PASSWORD, account="account1", host="127.0.0.1", port=self.port, protocol="http",
            database=database, schema="public", warehouse=WAREHOUSE, use_proxy_env=False,
            enable_server_session_keep_alive_auto_detection=False,
        ) as connection:  # fmt: skip
            for statement in statements:
                connection.cursor().execute(statement)

    def url(self, path: str, *, login: str = f"{USER}:pass%20word%2F1", **parameters: str) -> str:
        """Where to connect to a database or `database/schema`; an empty parameter is left out."""
        wanted = {"host": "127.0.0.1", "port": str(self.port), "protocol": "http", "warehouse": WAREHOUSE} | parameters
        query = "&".join(f"{name}={value}" for name, value in wanted.items() if value)
        return f"snowflake://{login}@my_org-account1/{path}?{query}"

    def add_result(
        self,
        name: str,
        columns: Sequence[dict[str, Any]],
        parts: Sequence[pa.Table],
        *,
        further_parts: Sequence[str] = (),
        missing_rows: int = 0,
    ) -> None:
        """Make each query that mentions *name* return the rows of *parts* as they stand.

        Shapes:
            columns: of each column what the service tells of it: `name`, `type`, `precision`, `scale`, ….
            further_parts: `never` is a part that does not come, `gone` one that is refused.
            missing_rows: how many more rows are told of than sent.
        """
        laid = {
            "rowtype": columns,
            "parts": [base64.b64encode(ipc(part)).decode() for part in parts],
            "further_parts": further_parts,
            "missing_rows": missing_rows,
        }
        self._put(f"results/{name}", json.dumps(laid).encode())

    def add_refusal(self, name: str, code: str, state: str, message: str, *, when_described: bool = False) -> None:
        """Make each query that mentions *name* fail, when it runs or already when it is described."""
        column = {"name": "A", "type": "text", "nullable": True, "length": 10, "byteLength": 10}
        laid = {"rowtype": [column], "refusal": (code, state, message)}
        laid |= {"refusal_when_described": (code, state, message)} if when_described else {}
        self._put(f"results/{name}", json.dumps(laid).encode())

    def add_role(self, name: str, grants: Sequence[tuple[str, str, str]]) -> None:
        """A role with grants of a privilege on a kind of thing with a name."""
        self._put(f"grants/{name}", json.dumps(grants).encode())

    def add_public_key(self, pem: bytes) -> None:
        """Let whoever has the private key log in as the user."""
        self._put(f"keys/{USER}", pem)

    def running(self) -> int:
        """How many statements run."""
        return len(self._seen()["running"])

    def statements(self) -> list[str]:
        """The statements so far, in order."""
        return [str(sql) for sql in self._seen()["statements"]]

    def sessions(self) -> list[dict[str, Any]]:
        """What the sessions so far were opened with, in order."""
        found: list[dict[str, Any]] = self._seen()["sessions"]
        return found

    def _seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stand-in", timeout=30) as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen

    def _put(self, path: str, body: bytes) -> None:
        address = f"http://127.0.0.1:{self.port}/stand-in/{path}"
        urllib.request.urlopen(urllib.request.Request(address, body, method="PUT"), timeout=30).close()


def ipc(rows: pa.Table) -> bytes:
    """*rows* as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


@contextmanager
def snowflake_server() -> Iterator[SnowflakeServer]:
    """Start a stand-in; it is gone afterwards."""
    with TemporaryDirectory() as folder, _started(Path(folder)) as (pid, port):
        yield SnowflakeServer(port=port, pid=pid, _numbers=count(1))


def _started(folder: Path) -> AbstractContextManager[tuple[int, int]]:
    return started(
        lambda port: [sys.executable, "-m", "tests.servers.snowflake_stand_in", str(port)],
        connect=lambda port: urllib.request.urlopen(f"http://127.0.0.1:{port}/stand-in", timeout=2).close(),
        refused=urllib.error.URLError,
        log=folder / "log",
        end=signal.SIGKILL,
        cwd=_ROOT,
    )
