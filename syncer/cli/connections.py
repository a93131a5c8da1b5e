"""`syncer connections`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project
from syncer.cli.runs import Json
from syncer.errors import SyncerError

if TYPE_CHECKING:
    from syncer.interfaces import ProfileStore, Warehouse
    from syncer.types import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    kind: str
    name: str
    url: str
    open: Callable[[], Warehouse | ProfileStore]


def connections(
    test: Annotated[
        bool, typer.Option("--test", help="Ask each one whether it answers, and a warehouse whether it can write.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the warehouses and stores of the settings."""
    project = Project()
    failed = False
    rows = []
    for connection in _connections(project):
        probe, error = _tested(connection) if test else (None, None)
        failed |= error is not None
        if as_json:
            output.json_line(_object(connection, probe, error))
        rows.append(_row(connection, probe, error))
    if not as_json:
        headings = ("kind", "name", "url", "version", "can write", "")
        shown = len(headings) if test else 3
        output.table(headings[:shown], [row[:shown] for row in rows])
    raise typer.Exit(FAILED if failed else 0)


def _connections(project: Project) -> list[_Connection]:
    from connectors import open_store, open_warehouse

    settings = project.settings
    found = [
        _Connection(
            kind="warehouse",
            name=name,
            url=warehouse.shown_url,
            open=lambda name=name, warehouse=warehouse: open_warehouse(  # type: ignore[misc]
                name, warehouse.url.get_secret_value(), options=warehouse.options
            ),
        )
        for name, warehouse in settings.warehouses.items()
    ]
    found += [
        _Connection(
            kind="store",
            name=name,
            url=store.shown_url,
            open=lambda name=name, store=store: open_store(  # type: ignore[misc]
                name, store.url.get_secret_value(), identity=store.identity, options=store.options
            ),
        )
        for name, store in settings.stores.items()
    ]
    return found


def _tested(connection: _Connection) -> tuple[Probe | None, SyncerError | None]:
    try:
        with closing(connection.open()) as opened:
            return opened.probe(), None
    except SyncerError as exc:
        return None, exc


def _object(connection: _Connection, probe: Probe | None, error: SyncerError | None) -> dict[str, object]:
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


def _row(connection: _Connection, probe: Probe | None, error: SyncerError | None) -> tuple[str, ...]:
    can_write = {True: "yes", False: "no", None: ""}[probe.can_write] if probe else ""
    told = ". ".join(filter(None, (str(error), error.hint))) if error else probe.note if probe else ""
    return connection.kind, connection.name, connection.url, probe.version if probe else "", can_write, told
