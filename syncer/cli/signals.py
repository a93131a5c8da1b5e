"""What SIGINT and SIGTERM do: they end the process at once, or a run as soon as what it sent is settled.

A thread waits for them, since the main thread may be inside a driver for as long as a query takes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from syncer.sync.progress import PATIENCE

if TYPE_CHECKING:
    from syncer.sync.progress import Progress

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Seconds that the warehouse may then take to cancel the query.
_CANCEL_SECONDS = 5.0


_received: list[int] = []
_listeners: list[Callable[[], object]] = []


def install() -> None:
    """Begin to wait for signals; one that the caller had ignored stays ignored."""
    if os.name != "posix":
        return
    taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in taken:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()


def exit_code() -> int | None:
    """The code to exit with, once a signal has arrived."""
    return 128 + _received[0] if _received else None


def answered() -> None:
    """Let the process exit as if no signal had come: what was asked is done."""
    _received.clear()


@contextmanager
def awaited(progress: Progress, abandon: Callable[[], object]) -> Iterator[None]:
    """Let a run end well at the first signal; the second one ends the process at once.

    Before it has sent anything a run is given a second to end by itself; then its query is cancelled, and if that
    does not help either, *abandon* is called in another thread and the process ends.
    """
    ended = threading.Event()

    def stop() -> None:
        progress.token.cancel("stopped by a signal")
        if progress.phase is not None and progress.phase.may_have_sent:
            print("stopping after the batch in hand; a second signal ends at once", file=sys.stderr, flush=True)
        elif not ended.wait(PATIENCE + _CANCEL_SECONDS):
            with suppress(Exception):
                abandon()
            _leave(_received[0])

    with heard(stop):
        try:
            yield
        finally:
            ended.set()


@contextmanager
def heard(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop*, in another thread, at the first signal; the second one ends the process at once."""
    _listeners.append(stop)
    try:
        yield
    finally:
        _listeners.clear()


def _watch(pipe: int) -> None:
    while True:
        number = os.read(pipe, 1)[0]
        if number not in _SIGNALS:
            continue
        stop = next(iter(_listeners), None)
        if _received or stop is None:
            _leave(number)
        _received.append(number)
        stop()


def _leave(number: int) -> NoReturn:
    if sys.stderr.isatty():
        # A progress bar hides the cursor.
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(128 + number)
