"""One SELECT, as Snowflake takes it in brackets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: The words that open a query; `(` opens one in brackets.
_FIRST = {"SELECT", "WITH", "("}
#: It hands the result of one statement to the next.
_PIPE = "->>"


class NotASelectError(Exception):
    """The text says what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A query without what surrounds it."""

    text: str
    #: How many lines of the text that was given come before it.
    lines_before: int
    #: The names in it, in upper case, with their lines, counted from 1 in *text*.
    _names: tuple[tuple[str, int], ...]

    def line_of(self, name: str) -> int | None:
        """The line that holds *name*, whatever its letter case, if it stands there once."""
        lines = [line for word, line in self._names if word == name.upper()]
        return lines[0] if len(lines) == 1 else None


def one_select(sql: str) -> Statement:
    """The one statement of *sql*.

    Raises:
        NotASelectError: it is none, or more than one, or cannot be a query.
    """
    tokens = _tokens(sql.removeprefix("\ufeff"))
    while tokens and _is_sign(tokens[-1], ";"):
        tokens.pop()
    if not tokens:
        raise NotASelectError("the query is empty")
    if any(_is_sign(token, ";") for token in tokens):
        raise NotASelectError("the query holds more than one statement")
    if any(_is_sign(token, _PIPE) for token in tokens):
        raise NotASelectError(f"the query hands its result on with `{_PIPE}`")
    if tokens[0].text.upper() not in _FIRST:
        raise NotASelectError("the query is not a SELECT")
    text = sql.removeprefix("\ufeff")
    first, last = tokens[0], tokens[-1]
    return Statement(
        text=text[first.start : last.end + 1],
        lines_before=text.count("\n", 0, first.start),
        _names=tuple((t.text.upper(), text.count("\n", first.start, t.start) + 1) for t in tokens),
    )


def _tokens(sql: str) -> list[Any]:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import TokenError

    try:
        return list(Dialect.get_or_raise("snowflake").tokenize(sql))
    except TokenError:
        raise NotASelectError("the query holds a quote or a comment that is not closed") from None


def _is_sign(token: Any, sign: str) -> bool:
    """Whether *token* is *sign* itself, and no text that holds just that."""
    return bool(token.text == sign and token.end - token.start + 1 == len(sign))
