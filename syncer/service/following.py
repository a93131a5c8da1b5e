"""Following a folder that is edited: by the file system's events, and by a look at it where none come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import watchfiles

log = logging.getLogger(__name__)

#: Milliseconds without a further change after which changed files are read.
_SETTLED_MILLISECONDS = 300
#: Seconds after which the folder is read whether there were events or not: network file systems raise none, a replaced
#: folder is another one for the operating system, and its watches may be used up.
LOOK_SECONDS = 60.0


def follow(folder: Path, look: Callable[[], object], *, stopped: threading.Event) -> None:
    """Call *look* soon after each change in *folder*, and at least every LOOK_SECONDS, until *stopped*.

    An error of *look* is logged, and the next change is looked at again.
    """
    has_events = True
    while not stopped.is_set():
        watched = _identity(folder)
        try:
            for _ in _events(folder, stopped):
                if not has_events:
                    log.info("changes of definitions are seen at once again")
                has_events = True
                _try(look)
                if _identity(folder) != watched:
                    break
            continue
        except FileNotFoundError:
            # The folder is gone for now, as while it is replaced.
            seconds = min(2.0, LOOK_SECONDS)
        except Exception as exc:
            if has_events:
                reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
                log.warning(
                    "changes of definitions are seen up to %.0f seconds later, as the folder cannot be watched: %s",
                    LOOK_SECONDS,
                    reason,
                )
            has_events, seconds = False, LOOK_SECONDS
        stopped.wait(seconds)
        _try(look)


def _try(look: Callable[[], object]) -> None:
    try:
        look()
    except Exception:
        log.exception("a change of the definitions could not be taken in")


def _events(folder: Path, stopped: threading.Event) -> Iterator[object]:
    return watchfiles.watch(
        folder,
        stop_event=stopped,
        debounce=_SETTLED_MILLISECONDS,
        rust_timeout=int(LOOK_SECONDS * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
    )


def _identity(folder: Path) -> tuple[int, int] | None:
    """What the operating system knows a folder by, whatever its name; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
