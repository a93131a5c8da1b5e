"""Prism, a checker that others wrote: a proxy that refuses what Customer.io's published definitions refuse."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers.customerio import definitions
from tests.servers.process import started

#: The variable that names the program, of the npm package `@stoplight/prism-cli`.
PROGRAM = "PRISM"


@contextmanager
def prism_proxy(api: str, upstream: str) -> Iterator[str]:
    """The address of a proxy for one API of *upstream*; skips the test where there is no Prism or no definition."""
    program = os.environ.get(PROGRAM)
    if not program:
        said = f"{PROGRAM} names no program of `@stoplight/prism-cli`"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    document = definitions.document(api)
    if document is None:
        pytest.skip("Customer.io's definitions are not beside this repository")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "api.json"
        file.write_text(json.dumps(document))
        with started(
            lambda port: [program, "proxy", str(file), upstream, "--errors", "--port", str(port)],
            connect=lambda port: socket.create_connection(("127.0.0.1", port)).close(),
            refused=OSError,
            log=Path(folder) / "log",
            end=signal.SIGKILL,
        ) as (_, port):
            yield f"http://127.0.0.1:{port}"
