"""S3 as moto speaks it, in a process of its own, which asks nobody for a right."""

from __future__ import annotations

import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import started

#: What logs in to it.
KEY_ID, SECRET = "AKIASYNCERTESTS00001", "s3cr3t-Pa55-of-the-bucket"

_BUCKET = "snapshots"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Where snapshots go, as SYNCER_SNAPSHOTS_URL has it: an empty bucket; *folder* is for the server's log."""
    with started(
        lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        connect=lambda port: socket.create_connection(("127.0.0.1", port), timeout=2).close(),
        refused=OSError,
        log=folder / "s3.log",
        end=signal.SIGKILL,
    ) as (_, port):
        endpoint = f"http://127.0.0.1:{port}"
        made = urllib.request.Request(f"{endpoint}/{_BUCKET}", method="PUT", data=b"")
        with urllib.request.urlopen(made, timeout=60):
            yield f"s3://{_BUCKET}/of/syncer?endpoint={endpoint}&region=us-east-1"
