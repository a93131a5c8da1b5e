"""What an editor shows at a place of a text: what may be written there, what stands there, and what can be done."""

from __future__ import annotations

from contextlib import suppress

from lsprotocol import types
from pygls.workspace import TextDocument

from syncer.lsp import attributes, header, names, query
from syncer.lsp.editor import EditorServer
from syncer.lsp.plan import PLAN
from syncer.lsp.tables import Tables, spelled
from syncer.lsp.text import DefinitionDraft, completion_items, markdown
from syncer.model.errors import SettingsError


def complete(server: EditorServer, params: types.CompletionParams) -> types.CompletionList | None:
    """What may be written at the cursor."""
    document = server.document(params.text_document.uri)
    if document is not None and server.has_rules(document):
        return _of_rules(server, document, params.position)
    if document is None or not server.is_ours(document):
        return None
    draft = server.draft(document)
    line, column = draft.place(params.position)
    after_blank = params.context is not None and params.context.trigger_character == " "
    dialect, tables = server.tables(document)
    offset = draft.offset_in_sql(line, column)
    if offset < 0 or (draft.has_header and line < draft.sql_line):
        place = header.place_of(draft, line, column)
        if place is None or (after_blank and place.is_name):
            return None
        known = _known(server, document, draft, dialect, tables)
        items = completion_items(draft, line, place.start, column, header.suggestions(draft, place, known))
        return types.CompletionList(is_incomplete=False, items=items)
    written, found = names.suggestions(query.draft_query(draft.sql, dialect), offset, tables, after_blank=after_blank)
    items = completion_items(draft, line, column - written, column, found)
    return types.CompletionList(is_incomplete=not tables.is_whole, items=items)


def hover(server: EditorServer, params: types.HoverParams) -> types.Hover | None:
    """What the field, table or column under the cursor is."""
    document = server.document(params.text_document.uri)
    has_rules = document is not None and server.has_rules(document)
    if document is None or not (has_rules or server.is_ours(document)):
        return None
    draft = server.draft(document)
    line, column = draft.place(params.position)
    start, end = draft.word_at(line, column)
    if start == end:
        return None
    if has_rules:
        text = attributes.description(draft, line, start, end)
        return types.Hover(contents=markdown(text), range=draft.range(line, start, end)) if text else None
    offset = draft.offset_in_sql(line, column)
    if offset < 0 or (draft.has_header and line < draft.sql_line):
        place = header.place_of(draft, line, start)
        word = draft.lines[line][start:end]
        text = header.description(*place.fields, *([word] if place.is_name else [])) if place else None
    else:
        dialect, tables = server.tables(document)
        text = names.description(query.draft_query(draft.sql, dialect), offset, tables)
    return types.Hover(contents=markdown(text), range=draft.range(line, start, end)) if text else None


def lenses(server: EditorServer, params: types.CodeLensParams) -> list[types.CodeLens]:
    """The command that plans a file."""
    document = server.document(params.text_document.uri)
    if document is None or server.definition_path(document) is None:
        return []
    command = types.Command(title="Plan this file", command=PLAN, arguments=[params.text_document.uri])
    return [types.CodeLens(range=server.draft(document).range(0, 0, 0), command=command)]


def _of_rules(server: EditorServer, document: TextDocument, position: types.Position) -> types.CompletionList | None:
    """What may be written in `attributes.yml`."""
    draft, project = server.draft(document), server.project(document)
    line, column = draft.place(position)
    place = attributes.place_of(draft, line, column)
    if place is None or project is None:
        return None

    def syncs() -> list[str]:
        with suppress(SettingsError):
            return project.writers()
        return []

    items = completion_items(draft, line, place.start, column, attributes.suggestions(place, syncs))
    return types.CompletionList(is_incomplete=False, items=items)


def _known(
    server: EditorServer, document: TextDocument, draft: DefinitionDraft, dialect: str, tables: Tables
) -> header.KnownNames:
    """The names that a header may have."""

    def columns() -> list[str]:
        found = query.draft_query(draft.sql, dialect).result_columns(tables)
        spellings = ((column.name, spelled(column.name, dialect)) for column in found)
        return [bare if bare.casefold() == name.casefold() else name for name, bare in spellings]

    project = server.project(document)
    try:
        settings = project.settings if project else None
    except SettingsError:
        settings = None
    if project is None or settings is None:
        return header.KnownNames(columns=columns)

    def syncs() -> list[str]:
        with suppress(SettingsError):
            return [definition.name for definition in project.load({}).definitions]
        return []

    return header.KnownNames(warehouses=settings.warehouses, stores=settings.stores, syncs=syncs, columns=columns)
