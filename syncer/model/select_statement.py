"""The guard that a query's text is one SELECT which only reads, for every dialect that sqlglot knows.

It gives early errors with a line. The warehouse's role and its read-only transaction make a run unable to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from syncer.model.importing import importing
from syncer.model.spelling import quoted

if TYPE_CHECKING:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.expressions import Expr
    from sqlglot.tokenizer_core import Token

SELECT_HINT = "A sync's query is one SELECT, and only reads."

#: The tokens that open a query; `(` opens one in brackets.
_FIRST = ("SELECT", "WITH", "FROM", "VALUES", "PIVOT", "UNPIVOT", "TABLE", "L_PAREN")
_WRITING = ("INSERT", "UPDATE", "DELETE", "MERGE")

#: sqlglot's dialects of SQL Server, where a statement ends without a semicolon, and the reserved words that begin one
#: which writes or ends the transaction.
_SQL_SERVER = ("TSQL", "Fabric")
_BEGINNING = {
    *_WRITING,
    *("ALTER", "BACKUP", "COMMIT", "CREATE", "DBCC", "DENY", "DROP", "EXEC", "EXECUTE", "GRANT", "KILL", "RECONFIGURE"),
    *("RESTORE", "REVOKE", "ROLLBACK", "SHUTDOWN", "TRUNCATE", "UPDATETEXT", "WRITETEXT"),
}


class NotASelectError(Exception):
    """The text is not one SELECT that only reads; the message says why."""

    def __init__(self, message: str, *, line: int = 1, hint: str = SELECT_HINT, word: str = "") -> None:
        super().__init__(message)
        #: Counted from 1.
        self.line = line
        self.hint = hint
        #: What the message quotes from the query.
        self.word = word


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectStatement:
    """A query that is one SELECT, as far as its text shows."""

    #: Without a byte order mark, semicolons around it and comments at the end; lines keep their numbers.
    text: str
    tokens: tuple[Token, ...]
    #: None if sqlglot cannot parse the text.
    tree: Expr | None

    def words(self) -> list[tuple[str, int]]:
        """Each token as the text spells it, in upper case, with its line; a quoted one keeps its quotes."""
        return [(self.text[token.start : token.end + 1].upper(), token.line) for token in self.tokens]

    def line_of(self, name: str) -> int | None:
        """The line of *name*, counted from 1; None unless exactly one line has it."""
        lines = {token.line for token in self.tokens if token.text.casefold() == name.casefold()}
        return lines.pop() if len(lines) == 1 else None


def one_select(sql: str, dialect: str | Dialect | None) -> SelectStatement:
    """The one statement of *sql*.

    Shapes:
        dialect: sqlglot's, or its name; one that sqlglot does not know is read as plain SQL.
    Raises:
        NotASelectError: there is no statement, a second one, or one that is not a query.
    """
    with importing:
        from sqlglot.errors import ParseError, TokenError

    sql = sql.removeprefix("\ufeff")
    reader = dialect_of(dialect)
    try:
        tokens = reader.tokenize(sql)
    except TokenError:
        raise NotASelectError("the query holds a quote or a comment that is not closed", hint="Close it.") from None
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    # Written before a WITH, so that it ends whatever statement stands there.
    while tokens and tokens[0].token_type.name == "SEMICOLON":
        start = tokens.pop(0).start
        sql = f"{sql[:start]} {sql[start + 1 :]}"
    _check_tokens(sql, tokens)
    statement = SelectStatement(text=sql[: tokens[-1].end + 1], tokens=tuple(tokens), tree=None)
    if type(reader).__name__ in _SQL_SERVER:
        _check_words_of_sql_server(statement)
    try:
        tree = reader.parser().parse(tokens, sql)[0]
    except (ParseError, RecursionError):
        # SQL that sqlglot does not know, or no SQL; the warehouse's error will tell.
        fault = _word_fault(statement)
    else:
        fault = _tree_fault(tree)
        statement = SelectStatement(text=statement.text, tokens=statement.tokens, tree=tree)
    if fault:
        raise NotASelectError(f"the query {fault}", line=tokens[0].line)
    return statement


def dialect_of(dialect: str | Dialect | None) -> Dialect:
    """sqlglot's dialect; plain SQL for a name that sqlglot does not know."""
    with importing:
        from sqlglot.dialects.dialect import Dialect

        # It imports the dialect that it has a name of.
        return Dialect.get_or_raise(None if isinstance(dialect, str) and not Dialect.get(dialect) else dialect)


def _check_tokens(sql: str, tokens: list[Token]) -> None:
    if re.search("[\0\ud800-\udfff]", sql):
        raise NotASelectError("the query holds a NUL character or bytes that are not UTF-8", hint="Remove them.")
    if not tokens:
        raise NotASelectError("the query is empty")
    for token, following in pairwise(tokens):
        if token.token_type.name == "SEMICOLON":
            raise NotASelectError("this is a second statement", line=following.line)
    first = tokens[0]
    if first.token_type.name not in _FIRST:
        message = f"a query does not begin with {quoted(first.text)}"
        raise NotASelectError(message, line=first.line, word=first.text)


def _check_words_of_sql_server(statement: SelectStatement) -> None:
    bare = _bare_words(statement)
    for before, word, after, token in zip(bare, bare[1:], [*bare[2:], ""], statement.tokens[1:], strict=False):
        is_hint = word == "MERGE" and after in ("JOIN", "UNION")
        # A variable, a temporary table and a column have such a mark before them.
        if word in _BEGINNING and before not in ("@", "#", ".") and not is_hint:
            message = f"{quoted(token.text)} begins a second statement"
            raise NotASelectError(message, line=token.line, word=token.text)


def _tree_fault(tree: Expr | None) -> str:
    with importing:
        from sqlglot import exp

    if not isinstance(tree, exp.Query | exp.Values | exp.Pivot | exp.DML):
        return "is not a SELECT"
    for node in tree.find_all(exp.DML, exp.Create, exp.Drop, exp.Command, exp.Into, exp.Lock):
        if isinstance(node, exp.Lock):
            return "locks rows"
        return "writes: it holds SELECT INTO" if isinstance(node, exp.Into) else f"writes: it holds {node.key.upper()}"
    return ""


def _word_fault(statement: SelectStatement) -> str:
    """What of a text that sqlglot cannot parse looks like a statement that writes: bare words alone count."""
    bare = [*_bare_words(statement), ".", "."]
    for before, word, after, following in zip(bare, bare[1:], bare[2:], bare[3:], strict=False):
        # Oracle's MODEL assigns cells, as in `(UPDATE sales[2024] = 1)`; columns and a function may be called so.
        is_name = following == "[" or after in (".", ",", ")", "AS") or (word, after) == ("INSERT", "(")
        if before in ("(", ")") and word in _WRITING and not is_name:
            return f"writes: it holds {word}"
        if before == "INTO" and word in ("OUTFILE", "DUMPFILE"):
            return f"writes: it holds INTO {word}"
    return ""


def _bare_words(statement: SelectStatement) -> list[str]:
    """Its tokens in upper case; literals and quoted names are empty."""
    return [
        "" if token.token_type.name.endswith(("STRING", "IDENTIFIER")) else word
        for token, (word, _) in zip(statement.tokens, statement.words(), strict=True)
    ]
