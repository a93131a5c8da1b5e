"""A server's process: started on a free port, waited for until it answers, and ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS = 60.0


@contextmanager
def started(
    command: Callable[[int], Sequence[str]],
    *,
    connect: Callable[[int], object],
    refused: type[Exception],
    log: Path,
    end: signal.Signals,
    **options: Any,
) -> Iterator[tuple[int, int]]:
    """The id and the port of a server's process, which answers; it is ended afterwards.

    Shapes:
        command: starts the server on a port of 127.0.0.1.
        connect: connects to a port, or raises *refused*.
        log: the file for what the server prints.
        end: the signal that ends it.
        options: as `subprocess.Popen` has them.
    """
    process, port = _start(command, connect, refused, log, options)
    try:
        yield process.pid, port
    finally:
        process.send_signal(end)
        process.wait(timeout=_SECONDS)


def _start(
    command: Callable[[int], Sequence[str]],
    connect: Callable[[int], object],
    refused: type[Exception],
    log: Path,
    options: dict[str, Any],
) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(3):  # Another process may take the port first.
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(command(port), stdout=output, stderr=output, start_new_session=True, **options)
        if _answers(process, port, connect, refused):
            return process, port
        process.kill()
        process.wait()
    raise RuntimeError(f"`{command(0)[0]}` did not start: {log.read_text()}")


def _answers(
    process: subprocess.Popen[bytes], port: int, connect: Callable[[int], object], refused: type[Exception]
) -> bool:
    deadline = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            connect(port)
        except refused:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
