"""The one SELECT of a query's text, for databases whose drivers would run anything.

The look is a second lock. What makes a run unable to write is the role, and a read-only transaction where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from syncer.model.errors import WarehouseError

if TYPE_CHECKING:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.expressions import Expr
    from sqlglot.tokenizer_core import Token

HINT = "A sync's query is one SELECT, and only reads."

#: SQLAlchemy's names of dialects to sqlglot's, where they differ.
_DIALECTS = {
    "clickhousedb": "clickhouse",
    "cockroachdb": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "postgresql": "postgres",
}
_FIRST = ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "L_PAREN")
_WRITING = ("ALTER", "CALL", "COPY", "CREATE", "DELETE", "DROP", "EXECUTE", "GRANT", "INSERT", "MERGE", "UPDATE")


class SelectStatement:
    """A query that is one SELECT, as far as its text tells."""

    def __init__(self, label: str, sql: str, dialect: str) -> None:
        """Look at *sql*.

        Shapes:
            dialect: its name as SQLAlchemy has it; one that sqlglot does not know is read as plain SQL.
        Raises:
            WarehouseError: it is no statement, more than one, or not a SELECT.
        """
        from sqlglot.errors import ParseError, TokenError

        self._label = label
        sql = sql.removeprefix("\ufeff")
        reader = _reader(dialect)
        try:
            self._tokens = _without_end(reader.tokenize(sql))
        except TokenError:
            raise self._refusal("a quote or a comment of the query is not closed", 1) from None
        if "\0" in sql or not self._tokens:
            raise self._refusal("the query is empty" if not self._tokens else "the query holds a NUL character", 1)
        for token in self._tokens:
            if token.token_type.name == "SEMICOLON":
                raise self._refusal("the query holds a second statement", token.line)
        if self._tokens[0].token_type.name not in _FIRST:
            raise self._refusal("the query is not a SELECT", self._tokens[0].line)
        try:
            tree = reader.parser().parse(self._tokens, sql)[0]
        except (ParseError, RecursionError):
            # SQL that sqlglot does not know, or none; the database will say.
            tree = None
        if _writes(tree, self._tokens):
            raise self._refusal("the query is not a SELECT that only reads", self._tokens[0].line)
        #: Without what stands after the statement.
        self.text = sql[: self._tokens[-1].end + 1]
        self._is_limited = tree is None or tree.args.get("limit") is not None

    @property
    def without_rows(self) -> str:
        """The same query with no row, for its columns, where the database knows LIMIT."""
        if self._is_limited:
            return f"SELECT * FROM ({self.text}\n) AS q LIMIT 0"
        return f"{self.text}\nLIMIT 0"

    def line_of(self, word: str) -> int | None:
        """The line of *word*, counted from 1, where it stands on one line only."""
        lines = {token.line for token in self._tokens if token.text.casefold() == word.casefold()}
        return lines.pop() if len(lines) == 1 else None

    def _refusal(self, message: str, line: int) -> WarehouseError:
        return WarehouseError(f"{self._label}: {message}", hint=HINT, query_line=line)


def _reader(name: str) -> Dialect:
    from sqlglot.dialects.dialect import Dialect

    name = _DIALECTS.get(name, name)
    return Dialect.get_or_raise(name if Dialect.get(name) else None)


def _without_end(tokens: list[Token]) -> list[Token]:
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    return tokens


def _writes(tree: Expr | None, tokens: Sequence[Token]) -> bool:
    from sqlglot import exp

    if tree is not None:
        return not isinstance(tree, exp.Query | exp.Values) or any(
            tree.find_all(exp.DML, exp.Create, exp.Drop, exp.Command, exp.Into, exp.Lock)
        )
    words = [token.text.upper() for token in tokens]
    return any(word in ("(", ")") and following in _WRITING for word, following in pairwise(words))
