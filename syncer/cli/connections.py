"""`syncer connections` and `alerts`: what Syncer reads, writes and tells, and whether each can be reached."""

from __future__ import annotations

import enum
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Json, Select, until
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project, now, user
from syncer.model.errors import SelectionError, SettingsError, SyncerError

if TYPE_CHECKING:
    from syncer.model.types import Probe
    from syncer.sync.connections import Connection


def connections(
    test: Annotated[
        bool, typer.Option("--test", help="Test whether each one answers, and whether its login could write.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the configured warehouses and stores, and where shared snapshots are kept."""
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


class AlertAction(enum.StrEnum):
    """What `syncer alerts` does with the alerts of syncs."""

    MUTE = "mute"
    UNMUTE = "unmute"


def alerts(
    action: Annotated[
        AlertAction | None, typer.Argument(metavar="mute|unmute", help="Mute the alerts of syncs, or end that.")
    ] = None,
    select: Select = None,
    until_text: Annotated[
        str, typer.Option("--until", metavar="T", help="When a mute ends: 2026-12-31, 12h, 7d.")
    ] = "1d",
    reason: Annotated[str, typer.Option(metavar="WHY", help="Why they are muted.")] = "",
    test: Annotated[bool, typer.Option("--test", help="Send a test notice to each target.")] = False,
    as_json: Json = False,
) -> None:
    """Show open alerts; mute those of syncs; --test sends a test notice.

    Nobody gets a notice of a muted sync. What is wrong with it when the mute ends is reported then.
    """
    project = Project()
    if action is not None:
        _mute(project, action, select or [], reason, until_text, as_json=as_json)
    elif test:
        _try_targets(project, as_json)
    else:
        _show_alerts(project, as_json=as_json)


def _show_alerts(project: Project, *, as_json: bool) -> None:
    from syncer.state.alerts import Mutes, OpenAlerts

    found, muted = OpenAlerts(project.database).all(), Mutes(project.database).current(now())
    if as_json:
        for alert in found:
            output.json_line(
                {**asdict(alert), "muted_until": muted[alert.about].until if alert.about in muted else None}
            )
        return
    if found:
        rows = [(alert.about, alert.kind, output.time_text(alert.since)) for alert in found]
        output.table(("about", "alert", "since"), rows)
    else:
        output.line("No open alerts.")
    for mute in muted.values():
        said = f"{mute.sync} is muted until {output.time_text(mute.until)} by {mute.actor}"
        output.line(f"{said}: {mute.reason}" if mute.reason else f"{said}.")


def _mute(
    project: Project, action: AlertAction, select: list[str], reason: str, until_text: str, *, as_json: bool
) -> None:
    from syncer.state.alerts import Mute, Mutes

    if action is AlertAction.MUTE and not reason:
        raise SelectionError("a mute needs a reason", hint="Add --reason, so that others know why.")
    selected, at = project.names(select, to=f"alerts {action}"), now()
    mutes, actor, end = Mutes(project.database), user(), until(until_text, at)
    for name in selected.names:
        if action is AlertAction.MUTE:
            mutes.mute(Mute(sync=name, actor=actor, reason=reason, at=at, until=end))
        was_muted = action is AlertAction.MUTE or mutes.unmute(name)
        if as_json:
            output.json_line({"sync": name, "muted_until": end if action is AlertAction.MUTE else None})
        elif action is AlertAction.MUTE:
            output.line(f"{name} is muted until {output.time_text(end)}; `syncer alerts unmute {name}` ends that.")
        else:
            output.line(f"{name} {'is no longer' if was_muted else 'was not'} muted.")
    raise typer.Exit(selected.code)


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

    settings = project.settings.alerts
    of_owners = targets.opened_of_owners(settings.targets_of_owners).values()
    opened = [*targets.opened(settings.targets), *chain.from_iterable(of_owners)]
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
