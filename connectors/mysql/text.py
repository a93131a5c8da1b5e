"""The text of a query as MySQL and MariaDB read it: what of it is a word, and what a quote or a comment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    start: int


class NotASelectError(Exception):
    """The text is something else than one SELECT that only reads; its message says what."""

    def __init__(self, message: str, *, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


_FIRST = ("SELECT", "WITH", "VALUES", "TABLE", "(")
_LOCKS = (("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN"))
#: A number ends where a word begins: `1.5INTO` is two tokens.
_NUMBER_BEFORE = re.compile(r"^[0-9]\w*?(?=(INTO|FOR|LOCK)$)")


def one_select(sql: str, *, sql_mode: str) -> str:
    """*sql* without semicolons at its end; every line stays where it is.

    This looks for what the server would do in a read-only transaction all the same: `INTO OUTFILE` writes a file.

    Shapes:
        sql_mode: of the session, since it says where a quote ends.
    Raises:
        NotASelectError: what it says.
    """
    sql = sql.removeprefix("\ufeff")
    if "\0" in sql:
        raise NotASelectError("the query holds a NUL character")
    if re.search("[\ud800-\udfff]", sql):
        # Such as a variable of the environment may bring.
        raise NotASelectError("the query holds text that is not UTF-8")
    tokens = _tokens(sql, sql_mode)
    while tokens and tokens[-1].text == ";":
        at = tokens.pop().start
        sql = f"{sql[:at]} {sql[at + 1 :]}"
    if not tokens:
        raise NotASelectError("the query is empty")
    if tokens[0].text not in _FIRST:
        raise NotASelectError("the query is not a SELECT", line=_line(sql, tokens[0]))
    for token, following in pairwise([*tokens, _Token(text="", start=len(sql))]):
        if token.text == ";":
            raise NotASelectError("the query holds more than one statement", line=_line(sql, following))
        if token.text == "INTO":
            raise NotASelectError("the query writes: it holds INTO", line=_line(sql, token))
        if (token.text, following.text) in _LOCKS:
            raise NotASelectError("the query locks rows", line=_line(sql, token))
    return sql


def _tokens(sql: str, sql_mode: str) -> list[_Token]:
    """Words in upper case and single signs; a quote is a token of its first sign, a comment none."""
    modes = sql_mode.upper().split(",")
    backslash = "" if "NO_BACKSLASH_ESCAPES" in modes else r"\\."
    double = "" if "ANSI_QUOTES" in modes else backslash
    grammar = re.compile(
        rf"""
        (?P<executed> /\*M?! )
        | (?P<skipped> \s+ | \#[^\n]* | --(?=[\x00-\x20\x7f]|\Z)[^\n]* | /\*.*?\*/ )
        | (?P<quote> {_quoted("'", backslash)} | {_quoted('"', double)} | `(?:``|[^`])*` )
        | (?P<open> /\* | ['"`] )
        | (?P<null> \\N )
        | (?P<word> [\w$]+ )
        | (?P<sign> . )
        """,
        re.VERBOSE | re.DOTALL,
    )
    tokens = []
    for found in grammar.finditer(sql):
        kind, token = found.lastgroup, _Token(text=_NUMBER_BEFORE.sub("", found[0].upper()), start=found.start())
        if kind == "executed":
            raise NotASelectError("the query holds a comment that the server runs, `/*!`", line=_line(sql, token))
        if kind == "open":
            raise NotASelectError("the query holds a quote or a comment that is not closed", line=_line(sql, token))
        if kind == "quote":
            tokens.append(_Token(text=found[0][0], start=token.start))
        elif kind != "skipped":
            tokens.append(token)
    return tokens


def _quoted(mark: str, escape: str) -> str:
    plain = rf"[^{mark}\\]" if escape else f"[^{mark}]"
    return rf"{mark}(?:{mark}{mark}|{escape + '|' if escape else ''}{plain})*{mark}"


def _line(sql: str, token: _Token) -> int:
    return sql.count("\n", 0, token.start) + 1
