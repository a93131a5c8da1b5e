"""A definition's query: rendered, and checked before it goes to the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.model.errors import DefinitionError, WarehouseError
from syncer.model.importing import importing
from syncer.model.query_variables import QueryVariables
from syncer.model.select_statement import NotASelectError, one_select
from syncer.model.spelling import quoted
from syncer.model.types import SyncDefinition

if TYPE_CHECKING:
    from syncer.queries.template import Template

_JINJA_MARKS = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A definition's query for one run."""

    definition: SyncDefinition
    rendered: str
    #: What the warehouse gets: the rendered text, perhaps without what follows the statement.
    statement: str
    #: sqlglot's name of its SQL.
    dialect: str = ""

    @contextmanager
    def errors_placed(self) -> Iterator[None]:
        """Begin each WarehouseError with the definition's file and line, and hide the values rendered into it.

        It stays the same exception, but loses what it is chained to, which may hold the warehouse's own message.
        """
        try:
            yield
        except WarehouseError as exc:
            from syncer.queries.faults import fault

            found = fault(self.definition, self.rendered, exc, self.dialect)
            exc.message, exc.hint = str(found), found.hint
            exc.args = (exc.message,)
            exc.__cause__ = exc.__context__ = None
            raise


def template(path: Path, sql: str, sql_line: int) -> Template | None:
    """The query as a template; None if it has no Jinja.

    Raises:
        DefinitionError: the template cannot be used.
    """
    if not any(mark in sql for mark in _JINJA_MARKS):
        return None
    with importing:
        from syncer.queries import template as templates

    return templates.parse(path, sql, sql_line)


def render(
    definition: SyncDefinition,
    *,
    last_sync_time: int,
    last_event_time: int = 0,
    variables: Mapping[str, str],
    environment: Callable[[], QueryVariables],
) -> str:
    """The query's text for one run.

    Shapes:
        variables: by name in lower case; what `var` reads.
        environment: gives what `env_var` reads; called for a template only.
    Units:
        last_sync_time, last_event_time: seconds since 1970, UTC; 0 where there was none.
    Raises:
        DefinitionError: a value is missing, a variable may not be read, or the template fails or does too much.
    """
    parsed = template(definition.path, definition.sql, definition.sql_line)
    if parsed is None:
        return definition.sql
    with importing:
        from syncer.queries import sandbox

    readable = environment()
    for name, line in parsed.reads.items():
        if refusal := readable.refusal(name):
            raise DefinitionError(refusal.message, path=definition.path, line=line, hint=refusal.hint)
    times = {"last_sync_time": last_sync_time, "last_event_time": last_event_time}
    names = sandbox.names(**times, variables=variables, environment=readable.readable())
    rendered = parsed.render(names)
    # Python spells other bytes of a variable as halves of surrogate pairs.
    if any("\ud800" <= character <= "\udfff" for character in rendered):
        raise DefinitionError(
            "a variable of the query contains bytes that are not UTF-8",
            path=definition.path,
            line=definition.sql_line,
            hint="Set it to text: a query cannot contain anything else.",
        )
    return rendered


def check(definition: SyncDefinition, rendered: str, dialect: str | None) -> str:
    """The one statement of *rendered*, without what follows it.

    Shapes:
        dialect: sqlglot's name; one that sqlglot does not know is read as plain SQL.
    Raises:
        DefinitionError: there is no statement, a second one, or one that is not a query.
    """
    try:
        return one_select(rendered, dialect).text
    except NotASelectError as exc:
        # A word that is not in the file may be a variable's value.
        message = str(exc) if exc.word in definition.sql else str(exc).replace(quoted(exc.word), "this")
        # Jinja may have moved the lines.
        line = exc.line if rendered == definition.sql else 1
        raise DefinitionError(
            message, path=definition.path, line=definition.sql_line + line - 1, hint=exc.hint
        ) from None


@lru_cache(maxsize=1024)
def output_columns(sql: str) -> tuple[str, ...] | None:
    """The names of the columns that a query without Jinja returns; None if its text does not list them."""
    with importing:
        from sqlglot import exp

    try:
        tree = one_select(sql, None).tree
    except NotASelectError:
        return None
    columns = tree.selects if isinstance(tree, exp.Query) else []
    named = columns and all(isinstance(column, exp.Alias | exp.Column) and not column.is_star for column in columns)
    return tuple(column.alias_or_name for column in columns) if named else None


@lru_cache(maxsize=4096)
def read_tables(sql: str, dialect: str | None) -> tuple[str, ...] | None:
    """The tables that a query without Jinja reads, as it names them, in order; None if its text cannot be parsed.

    Shapes:
        dialect: as for `check`.
    """
    with importing:
        from sqlglot import exp

    try:
        tree = one_select(sql, dialect).tree
    except NotASelectError:
        return None
    if tree is None:
        return None
    named = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    found = {
        ".".join(part.name for part in table.parts): None
        for table in tree.find_all(exp.Table, bfs=False)
        if isinstance(table.this, exp.Identifier) and (table.db or table.name.casefold() not in named)
    }
    return tuple(found)
