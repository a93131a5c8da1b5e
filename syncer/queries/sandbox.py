"""Where a query's template runs: the values it can name, and the limits of its work.

All loops of one rendering share a budget, the size of each value is limited, and so is the time of a rendering.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Undefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from syncer.model.spelling import did_you_mean, quoted

#: Characters of the rendered SQL, and of any value on the way.
SIZE_LIMIT = 1_000_000

#: Iterations of all loops of one rendering, and items of any list.
TURNS_LIMIT = 10_000

#: For one rendering; checked at each iteration of a loop, filter, test, comparison and piece of text.
TIME_LIMIT_SECONDS = 1.0

FILTERS = (
    "abs", "count", "d", "default", "first", "float", "int", "join", "last", "length", "list", "lower", "max", "min",
    "sort", "string", "title", "trim", "unique", "upper",
)  # fmt: skip

#: Filters that no template can name.
TURNS, SIZED, TIMED = "(turns)", "(sized)", "(timed)"

#: What goes through every item of a value.
_GOING_THROUGH = ("first", "join", "last", "list", "max", "min", "sort", "unique")


class RefusedError(Exception):
    """A sentence for people about the expression that is being rendered."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def names(
    *, last_sync_time: int, last_event_time: int, variables: Mapping[str, str], environment: Mapping[str, str]
) -> Mapping[str, Any]:
    """What a query's expressions may use, for `Template.render`."""

    def var(name: str, *default: Any) -> Any:
        return _looked_up("var", name, variables.get(name.lower()), default, f"SYNCER_VARS__{name.upper()}", variables)

    def env_var(name: str, *default: Any) -> Any:
        return _looked_up("env_var", name, environment.get(name), default, name, environment)

    times = {"last_sync_time": last_sync_time, "last_event_time": last_event_time}
    return {**times, "var": var, "env_var": env_var, "range": _range}


def _looked_up(
    function: str, name: str, value: str | None, default: Sequence[Any], setting: str, options: Collection[str]
) -> Any:
    if value is not None:
        return value
    if default:
        return default[0]
    guess = did_you_mean(name, options, or_list=False)
    call, with_default = f"{function}('{name}')", f"{function}('{name}', 'value')"
    remedy = f"Set {quoted(setting)}, or give a default: {quoted(with_default)}."
    raise RefusedError(f"{quoted(call)} has no value", f"{guess} {remedy}".strip())


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > TURNS_LIMIT:
        raise RefusedError(f"a range here has at most {TURNS_LIMIT} numbers")
    return numbers


class Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox of one rendering."""

    intercepted_binops = frozenset({"+", "*", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, optimized=False, finalize=_printable)
        known = self.filters
        own = {"join": _join, TURNS: self._turns, SIZED: _sized, TIMED: _unchanged}
        usable = {name: known[name] for name in FILTERS} | own
        self.filters = {name: self._timed(name, filter_) for name, filter_ in usable.items()}
        self.tests = {name: self._timed(name, test) for name, test in self.tests.items()}
        self.globals = {}
        self._turns_left = TURNS_LIMIT
        self._deadline = time.monotonic() + TIME_LIMIT_SECONDS

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator != "+" and not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise RefusedError(f"`{operator}` takes two numbers here")
        self.check_time()
        return _sized(super().call_binop(context, operator, left, right))

    def check_time(self) -> None:
        """Refuse to go on once the time is up."""
        if time.monotonic() > self._deadline:
            raise RefusedError(
                f"this template takes too long: it may take {TIME_LIMIT_SECONDS:g} second",
                "Let the warehouse do the work, in SQL.",
            )

    def bounded(self, pieces: Iterable[str]) -> Iterator[str]:
        """*pieces*, as long as they are not too large together and come in time."""
        size = 0
        for piece in pieces:
            self.check_time()
            size += len(piece)
            if size > SIZE_LIMIT:
                raise RefusedError("the rendered query is over 1 MB")
            yield piece

    def _timed(self, name: str, function: Any) -> Any:
        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            self.check_time()
            if name in _GOING_THROUGH and any(isinstance(one, str) and len(one) > TURNS_LIMIT for one in arguments):
                raise RefusedError(f"a text has at most {TURNS_LIMIT} characters here")
            return function(*arguments, **options)

        return timed

    def _turns(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._turns_left -= 1
            self.check_time()
            if self._turns_left < 0:
                raise RefusedError(
                    f"the loops of this template take too long: together they may run {TURNS_LIMIT} times",
                    "Let the warehouse do the work, in SQL.",
                )
            yield item


def _sized(value: Any) -> Any:
    """*value*, if it is not too large."""
    pending, items = [value], 0
    while pending:
        part = pending.pop()
        items += 1
        if isinstance(part, list | tuple):
            pending.extend(part)
        elif isinstance(part, dict):
            pending.extend(part.values())
        too_large = len(part) > SIZE_LIMIT if isinstance(part, str) else isinstance(part, int) and abs(part) > 2**63
        if too_large or items + len(pending) > TURNS_LIMIT:
            raise RefusedError("this value is too large")
    return value


def _printable(value: Any) -> Any:
    # An `if` without `else` gives Jinja's lenient kind, which prints as nothing.
    if isinstance(value, str | int | float) or type(value) is Undefined:
        return value
    raise RefusedError("there is no such item" if isinstance(value, Undefined) else "this is neither text nor a number")


def _join(items: Iterable[Any], separator: str = "") -> str:
    texts = [str(item) for item in items]
    if sum(map(len, texts)) + len(texts) * len(separator) > SIZE_LIMIT:
        raise RefusedError("this value is too large")
    return separator.join(texts)


def _unchanged(value: Any) -> Any:
    return value
