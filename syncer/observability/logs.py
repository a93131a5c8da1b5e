"""The log of a service on stderr: for people on a terminal, else one JSON object a line; never with a secret."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from syncer.model.errors import SyncerError
from syncer.model.spelling import visible
from syncer.observability.redaction import Redactor

#: The loggers whose level the settings say. Others' debug lines may hold rows, so of them only warnings are written.
_OWN = ("syncer", "connectors")

#: At most so many causes of an exception are logged.
_CAUSES = 5

#: Their debug lines are about the service itself.
_SERVING = ("apscheduler", "uvicorn", "watchfiles")


#: Seconds in which a warning or error is written once.
_REPEATED_SECONDS = 60.0

#: The most lines of the log to remember.
_REMEMBERED = 1000


class Repetitions(logging.Filter):
    """Lets a warning or an error that repeats through once a minute, and then says how often it came.

    Two are the same if they have the same logger, text, exception, sync and run.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: What was written, to when, and how often it came since; the oldest first.
        self._written: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        if record.levelno < logging.WARNING:
            return True
        about, now = _run.get(), self._clock()
        run = about and (about.name, about.run_id)
        error = record.exc_info[1] if record.exc_info else None
        own = getattr(record, "sync", ""), getattr(record, "run", "")
        same = (record.name, record.levelno, record.getMessage(), type(error), str(error), run, own)
        with self._lock:
            at, more = self._written.get(same, (now - _REPEATED_SECONDS, 0))
            if now - at < _REPEATED_SECONDS:
                self._written[same] = (at, more + 1)
                return False
            self._written[same] = (now, 0)
            self._written.move_to_end(same)
            while len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)
        if more:
            record.repeated = more
        return True


class Running(Protocol):
    """The run that a line of the log is about."""

    @property
    def name(self) -> str:
        """The sync's."""

    @property
    def run_id(self) -> str:
        """Empty until it is known."""


_run: ContextVar[Running | None] = ContextVar("syncer_run", default=None)


@contextmanager
def about(run: Running) -> Iterator[None]:
    """Add the sync and the run to every line that this thread logs meanwhile."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def write_to(stream: TextIO, *, level: str, secrets: Iterable[str], colours: bool) -> None:
    """Send the log of this process to *stream*, and nowhere else.

    Shapes:
        level: the name of one of logging's, in any letter case; what is below it is not written.
    """
    handler = logging.StreamHandler(stream)
    handler.setLevel(level.upper())
    handler.addFilter(Repetitions())
    handler.setFormatter(_formatter(Redactor(secrets), terminal=stream.isatty(), colours=colours))
    logging.basicConfig(handlers=[handler], force=True)
    _set_levels(logging.getLevelNamesMapping()[level.upper()])


def _set_levels(own: int) -> None:
    others = max(own, logging.WARNING)
    logging.getLogger().setLevel(others)
    for name in _OWN:
        logging.getLogger(name).setLevel(own)
    for name in _SERVING:
        logging.getLogger(name).setLevel(own if own <= logging.DEBUG else others)


def _formatter(redactor: Redactor, *, terminal: bool, colours: bool) -> logging.Formatter:
    renderer: Any = structlog.dev.ConsoleRenderer(colors=colours) if terminal else structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _add_run,
            _add_exception,
            partial(_clean, redactor, terminal),
            renderer,
        ],
    )


def _add_run(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # For uvicorn's own formatter.
    event.pop("color_message", None)
    run = _run.get()
    if run is not None:
        event.setdefault("sync", run.name)
        if run.run_id:
            event.setdefault("run", run.run_id)
    return event


def _add_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Log where an exception came from and its type; its text only if that is safe."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = _described(error)
    event.pop("stack_info", None)
    return event


def _described(error: BaseException) -> str:
    names: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(names) < _CAUSES:
        names.append(type(cause).__name__ + (f": {cause}" if isinstance(cause, SyncerError) else ""))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "".join(traceback.format_tb(error.__traceback__)) + "  " + ", because of ".join(names)


def _clean(redactor: Redactor, terminal: bool, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of every text, and control characters on a terminal."""

    def cleaned(value: object) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {redactor(str(name)): cleaned(one) for name, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [cleaned(one) for one in value]
        return redactor(str(value))

    values = {str(name): cleaned(value) for name, value in event.items()}
    if not terminal:
        return values
    return {name: _shown(name, value) if isinstance(value, str) else value for name, value in values.items()}


def _shown(name: str, text: str) -> str:
    if name not in ("event", "exception"):
        return visible(text)
    # These may have several lines; later ones are indented, so that none looks like an entry.
    return "\n    ".join(map(visible, text.split("\n")))
