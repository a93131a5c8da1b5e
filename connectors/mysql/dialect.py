"""What MySQL and MariaDB add to the check that a query is one SELECT.

`INTO OUTFILE` writes a file in a read-only transaction too, and the server's modes say where a quote ends.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import ClassVar

from sqlglot.dialects.mysql import MySQL

from syncer.model import select_statement
from syncer.model.select_statement import NotASelectError, SelectStatement

_LOCKS = (("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN"))
#: A number ends where one of these words begins, as in `1.5INTO`, and so does `\N`, the server's other word for NULL.
_NUMBER_BEFORE = re.compile(r"^[0-9].*?(?=(INTO|FOR|LOCK)$)")
_NULL_BEFORE = re.compile(r"^N(?=(INTO|FOR|LOCK)$)")
#: What may be between two tokens: sqlglot skips more than the server does.
_GAP = re.compile(r"(?>\s|;|\#[^\n]*|--(?=[\x00-\x20\x7f]|\Z)[^\n]*|/\*(?!M?!).*?\*/)*+", re.DOTALL)


def one_select(sql: str, *, sql_mode: str) -> SelectStatement:
    """The one statement of *sql*.

    Shapes:
        sql_mode: the session's.
    Raises:
        NotASelectError: it is not one SELECT, writes a file or locks rows, or has a comment that the server runs.
    """
    modes = sql_mode.upper().split(",")
    sql = sql.removeprefix("\ufeff")
    statement = select_statement.one_select(sql, _dialect("ANSI_QUOTES" in modes, "NO_BACKSLASH_ESCAPES" in modes))
    begins = [*(token.start for token in statement.tokens), len(sql)]
    ends = [0, *(token.end + 1 for token in statement.tokens)]
    for end, begin in zip(ends, begins, strict=True):
        if not _GAP.fullmatch(sql, end, begin):
            line = sql.count("\n", 0, end) + 1
            raise NotASelectError("the query holds a comment that the server runs, such as `/*!`", line=line)
    before = ""
    for (word, line), (following, _) in pairwise([*statement.words(), ("", 0)]):
        word = (_NULL_BEFORE if before == "\\" else _NUMBER_BEFORE).sub("", word)
        if word == "INTO":
            raise NotASelectError("the query writes: it holds INTO", line=line)
        if (word, following) in _LOCKS:
            raise NotASelectError("the query locks rows", line=line)
        before = word
    return statement


@cache
def _dialect(ansi_quotes: bool, no_backslash_escapes: bool) -> MySQL:
    class MySQLServer(MySQL):
        class Tokenizer(MySQL.Tokenizer):
            QUOTES: ClassVar = ["'"] if ansi_quotes else ["'", '"']
            IDENTIFIERS: ClassVar = ["`", '"'] if ansi_quotes else ["`"]
            STRING_ESCAPES: ClassVar = ["'", '"'] if no_backslash_escapes else ["'", '"', "\\"]

    return MySQLServer()
