"""`syncer connections`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Json
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project

if TYPE_CHECKING:
    from syncer.model.errors import SyncerError
    from syncer.model.types import Probe
    from syncer.sync.connections import Connection


def connections(
    test: Annotated[
        bool, typer.Option("--test", help="Test whether each one answers, and whether a warehouse's role could write.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the configured warehouses and stores."""
    from syncer.sync.connections import connections as of_settings
    from syncer.sync.connections import tested

    failed = False
    rows = []
    for connection in of_settings(Project().settings):
        found = tested(connection) if test else None
        probe, error = (found.probe, found.error) if found else (None, None)
        failed |= error is not None
        if as_json:
            output.json_line(_object(connection, probe, error))
        rows.append(_row(connection, probe, error))
    if not as_json:
        headings = ("kind", "name", "url", "version", "can write", "")
        shown = len(headings) if test else 3
        output.table(headings[:shown], [row[:shown] for row in rows])
    raise typer.Exit(FAILED if failed else 0)


def _object(connection: Connection, probe: Probe | None, error: SyncerError | None) -> dict[str, object]:
    return {
        "kind": connection.kind,
        "name": connection.name,
        "url": connection.url,
        "reachable": None if probe is None and error is None else probe is not None,
        "version": probe.version if probe else None,
        "can_write": probe.can_write if probe else None,
        "note": probe.note if probe else "",
        "error": str(error) if error else None,
    }


def _row(connection: Connection, probe: Probe | None, error: SyncerError | None) -> tuple[str, ...]:
    can_write = {True: "yes", False: "no", None: ""}[probe.can_write] if probe else ""
    remark = ". ".join(filter(None, (str(error), error.hint))) if error else probe.note if probe else ""
    return connection.kind, connection.name, connection.url, probe.version if probe else "", can_write, remark
