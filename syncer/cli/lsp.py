"""`syncer lsp`."""

from __future__ import annotations

import os
import sys

from syncer.cli import output, signals
from syncer.model.errors import SettingsError


def lsp() -> None:
    """Serve an editor over standard input and output.

    Editors start it; `syncer docs editor` says how.
    """
    try:
        from syncer.lsp.server import editor_server, serve
    except ModuleNotFoundError as exc:
        if exc.name not in ("pygls", "lsprotocol"):
            raise
        hint = "Install it with `pip install 'syncer[lsp]'`."
        raise SettingsError("the language server is not installed", hint=hint) from None
    # Only the protocol may go to standard output, whatever a driver prints.
    protocol = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    server = editor_server()

    def stop() -> None:
        server.leave()
        os._exit(signals.exit_code() or 1)

    with signals.heard(stop):
        code = serve(server, sys.stdin.buffer, protocol)
    output.flush()
    # A driver that hangs must not keep the process.
    os._exit(code)
