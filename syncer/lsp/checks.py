"""What `syncer validate` finds, shown in the editor while somebody types."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from lsprotocol import types
from pygls.workspace import TextDocument

from syncer.definitions.validation import Diagnostic
from syncer.lsp.editor import EditorServer, path_of
from syncer.lsp.project import EditedProject, check_alone, folder_of
from syncer.lsp.text import DefinitionDraft
from syncer.model.errors import SettingsError

log = logging.getLogger(__name__)

#: Seconds without a change before a text is checked.
_QUIET_SECONDS = 0.3

_SEVERITIES = {"error": types.DiagnosticSeverity.Error, "warning": types.DiagnosticSeverity.Warning}


def opened(server: EditorServer, params: types.DidOpenTextDocumentParams) -> None:
    """Check a document, and read the tables that it will need."""
    _check_soon(server, params.text_document.uri)
    document = server.document(params.text_document.uri)
    if document is not None and server.draft(document).has_header:
        server.tables(document)


def changed(server: EditorServer, params: types.DidChangeTextDocumentParams) -> None:
    """Check a document once nothing more is typed."""
    _check_soon(server, params.text_document.uri)


def saved(server: EditorServer, params: types.DidSaveTextDocumentParams) -> None:
    """Check again, as other files may have changed too."""
    _check_soon(server, params.text_document.uri)


def closed(server: EditorServer, params: types.DidCloseTextDocumentParams) -> None:
    """Take back what was said of a document, and check the others against its file."""
    uri = params.text_document.uri
    _check_soon(server, uri)
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri=uri, diagnostics=[]))


def _check_soon(server: EditorServer, uri: str) -> None:
    project = server.project(server.document(uri) or TextDocument(uri))
    folder = project.path if project else None
    loop = asyncio.get_running_loop()
    server.changed[folder] = loop.time()
    if folder not in server.checks:
        server.checks[folder] = loop.create_task(_check(server, folder))


async def _check(server: EditorServer, folder: Path | None) -> None:
    """Check the open files of a project as long as they change."""
    loop = asyncio.get_running_loop()
    try:
        while folder in server.changed:
            wait = server.changed[folder] + _QUIET_SECONDS - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            del server.changed[folder]
            await _check_now(server, folder)
    finally:
        # Before anything else runs: the next change begins anew.
        del server.checks[folder]


async def _check_now(server: EditorServer, folder: Path | None) -> None:
    open_here = [
        (document, document.version, path, server.draft(document))
        for document in server.documents()
        if (path := path_of(document)) and folder_of(path) == folder
    ]
    if not open_here:
        return
    drafts = {path: draft for _, _, path, draft in open_here}
    try:
        project = server.projects.get(folder) if folder else None
        found, fault = await asyncio.to_thread(_diagnostics, project, drafts)
    except Exception as exc:
        log.warning("the definitions cannot be checked: %s", type(exc).__name__)
        return
    if folder is not None and fault != server.said.get(folder, ""):
        server.said[folder] = fault
        if fault:
            server.say(types.MessageType.Warning, fault)
    for document, version, path, draft in open_here:
        if document.version == version and server.document(document.uri) is document:
            _publish(server, document, draft, found.get(path, []))


def _diagnostics(
    project: EditedProject | None, drafts: dict[Path, DefinitionDraft]
) -> tuple[dict[Path, list[Diagnostic]], str]:
    """What is wrong with each file, and with the settings of its project."""
    data = {path: draft.source.encode("utf-8", "replace") for path, draft in drafts.items()}
    found = {path: check_alone(path, data[path]) for path, draft in drafts.items() if draft.has_header}
    if project is None:
        return found, ""
    try:
        found_in = {path: project.definition_path(path) or project.rules_path(path) for path in drafts}
        places = {path: inside for path, inside in found_in.items() if inside}
        checked = project.check({inside: data[path] for path, inside in places.items()})
    except SettingsError as exc:
        return found, exc.message
    return {**found, **{path: checked[inside] for path, inside in places.items()}}, ""


def _publish(server: EditorServer, document: TextDocument, draft: DefinitionDraft, found: list[Diagnostic]) -> None:
    diagnostics = [
        types.Diagnostic(
            range=draft.whole_line(one.line - 1),
            message="\n".join(filter(None, (one.message, one.hint))),
            severity=_SEVERITIES[one.level],
            source="syncer",
        )
        for one in found
    ]
    params = types.PublishDiagnosticsParams(uri=document.uri, version=document.version, diagnostics=diagnostics)
    server.text_document_publish_diagnostics(params)
