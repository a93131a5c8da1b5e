"""`syncer alerts`: the open alerts, and whether the targets can be reached."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Json
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project
from syncer.model.errors import SettingsError


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
        rows = [(alert.sync, alert.kind, output.time_text(alert.since)) for alert in found]
        output.table(("sync", "alert", "since"), rows)


def _try_targets(project: Project, as_json: bool) -> None:
    from syncer.alerts import targets

    opened = targets.opened(project.settings.alerts.targets)
    if not opened:
        raise SettingsError("no alert target is set", hint="Set SYNCER_ALERTS__URLS. See `syncer docs monitoring`.")
    notice = targets.Notice(title="Syncer: a test", body="Syncer sends its alerts here.", tone=targets.Tone.NEUTRAL)
    accepted = {target.label: target.accepts(notice) for target in opened}
    for label, taken in accepted.items():
        if as_json:
            output.json_line({"target": label, "taken": taken})
        else:
            output.line(f"{label}: {'delivered' if taken else 'not delivered'}")
    if not all(accepted.values()):
        raise typer.Exit(FAILED)
