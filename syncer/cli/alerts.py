"""`syncer alerts`: what people were told of and is not over, and whether they can be told."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from syncer.cli import output
from syncer.cli.exit_codes import Outcome, exit_code
from syncer.cli.project import Project
from syncer.cli.runs import Json
from syncer.model.errors import SettingsError


def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a notice to each target, and tell which took it.")] = False,
    as_json: Json = False,
) -> None:
    """Show the alerts that are on; --test tries the targets."""
    project = Project()
    if test:
        _try_targets(project, as_json)
        return
    from syncer.alerts.told import Told

    found = Told(project.run_log.database).all()
    if as_json:
        for alert in found:
            output.json_line(asdict(alert))
    elif not found:
        output.line("No alert is on.")
    else:
        rows = [(alert.sync, alert.kind, output.time_text(alert.since)) for alert in found]
        output.table(("sync", "alert", "since"), rows)


def _try_targets(project: Project, as_json: bool) -> None:
    from syncer.alerts import targets

    opened = targets.opened(project.settings.alerts.targets)
    if not opened:
        raise SettingsError("there is nobody to tell", hint="Set SYNCER_ALERTS__URLS.")
    notice = targets.Notice(title="Syncer: a test", body="Alerts of Syncer arrive here.", tone=targets.Tone.NEUTRAL)
    taken = [target.take(notice) for target in opened]
    for target, took in zip(opened, taken, strict=True):
        if as_json:
            output.json_line({"target": target.label, "taken": took})
        else:
            output.line(f"{target.label}: {'taken' if took else 'not taken'}")
    if not all(taken):
        raise typer.Exit(exit_code([Outcome.FAILED]))
