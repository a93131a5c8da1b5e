"""The language server: which function answers which message, and how it ends."""

from __future__ import annotations

from typing import BinaryIO

from lsprotocol import types

from syncer.lsp import answers, checks, plan
from syncer.lsp.editor import EditorServer


def editor_server() -> EditorServer:
    """A server that has not been started yet."""
    server = EditorServer()
    triggers = types.CompletionOptions(trigger_characters=[".", " "])
    server.feature(types.TEXT_DOCUMENT_DID_OPEN)(checks.opened)
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(checks.changed)
    server.feature(types.TEXT_DOCUMENT_DID_SAVE)(checks.saved)
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(checks.closed)
    server.feature(types.TEXT_DOCUMENT_COMPLETION, triggers)(answers.complete)
    server.feature(types.TEXT_DOCUMENT_HOVER)(answers.hover)
    server.feature(types.TEXT_DOCUMENT_CODE_LENS)(answers.lenses)
    server.feature(types.SHUTDOWN)(plan.shutdown)
    server.command(plan.PLAN)(plan.plan_file)
    return server


def serve(server: EditorServer, requests: BinaryIO, answers: BinaryIO) -> int:
    """Serve an editor until it says goodbye, or is gone; gives the exit code that the protocol wants."""
    try:
        server.start_io(requests, answers)
    finally:
        server.leave()
    return 0 if server.is_shut_down else 1
