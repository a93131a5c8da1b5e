"""A definition's query: rendered, and looked at before it goes to the warehouse.

The look gives early errors with a line; what makes a run unable to write is the warehouse's role and its read-only
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.model.errors import DefinitionError, WarehouseError
from syncer.model.spelling import quoted
from syncer.model.types import SyncDefinition

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.tokenizer_core import Token

    from syncer.queries.template import Template

_JINJA_MARKS = ("{{", "{%", "{#")

#: The tokens that open a query; `(` opens one in brackets.
_FIRST = ("SELECT", "WITH", "FROM", "VALUES", "PIVOT", "UNPIVOT", "TABLE", "L_PAREN")

_ONE_SELECT = "Write one SELECT that returns the rows to sync."


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A definition's query for one run."""

    definition: SyncDefinition
    rendered: str
    #: What is sent: as it was rendered, perhaps without what stands after the statement.
    statement: str

    @contextmanager
    def errors_placed(self) -> Iterator[None]:
        """Begin each WarehouseError with the definition's file and line, and hide the values rendered into it.

        It stays the same exception, but loses what it is chained to, which may hold the warehouse's own message.
        """
        try:
            yield
        except WarehouseError as exc:
            from syncer.queries.faults import fault

            found = fault(self.definition, self.rendered, exc)
            exc.message, exc.hint = str(found), found.hint
            exc.args = (exc.message,)
            exc.__cause__ = exc.__context__ = None
            raise


def template(path: Path, sql: str, sql_line: int) -> Template | None:
    """The query as a template; None where it holds no Jinja.

    Raises:
        DefinitionError: the template cannot be used.
    """
    if not any(mark in sql for mark in _JINJA_MARKS):
        return None
    from syncer.queries import template as templates

    return templates.parse(path, sql, sql_line)


def render(
    definition: SyncDefinition,
    *,
    last_sync_time: int,
    variables: Mapping[str, str],
    environment: Mapping[str, str],
) -> str:
    """The query's text for one run.

    Shapes:
        variables: by name in lower case; what `var` reads.
        environment: what `env_var` reads.
    Units:
        last_sync_time: seconds since 1970, UTC; 0 where there was none.
    Raises:
        DefinitionError: a value is missing, or the template fails or does too much.
    """
    parsed = template(definition.path, definition.sql, definition.sql_line)
    if parsed is None:
        return definition.sql
    from syncer.queries import sandbox

    rendered = parsed.render(sandbox.names(last_sync_time=last_sync_time, variables=variables, environment=environment))
    if not _is_unicode(rendered):
        raise DefinitionError(
            "a variable of the query holds bytes that are not UTF-8",
            path=definition.path,
            line=definition.sql_line,
            hint="Set it to text: a warehouse cannot be sent anything else.",
        )
    return rendered


def _is_unicode(text: str) -> bool:
    # Python spells the other bytes of a variable as halves of surrogate pairs.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def load_parser() -> None:
    """Import what reads SQL, which `check` else does at its first call.

    Its modules import each other, which two threads at once cannot do.
    """
    import sqlglot.dialects.dialect  # noqa: F401


def check(definition: SyncDefinition, rendered: str, dialect: str | None) -> str:
    """The one statement of *rendered*, without what stands after it.

    Shapes:
        dialect: sqlglot's name; what it does not know is read as plain SQL.
    Raises:
        DefinitionError: it is no statement, more than one, or not a query.
    """
    sql = rendered.removeprefix("\ufeff")
    try:
        return _statement(sql, dialect, definition.sql)
    except _NotAQueryError as exc:
        # Jinja may have moved the lines.
        line = exc.line if rendered == definition.sql else 1
        raise DefinitionError(
            exc.message, path=definition.path, line=definition.sql_line + line - 1, hint=exc.hint
        ) from None


def output_columns(sql: str) -> tuple[str, ...] | None:
    """The names of the columns that a query without Jinja returns; None where the text does not say."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        _statement(sql, None, sql)
        tree = _dialect(None).parser().parse(_dialect(None).tokenize(sql), sql)[0]
    except (_NotAQueryError, SqlglotError, RecursionError):
        return None
    columns = tree.selects if isinstance(tree, exp.Query) else []
    named = columns and all(isinstance(column, exp.Alias | exp.Column) and not column.is_star for column in columns)
    return tuple(column.alias_or_name for column in columns) if named else None


class _NotAQueryError(Exception):
    """What is wrong, at a line of the SQL."""

    def __init__(self, message: str, *, line: int = 1, hint: str = _ONE_SELECT) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


def _statement(sql: str, dialect: str | None, written: str) -> str:
    from sqlglot.errors import ParseError, TokenError

    reader = _dialect(dialect)
    try:
        tokens = reader.tokenize(sql)
    except TokenError:
        raise _NotAQueryError("the query holds a quote or a comment that is not closed", hint="Close it.") from None
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    if not tokens:
        raise _NotAQueryError("the query is empty")
    for token, following in pairwise(tokens):
        if token.token_type.name == "SEMICOLON":
            raise _NotAQueryError(
                "this is a second statement", line=following.line, hint="Keep one SELECT in the file."
            )
    first = tokens[0]
    if first.token_type.name not in _FIRST:
        # A word that is not in the file may be a variable's value.
        word = quoted(first.text) if first.text in written else "this"
        raise _NotAQueryError(f"a query does not begin with {word}", line=first.line)
    try:
        fault = _tree_fault(reader.parser().parse(tokens, sql)[0])
    except (ParseError, RecursionError):
        # Valid SQL that sqlglot does not know, or none; the warehouse will say.
        fault = _token_fault(tokens)
    if fault:
        raise _NotAQueryError(f"the query {fault}", line=first.line)
    return sql[: tokens[-1].end + 1]


def _tree_fault(tree: exp.Expr | None) -> str:
    from sqlglot import exp

    if not isinstance(tree, exp.Query | exp.Values | exp.Pivot | exp.DML):
        return "is not a SELECT"
    for node in tree.find_all(exp.DML, exp.Create, exp.Drop, exp.Command, exp.Into, exp.Lock):
        if isinstance(node, exp.Lock):
            return "locks rows"
        return "writes: it holds SELECT INTO" if isinstance(node, exp.Into) else f"writes: it holds {node.key.upper()}"
    return ""


def _token_fault(tokens: Sequence[Token]) -> str:
    for token, following in pairwise(token.text.upper() for token in tokens):
        if token in ("(", ")") and following in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            return f"writes: it holds {following}"
        if token == "INTO" and following in ("OUTFILE", "DUMPFILE"):
            return f"writes: it holds INTO {following}"
    return ""


def _dialect(name: str | None) -> Dialect:
    from sqlglot.dialects.dialect import Dialect

    return Dialect.get_or_raise(name if name and Dialect.get(name) else None)
