"""The names of tables and columns: which may be written in a query, and what those that stand there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lsprotocol.types import CompletionItemKind

from syncer.lsp.query import DraftQuery, Source
from syncer.lsp.tables import Table, TableColumn, Tables, spelled
from syncer.lsp.text import Suggestion

#: What is being written: the names before a dot, and the part of a name.
_BEFORE = re.compile(r"""((?:(?:\w+|"[^"\n]*"|`[^`\n]*`|\[[^\]\n]*\])\.)*)(\w*)$""")


def suggestions(
    query: DraftQuery, offset: int, tables: Tables, *, after_blank: bool = False
) -> tuple[int, list[Suggestion]]:
    """What may be written at a place, and how many characters before it are the beginning of that.

    Shapes:
        after_blank: whether nobody wanted it, but a blank was typed: then only a table is suggested.
    """
    if query.is_text(offset):
        return 0, []
    found = _BEFORE.search(query.sql[:offset])
    assert found is not None
    qualifier, written = [part.strip('"`[]') for part in found[1].split(".")[:-1]], found[2]
    if qualifier:
        return len(written), list(_after_dot(query, offset, qualifier, tables))
    if query.expects_table(offset - len(written)):
        return len(written), list(_table_names(query, tables))
    if after_blank:
        return 0, []
    columns: dict[str, Suggestion] = {}
    for source in query.sources_at(offset):
        for column in query.columns_of(source, tables):
            columns.setdefault(column.name, _column(column, source, query.dialect))
    names = dict.fromkeys(source.name for source in query.sources_at(offset) if source.name)
    aliases = [Suggestion(text=spelled(name, query.dialect), kind=CompletionItemKind.Struct) for name in names]
    return len(written), [*columns.values(), *aliases]


def description(query: DraftQuery, offset: int, tables: Tables) -> str | None:
    """What the table or column at a place is, in Markdown; None if that is not known."""
    name = query.name_at(offset)
    if not name:
        return None
    sources = query.sources_at(offset)
    for source in sources:
        by_name = {column.name.casefold(): column for column in query.columns_of(source, tables)}
        is_of_it = len(name) == 1 or name[-2].casefold() == source.name.casefold()
        if is_of_it and (column := by_name.get(name[-1].casefold())):
            kind = f" {column.type}" if column.type else ""
            return f"**`{column.name}`**{kind}\n\nColumn of `{'.'.join(source.table) or source.name or 'a query'}`"
    named = next((one for one in sources if name in (one.table, (one.alias,))), None)
    columns = query.columns_of(named, tables) if named else ()
    if named is None or not columns:
        return None
    table = tables.find(named.table) if named.table else None
    title = f"{table.schema}.{table.name}" if table else named.name
    listed = "\n".join(f"- `{column.name}` {column.type}".rstrip() for column in columns)
    return f"**`{title}`**\n\n{listed}"


def _after_dot(query: DraftQuery, offset: int, qualifier: Sequence[str], tables: Tables) -> Iterator[Suggestion]:
    last = qualifier[-1].casefold()
    named = [one for one in query.sources_at(offset) if one.name.casefold() == last]
    columns = [_column(column, one, query.dialect) for one in named[:1] for column in query.columns_of(one, tables)]
    yield from columns
    # A schema, or a name after which nothing is written yet.
    for table in tables.tables if not columns else ():
        if table.schema.casefold() == last:
            yield _table(table, query.dialect, spelled(table.name, query.dialect))


def _table_names(query: DraftQuery, tables: Tables) -> Iterator[Suggestion]:
    for name in query.named:
        yield Suggestion(text=spelled(name, query.dialect), kind=CompletionItemKind.Struct)
    for table in sorted(tables.tables, key=lambda table: not table.is_default):
        name = spelled(table.name, query.dialect)
        schema = "" if table.is_default else f"{spelled(table.schema, query.dialect)}."
        yield _table(table, query.dialect, schema + name)


def _table(table: Table, dialect: str, text: str) -> Suggestion:
    columns = [spelled(column.name, dialect) for column in table.columns]
    detail = f"{len(columns)} column{'' if len(columns) == 1 else 's'}"
    return Suggestion(
        text=text,
        kind=CompletionItemKind.Class,
        detail=detail,
        documentation=", ".join(f"`{name}`" for name in columns),
    )


def _column(column: TableColumn, source: Source, dialect: str) -> Suggestion:
    of = ".".join(source.table) or source.name
    return Suggestion(
        text=spelled(column.name, dialect),
        kind=CompletionItemKind.Field,
        detail=" ".join(filter(None, (column.type, of and f"of {of}"))),
    )
