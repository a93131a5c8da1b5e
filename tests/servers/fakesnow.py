"""An emulator of Snowflake that others wrote: fakesnow, in an environment of its own, since it pins its packages."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import snowflake.connector

from tests.servers.process import started

#: The variable that names the Python of an environment with `fakesnow[server]`.
PYTHON = "FAKESNOW_PYTHON"
_PROGRAM = Path(__file__).with_name("fakesnow_program.py")


class Fakesnow:
    """A running emulator. It takes every login."""

    def __init__(self, port: int) -> None:
        self._port = port

    def execute(self, *statements: str) -> None:
        """Run *statements*."""
        with snowflake.connector.connect(
            user="ann", password="any", account="fakesnow", host="127.0.0.1", port=self._port, protocol="http",
            use_proxy_env=False, enable_server_session_keep_alive_auto_detection=False,
        ) as connection:  # fmt: skip
            for statement in statements:
                connection.cursor().execute(statement)

    def url(self, path: str, **parameters: str) -> str:
        """Where to connect to `database/schema`."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"snowflake://ann:any@fakesnow/{path}?host=127.0.0.1&port={self._port}&protocol=http{more}"


@contextmanager
def fakesnow_server() -> Iterator[Fakesnow]:
    """Start an emulator, or skip the test where there is none; it is gone afterwards."""
    python = os.environ.get(PYTHON)
    if not python:
        said = f"{PYTHON} names no Python with `fakesnow[server]` and `snowflake-connector-python<5`"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    with (
        TemporaryDirectory() as folder,
        started(
            lambda port: [python, "-I", str(_PROGRAM), str(port)],
            connect=lambda port: socket.create_connection(("127.0.0.1", port)).close(),
            refused=OSError,
            log=Path(folder) / "log",
            end=signal.SIGKILL,
            cwd=folder,
        ) as (_, port),
    ):
        yield Fakesnow(port)
