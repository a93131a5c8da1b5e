"""`syncer rejected`: the rejected rows of syncs; people can acknowledge them, and try them again."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select, until
from syncer.cli.project import Project, now, user
from syncer.model.errors import SelectionError
from syncer.model.json_text import json_value
from syncer.model.types import Acknowledgement, Rejection

if TYPE_CHECKING:
    from syncer.state.rejections import RejectionFilter, Rejections

_FIELDS = ("sync", "key", "reason", "attempts", "first_seen", "last_seen")
_OF_ACKNOWLEDGEMENT = ("by", "reason", "at", "until")


def rejected(
    select: Select = None,
    exclude: Exclude = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Only rows whose reason contains this text.")] = "",
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Only rows whose key, reason or values contain this text.")
    ] = "",
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only rows with this key; if it is empty, those without one.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many rows to show of each sync.")] = None,
    groups: Annotated[bool, typer.Option("--groups", help="Show each reason, with the number of its rows.")] = False,
    acknowledge: Annotated[
        str, typer.Option(metavar="WHY", help="Let these rows count no more, until they change or --until.")
    ] = "",
    until_text: Annotated[
        str,
        typer.Option("--until", metavar="T", help="When that ends: 2026-12-31, 12h, 7d; default: in 30 days."),
    ] = "",
    unacknowledge: Annotated[bool, typer.Option("--unacknowledge", help="Let these rows count again.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try them again now: run their syncs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Show the rejected rows of syncs, with reasons."""
    from syncer.state.rejections import ACKNOWLEDGED, RejectionFilter, Rejections

    chosen = [bool(acknowledge), unacknowledge, retry, as_csv, groups]
    if sum(chosen) > 1 or (until_text and not acknowledge) or (as_csv and as_json):
        raise SelectionError(
            "these options do not go together",
            hint="Choose one of --acknowledge (with or without --until), --unacknowledge, --retry, --groups, --csv.",
        )
    project = Project()
    if not select and (acknowledge or unacknowledge or retry):
        raise SelectionError("nothing is selected", hint="Name the syncs whose rejected rows are meant.")
    selected = project.names(select or [], exclude or [])
    wanted = RejectionFilter(text=search, in_values=True, reason_part=reason, key=key)
    rejections = Rejections(project.database)
    if acknowledge or unacknowledge:
        given = Acknowledgement(by=user(), reason=acknowledge, at=now(), until=until(until_text or ACKNOWLEDGED, now()))
        _acknowledge(rejections, selected.names, wanted, given, as_json=as_json)
    elif retry:
        _retry(rejections, selected.names, wanted, as_json=as_json)
    elif groups:
        _show_groups(rejections, selected.names, wanted, as_json=as_json)
    else:
        _show(rejections, selected.names, wanted, limit, as_csv=as_csv, as_json=as_json)
        for name in selected.names:
            if not project.run_log.recent(name, 1):
                text = f"note: {name} has not run so far; `syncer plan {name}` shows which rows would be rejected"
                output.remark(text, as_json=as_csv or as_json)
    raise typer.Exit(selected.code)


def rejection_object(row: Rejection) -> dict[str, object]:
    """A rejected row as `syncer rejected --json` prints it."""
    known = {"columns": list(row.row.columns), "values": row.row.values and json_value(row.row.values)}
    given = row.acknowledged and {name: getattr(row.acknowledged, name) for name in _OF_ACKNOWLEDGEMENT}
    return {**{name: getattr(row, name) for name in _FIELDS}, **known, "acknowledged": given}


def _show(
    rejections: Rejections,
    names: Sequence[str],
    wanted: RejectionFilter,
    limit: int | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    from syncer.state.schema import KEPT_REJECTIONS

    found = {name: rejections.of(name, wanted, now=now(), limit=limit or KEPT_REJECTIONS) for name in names}
    rows = [row for kept, _ in found.values() for row in kept]
    if as_json:
        for row in rows:
            output.json_line(rejection_object(row))
    elif as_csv:
        _print_csv(rows)
    elif rows:
        _print_table(rows, with_sync=len(found) > 1)
    else:
        what = "No row" if len(found) != 1 else f"No row of {next(iter(found))}"
        output.line(f"{what} is rejected{'' if wanted == replace(_any(), in_values=True) else ' that fits'}.")
    left = sum(matching for _, matching in found.values()) - len(rows)
    if left:
        output.remark(f"note: {left:,} more rows fit; --limit shows more", as_json=as_json or as_csv)
    kept = sum(rejections.of(name, now=now(), limit=1)[1] for name in names)
    if not_kept := sum(map(rejections.total, names)) - kept:
        output.remark(
            f"note: {not_kept:,} more rows are rejected; the run log keeps only the first", as_json=as_json or as_csv
        )


def _any() -> RejectionFilter:
    from syncer.state.rejections import RejectionFilter

    return RejectionFilter()


def _print_table(rows: Iterable[Rejection], *, with_sync: bool) -> None:
    shown = [_cells(row) for row in rows]
    are_known = any(cells[-1] for cells in shown)
    headings = ("sync", "key", "attempts", "first seen", "last seen", "reason", "acknowledged")
    part = slice(0 if with_sync else 1, None if are_known else -1)
    output.table(headings[part], [cells[part] for cells in shown], right=("attempts",))


def _cells(row: Rejection) -> tuple[str, ...]:
    seen = output.time_text(row.first_seen), output.time_text(row.last_seen)
    differing = f" (they differ in {', '.join(row.row.columns)})" if row.row.columns else ""
    given = row.acknowledged
    known = f"until {output.time_text(given.until)} by {given.by}: {given.reason}" if given else ""
    key = row.key or f"(none) {row.row.values or ''}".strip()
    return row.sync, key, str(row.attempts), *seen, f"{row.reason}{differing}", known


def _print_csv(rows: Iterable[Rejection]) -> None:
    from syncer.state.rejections import CSV_HEADINGS, csv_row

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_HEADINGS)
    writer.writerows(map(csv_row, rows))


def _show_groups(rejections: Rejections, names: Sequence[str], wanted: RejectionFilter, *, as_json: bool) -> None:
    found = [(name, group) for name in names for group in rejections.groups(name, wanted, now=now())]
    for name, group in found if as_json else ():
        known = {"first_seen": group.first_seen, "last_seen": group.last_seen}
        counts = {"rows": group.rows, "acknowledged": group.acknowledged, "columns": list(group.columns)}
        output.json_line({"sync": name, "reason": group.reason, **counts, **known})
    if as_json:
        return
    if not found:
        output.line("No row is rejected.")
        return
    headings = ("sync", "rows", "acknowledged", "first seen", "columns", "reason")
    cells = [
        (
            name,
            str(group.rows),
            str(group.acknowledged),
            output.time_text(group.first_seen),
            ", ".join(group.columns),
            group.reason,
        )
        for name, group in found
    ]
    output.table(headings, cells, right=("rows", "acknowledged"))


def _acknowledge(
    rejections: Rejections,
    names: Sequence[str],
    wanted: RejectionFilter,
    given: Acknowledgement,
    *,
    as_json: bool,
) -> None:
    for name in names:
        if given.reason:
            rows = rejections.acknowledge(name, wanted, given)
            said = f"acknowledged until {output.time_text(given.until)}, or until they change"
        else:
            rows, said = rejections.unacknowledge(name, wanted, now=given.at), "no longer acknowledged"
        if as_json:
            output.json_line({"sync": name, "rows": rows, "until": given.until if given.reason else None})
        elif rows or len(names) == 1:
            output.line(f"{name}: {rows:,} {'row is' if rows == 1 else 'rows are'} {said}.")


def _retry(rejections: Rejections, names: Sequence[str], wanted: RejectionFilter, *, as_json: bool) -> None:
    from syncer.cli.runs import run

    having = [name for name in names if rejections.of(name, wanted, now=now(), limit=1)[0]]
    if not having:
        output.remark("No row is rejected.", as_json=as_json)
        return
    run(select=having, row=wanted.key or None, as_json=as_json)
