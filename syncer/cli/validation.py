"""`syncer validate` and `explain-error`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project, Selected
from syncer.model.errors import (
    DefinitionError,
    SelectionError,
    StoreError,
    StoreRefusesError,
    SyncerError,
    WarehouseError,
)
from syncer.model.spelling import quoted
from syncer.model.types import SyncDefinition

if TYPE_CHECKING:
    from syncer.definitions.validation import Diagnostic
    from syncer.model.protocols import Warehouse
    from syncer.queries.query import Query

#: So many lines of a query are shown before and after the one to blame.
_LINES_AROUND = 3


def validate(
    select: Select = None,
    exclude: Exclude = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also ask the warehouse about each query and its columns, and the store.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check definitions without running them."""
    from syncer.definitions.validation import Diagnostic, check_definitions, warnings

    project = Project()
    selected = project.select(select or [], exclude or [])
    paths = {sync.path for sync in selected.definitions} | {error.path for error in selected.errors}
    queries, errors = check_definitions(project.settings, selected.definitions)
    found = {*map(Diagnostic.of_error, selected.errors), *errors}
    columns: dict[str, tuple[str, ...]] = {}
    outcomes: list[Outcome] = []
    if connect:
        outcomes += [*_ask_warehouses(project, queries, columns, found), *_ask_stores(project, selected, found)]
        _ask_about_neighbours(project, selected, columns)
    found |= warnings(project.settings, project.loaded.definitions, paths=paths, columns=columns)
    _print(sorted(found), checked=len(paths), as_json=as_json)
    outcomes += [Outcome.UNUSABLE for one in found if one.level == "error"]
    raise typer.Exit(CODES[max(outcomes, default=Outcome.WELL)])


def explain_error(
    run_id: Annotated[str, typer.Argument(help="Of the run, as `syncer runs` shows it.")], as_json: Json = False
) -> None:
    """Show where a run's query failed, and a query that finds the row.

    Syncer does not run that query: its result has values of rows.
    """
    from syncer.definitions.validation import explanation

    project = Project()
    run = project.run_log.get(run_id)
    if run is None:
        raise SelectionError(f"there is no run {quoted(run_id)}", hint="`syncer runs` shows the runs with their ids.")
    definition = next((one for one in project.loaded.definitions if one.name == run.sync), None)
    found = explanation(project.settings, definition, run) if definition and run.error else None
    if as_json:
        suspects = zip(found.suspects, found.queries, strict=True) if found else ()
        first = definition.sql_line - 1 if definition else 0
        output.json_line(
            {
                "run_id": run.id,
                "sync": run.sync,
                "status": run.status,
                "error": run.error,
                "hint": run.hint,
                "file": str(definition.path) if definition else None,
                "line": found.line if found else None,
                "file_changed": found.is_changed if found else None,
                "suspects": [
                    {"expression": one.expression, "line": one.line + first, "column": one.column, "query": sql}
                    for one, sql in suspects
                ],
            }
        )
        return
    output.line(f"{run.sync}: {run.status}" + (f": {run.error}" if run.error else "; it has no error."))
    if run.hint:
        output.line(f"  {run.hint}")
    if definition is None or found is None:
        if run.error:
            output.line("The sync has no file that can be used now.")
        return
    if found.is_changed:
        output.line("The file is another than it was then; this is about what it says now.")
    _print_lines(definition, found.line)
    for one, sql in zip(found.suspects, found.queries, strict=True):
        place = f"`{one.expression}` (line {one.line + definition.sql_line - 1}, column {one.column})"
        does = "No query can be written that" if sql is None else "Run this query in the warehouse: it"
        for text in ("", f"{does} finds the rows of which {place} fails.", *(["", *sql.splitlines()] if sql else [])):
            output.line(text)
    if not found.suspects:
        output.line("The error does not say that the value of a row is to blame.")


def _print_lines(definition: SyncDefinition, line: int | None) -> None:
    """The lines of the query around one that is to blame."""
    for number, text in enumerate(definition.sql.splitlines(), start=definition.sql_line):
        if line is not None and abs(number - line) <= _LINES_AROUND:
            output.line(f"{'>' if number == line else ' '} {number:>4} | {text}")


def _ask_warehouses(
    project: Project, chosen: Sequence[Query], columns: dict[str, tuple[str, ...]], found: set[Diagnostic]
) -> Iterator[Outcome]:
    """Add the columns of each query, or what is wrong with it; gives an outcome for each warehouse that fails."""
    from syncer.definitions.validation import Diagnostic
    from syncer.queries.faults import fault

    for name in sorted({query.definition.warehouse for query in chosen}):
        try:
            warehouse = project.settings.warehouses[name].open(name)
        except SyncerError as exc:
            output.print_exception(exc)
            yield outcome_of(exc)
            continue
        with closing(warehouse):
            for query in (query for query in chosen if query.definition.warehouse == name):
                try:
                    columns[query.definition.name] = _columns(warehouse, query)
                    found |= set(_cursors_without_zone(project, warehouse, query.definition))
                except WarehouseError as exc:
                    found.add(Diagnostic.of_error(fault(query.definition, query.rendered, exc, query.dialect)))
                except DefinitionError as exc:
                    found.add(Diagnostic.of_error(exc))


def _ask_stores(project: Project, selected: Selected, found: set[Diagnostic]) -> Iterator[Outcome]:
    """Add what stores refuse of the definitions; gives an outcome for each store that fails."""
    from syncer.definitions.validation import Diagnostic, refusal
    from syncer.model.protocols import TriesWriting

    for name in sorted({definition.store for definition in selected.definitions}):
        try:
            with closing(project.settings.stores[name].open(name)) as store:
                for definition in (one for one in selected.definitions if one.store == name):
                    try:
                        store.check(definition.target, create=definition.create)
                    except StoreRefusesError as exc:
                        found.add(Diagnostic.of_error(refusal(definition, exc)))
                if isinstance(store, TriesWriting) and (fault := store.write_fault()):
                    raise StoreError(f"store `{name}` cannot be written: {fault}")
        except SyncerError as exc:
            output.print_exception(exc)
            yield outcome_of(exc)


def _ask_about_neighbours(project: Project, selected: Selected, columns: dict[str, tuple[str, ...]]) -> None:
    """Add the columns of syncs that are not selected, but may write the same attributes; what fails is left out."""
    from syncer.definitions.conflicts import neighbours_to_ask
    from syncer.definitions.validation import check_definitions

    others = neighbours_to_ask(selected.definitions, project.loaded.definitions)
    queries, _ = check_definitions(project.settings, others)
    for name in sorted({query.definition.warehouse for query in queries}):
        with suppress(SyncerError), closing(project.settings.warehouses[name].open(name)) as warehouse:
            for query in (query for query in queries if query.definition.warehouse == name):
                with suppress(SyncerError):
                    columns[query.definition.name] = _columns(warehouse, query)


def _columns(warehouse: Warehouse, query: Query) -> tuple[str, ...]:
    from syncer.definitions.columns import check_columns

    found = warehouse.columns(query.statement)
    columns = tuple(column.name for column in found)
    check_columns(query.definition, columns, [column.written or column.name for column in found])
    return columns


def _cursors_without_zone(project: Project, warehouse: Warehouse, definition: SyncDefinition) -> Iterator[Diagnostic]:
    """A warning for each column without a time zone that the query compares with `last_sync_time`."""
    if not definition.incremental:
        return
    from syncer.definitions.validation import Diagnostic, dialect_of, rendered
    from syncer.queries.cursors import MARKER, cursors, has_no_zone
    from syncer.queries.query import template

    parsed = template(definition.path, definition.sql, definition.sql_line)
    dialect = dialect_of(project.settings, definition)
    for cursor in cursors(rendered(project.settings, definition, MARKER), dialect):
        try:
            (column,) = warehouse.columns(cursor.query)
        except (WarehouseError, ValueError):
            # sqlglot may have spelled this query as the warehouse does not know it.
            continue
        if has_no_zone(column.type, dialect):
            yield Diagnostic(
                file=str(definition.path),
                line=(parsed and parsed.incremental_line) or definition.sql_line,
                level="warning",
                message=f"the column {quoted(cursor.name)} has no time zone ({column.type}), and `last_sync_time` is "
                "UTC: rows are missed if the column is of another zone",
                hint="Convert it in the condition, as in `x AT TIME ZONE 'UTC'`, or set a `lookback` that covers the "
                "difference.",
            )


def _print(found: Iterable[Diagnostic], *, checked: int, as_json: bool) -> None:
    counts = {"definition": checked, "error": 0, "warning": 0}
    for each in found:
        counts[each.level] += 1
        if as_json:
            output.json_line(asdict(each))
            continue
        output.line(f"{each.file}:{each.line}: {each.level}: {each.message}")
        if each.hint:
            output.line(f"  {each.hint}")
    summary = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
    output.remark(summary, as_json=as_json)
