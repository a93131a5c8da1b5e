"""`syncer verify`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project
from syncer.model.errors import SelectionError, SyncerError

if TYPE_CHECKING:
    from syncer.model.types import SyncDefinition
    from syncer.sync.verification import Verified

_COUNTS = ("checked", "equal", "different", "missing", "extra", "repaired")


def verify(
    select: Select = None,
    exclude: Exclude = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Compare so many rows, chosen at random. Default: 1000."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Compare every row, and look for what should not be there.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Let the next run send what differs again, and remove what is extra.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare what the store contains with what syncs sent."""
    if everything and sample is not None:
        raise SelectionError("`--all` and `--sample` do not go together", hint="Leave one of them out.")
    from syncer.sync import verification

    project = Project()
    selected = project.names(select or [], exclude or [], to="verify")
    rows = None if everything else sample or verification.SAMPLE_ROWS
    outcomes = [_verify_one(project, name, rows, repair=repair, as_json=as_json) for name in selected.names]
    raise typer.Exit(selected.code or CODES[max(outcomes, default=Outcome.WELL)])


def _verify_one(project: Project, name: str, rows: int | None, *, repair: bool, as_json: bool) -> Outcome:
    from syncer.sync import verification

    try:
        definition = _definition(project, name)
        found = verification.verify(project.runner, definition, project.loaded.definitions, rows=rows, repair=repair)
    except SyncerError as exc:
        output.print_exception(exc)
        return outcome_of(exc)
    if as_json:
        output.json_line({"sync": name} | {count: getattr(found, count) for count in _COUNTS})
    else:
        _print(definition, found)
    for note in found.notes:
        output.remark(f"note: {note}", as_json=as_json)
    if repair and not found.is_equal:
        again = f"rows in doubt now, which the next run sends again or removes: {found.repaired:,}"
        output.remark(f"{again}; `syncer run {name}` does it now", as_json=as_json)
    return Outcome.WELL if found.is_equal else Outcome.ROWS_REJECTED


def _definition(project: Project, name: str) -> SyncDefinition:
    for definition in project.loaded.definitions:
        if definition.name == name:
            return definition
    if name in project.loaded.broken:
        raise project.loaded.broken[name]
    raise SelectionError(f"`{name}` has no definition that can be used", hint="`syncer validate` shows what is wrong.")


def _print(definition: SyncDefinition, found: Verified) -> None:
    if not found.is_compared:
        output.line(f"{definition.name}: not compared")
        return
    counts = [
        ("equal", found.equal),
        ("different", found.different),
        ("missing", found.missing),
        ("extra", found.extra),
    ]
    counted = ", ".join(f"{number:,} {word}" for word, number in counts if number or word == "equal")
    output.line(f"{definition.name}: {found.checked:,} rows checked: {counted}")
    columns = definition.target.key_columns
    key = columns[0] if len(columns) == 1 else f"[{', '.join(columns)}]"
    differing = [f"{each}: {', '.join(names)}" for each, names in found.different_keys]
    _print_keys("different", f"{key} ", differing, found.different)
    _print_keys("missing", f"{key} ", found.missing_keys, found.missing)
    _print_keys("extra", f"{key} ", found.extra_keys, found.extra)


def _print_keys(word: str, before: str, shown: Iterable[str], total: int) -> None:
    lines = list(shown)
    if lines:
        output.line(f"  {word}" + (f", {len(lines)} of {total:,}" if len(lines) < total else ""))
    for text in lines:
        output.line(f"    {before}{text}")
