"""A real PgBouncer for tests: Debian's `pgbouncer`, in transaction mode, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

_SECONDS = 60.0

_SETTINGS = """
[databases]
* = host={host} port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
logfile = {folder}/log
pidfile = {folder}/pid
"""


@dataclass(kw_only=True)
class Pooler:
    """PgBouncer before one server; more sessions of clients than of the server."""

    #: Where to connect, in place of the server's own URL.
    url: str
    _command: list[str]
    _port: int
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let it be dead while the block runs, and start anew."""
        self.stop()
        yield
        self.start()

    def start(self) -> None:
        """Run until `stop`; it takes clients once this returns."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            except OSError:
                assert self._process.poll() is None, "PgBouncer did not start"
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        """Kill it; nobody who is connected is told why."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_SECONDS)
            self._process = None


@contextmanager
def pgbouncer(url: str) -> Iterator[Pooler]:
    """Pool the sessions of a server that trusts `postgres`, until the block ends."""
    program, server = _program(), urlsplit(url)
    # Root may have a TMPDIR that `nobody` cannot enter.
    parent = "/tmp" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="syncer-pgbouncer-", dir=parent) as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(host=server.hostname, server=server.port, port=port, folder=folder))
        # As root it refuses to run.
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        if as_nobody:
            shutil.chown(folder, "nobody")
        made = Pooler(
            url=f"postgresql://postgres@127.0.0.1:{port}{server.path}",
            _command=[program, "-q", *as_nobody, str(settings)],
            _port=port,
        )
        probe.close()
        made.start()
        try:
            yield made
        finally:
            made.stop()


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        said = "PgBouncer is not installed: `apt-get install pgbouncer`"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found
