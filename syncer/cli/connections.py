"""`syncer connections` and `alerts`: the warehouses, stores and alert targets, and whether they can be reached."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Json
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project
from syncer.model.errors import SettingsError, SyncerError

if TYPE_CHECKING:
    from syncer.model.types import Probe
    from syncer.sync.connections import Connection


def connections(
    test: Annotated[
        bool, typer.Option("--test", help="Test whether each one answers, and whether its login could write.")
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
        failed |= error is not None or (connection.kind == "store" and probe is not None and probe.can_write is False)
        if as_json:
            output.json_line(_object(connection, probe, error))
        rows.append(_row(connection, probe, error))
    if not as_json:
        headings = ("kind", "name", "url", "version", "can write", "")
        shown = len(headings) if test else 3
        output.table(headings[:shown], [row[:shown] for row in rows])
    raise typer.Exit(FAILED if failed else 0)


def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a test notice to each target.")] = False,
    as_json: Json = False,
) -> None:
    """Show open alerts; --test sends a test notice."""
    project = Project()
    if test:
        _try_targets(project, as_json)
        return
    from syncer.state.alerts import OpenAlerts

    found = OpenAlerts(project.run_log.database).all()
    if as_json:
        for alert in found:
            output.json_line(asdict(alert))
    elif not found:
        output.line("No open alerts.")
    else:
        rows = [(alert.about, alert.kind, output.time_text(alert.since)) for alert in found]
        output.table(("about", "alert", "since"), rows)


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


def _try_targets(project: Project, as_json: bool) -> None:
    from syncer.alerts import targets

    opened = targets.opened(project.settings.alerts.targets)
    if not opened:
        raise SettingsError("no alert target is set", hint="Set SYNCER_ALERTS__URLS. See `syncer docs monitoring`.")
    notice = targets.Notice(title="Syncer: a test", body="Syncer sends its alerts here.", tone=targets.Tone.NEUTRAL)
    accepted = {target: target.accepts(notice) for target in opened}
    for target, taken in accepted.items():
        if as_json:
            output.json_line({"target": target.label, "taken": taken})
        else:
            failed = f"not delivered: {target.fault}" if target.fault else "not delivered"
            output.line(f"{target.label}: {'delivered' if taken else failed}")
    if not all(accepted.values()):
        raise typer.Exit(FAILED)
