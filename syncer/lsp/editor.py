"""What the server knows of one editor: its open documents, their projects, and what runs for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from subprocess import Popen
from urllib.parse import unquote

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument

from syncer import __version__
from syncer.lsp import query
from syncer.lsp.project import EditedProject, folder_of
from syncer.lsp.tables import TableCache, Tables
from syncer.lsp.text import DefinitionDraft
from syncer.model.errors import SettingsError
from syncer.model.temporary_folders import TemporaryFolder
from syncer.settings import registry


class EditorServer(LanguageServer):
    """The language server of one editor, which may have files of several projects open."""

    def __init__(self) -> None:
        # Whole texts: what counts as the end of a line inside of a change is no question then.
        super().__init__("syncer", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self.cache = TableCache()
        self.projects: dict[Path, EditedProject] = {}
        #: When a text of a project changed, by the loop's clock; None stands for files without a project.
        self.changed: dict[Path | None, float] = {}
        self.checks: dict[Path | None, asyncio.Task[None]] = {}
        #: What was said last of a project's settings.
        self.said: dict[Path, str] = {}
        self.plans: dict[Path, asyncio.Task[None]] = {}
        #: Those of the plans.
        self.processes: set[Popen[bytes]] = set()
        #: The plans that were shown: they hold values of rows.
        self.shown = TemporaryFolder()
        self.is_shut_down = False

    def leave(self) -> None:
        """Let nothing go on, and keep nothing, once the editor has gone; from any thread."""
        for process in list(self.processes):
            process.terminate()
        self.shown.close()

    def say(self, level: types.MessageType, text: str) -> None:
        """Show a message."""
        self.window_show_message(types.ShowMessageParams(type=level, message=text))

    def can(self, what: str) -> bool:
        """Whether the editor has `work_done_progress` or `show_document`."""
        found = getattr(self.client_capabilities.window, what, None)
        return bool(getattr(found, "support", found))

    def document(self, uri: str) -> TextDocument | None:
        """An open document."""
        found: TextDocument | None = self.workspace.text_documents.get(unquote(uri))
        return found

    def documents(self) -> list[TextDocument]:
        """All that are open."""
        return list(self.workspace.text_documents.values())

    def draft(self, document: TextDocument) -> DefinitionDraft:
        """The text of an open document."""
        return DefinitionDraft(source=document.source, codec=self.workspace.position_codec)

    def project(self, document: TextDocument) -> EditedProject | None:
        """The project of a document; None if it has none."""
        path = path_of(document)
        folder = folder_of(path) if path is not None else None
        return None if folder is None else self.projects.setdefault(folder, EditedProject(folder))

    def definition_path(self, document: TextDocument) -> Path | None:
        """The file of a document as its project has it; None if it is no definition of a project."""
        path, project = path_of(document), self.project(document)
        try:
            return None if path is None or project is None else project.definition_path(path)
        except SettingsError:
            return None

    def has_rules(self, document: TextDocument) -> bool:
        """Whether a document is the `attributes.yml` of its project."""
        path, project = path_of(document), self.project(document)
        try:
            return path is not None and project is not None and project.rules_path(path) is not None
        except SettingsError:
            return False

    def is_ours(self, document: TextDocument) -> bool:
        """Whether a document is a definition, or about to be one."""
        return self.draft(document).has_header or self.definition_path(document) is not None

    def tables(self, document: TextDocument) -> tuple[str, Tables]:
        """sqlglot's name of the warehouse's SQL, and what is known of its tables; begins to read what is not."""
        project = self.project(document)
        try:
            draft = self.draft(document)
            name = draft.field("warehouse") or "default"
            warehouse = project.settings.warehouses.get(name) if project else None
        except SettingsError:
            warehouse = None
        if warehouse is None:
            return "", Tables(is_whole=True)
        dialect = registry.dialect(warehouse.url.get_secret_value())
        read = [source.table for source in query.draft_query(draft.sql, dialect).sources if source.table]
        return dialect, self.cache.tables(name, warehouse, dialect=dialect, read=read)


def path_of(document: TextDocument) -> Path | None:
    """The file of a document; None if it has none yet."""
    path = to_fs_path(document.uri)
    return Path(path) if path else None
