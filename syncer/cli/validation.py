"""`syncer validate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project
from syncer.model.errors import DefinitionError, SyncerError, WarehouseError
from syncer.model.spelling import quoted
from syncer.model.types import SyncDefinition

if TYPE_CHECKING:
    from syncer.model.protocols import Warehouse
    from syncer.queries.query import Query


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Finding:
    """An error or a warning at one line of a file; its fields are those of `--json`."""

    file: str
    line: int
    level: str
    message: str
    hint: str


def validate(
    select: Select = None,
    exclude: Exclude = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also check each query and its columns against the warehouse.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check definitions without running them."""
    project = Project()
    selected = project.select(select or [], exclude or [])
    paths = {sync.path for sync in selected.definitions} | {error.path for error in selected.errors}
    findings = {_of_error(error) for error in selected.errors}
    queries: list[Query] = []
    for definition in selected.definitions:
        try:
            queries.append(_query(project, definition))
        except DefinitionError as exc:
            findings.add(_of_error(exc))
    columns: dict[str, tuple[str, ...]] = {}
    outcomes = [*_ask_warehouses(project, queries, columns, findings)] if connect else []
    findings |= _warnings(project, paths, columns)
    _print(sorted(findings), checked=len(paths), as_json=as_json)
    outcomes += [Outcome.UNUSABLE for finding in findings if finding.level == "error"]
    raise typer.Exit(CODES[max(outcomes, default=Outcome.WELL)])


def _query(project: Project, definition: SyncDefinition) -> Query:
    from syncer.queries import query
    from syncer.settings import registry

    rendered = _rendered(project, definition, 0)
    url = project.settings.warehouses[definition.warehouse].url.get_secret_value()
    statement = query.check(definition, rendered, registry.dialect(url))
    return query.Query(definition=definition, rendered=rendered, statement=statement)


def _rendered(project: Project, definition: SyncDefinition, last_sync_time: int) -> str:
    from syncer.queries import query
    from syncer.settings.secrets import query_variables

    settings = project.settings
    return query.render(
        definition,
        last_sync_time=last_sync_time,
        variables=settings.vars,
        environment=lambda: query_variables(settings),
    )


def _ask_warehouses(
    project: Project, chosen: Sequence[Query], columns: dict[str, tuple[str, ...]], findings: set[_Finding]
) -> Iterator[Outcome]:
    """Add the columns of each query, or what is wrong with it; gives an outcome for each warehouse that fails."""
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
                    findings |= set(_cursors_without_zone(project, warehouse, query.definition))
                except WarehouseError as exc:
                    findings.add(_of_error(fault(query.definition, query.rendered, exc)))
                except DefinitionError as exc:
                    findings.add(_of_error(exc))


def _columns(warehouse: Warehouse, query: Query) -> tuple[str, ...]:
    from syncer.definitions.columns import check_columns

    found = warehouse.columns(query.statement)
    columns = tuple(column.name for column in found)
    check_columns(query.definition, columns, [column.written or column.name for column in found])
    return columns


def _cursors_without_zone(project: Project, warehouse: Warehouse, definition: SyncDefinition) -> Iterator[_Finding]:
    """A warning for each column without a time zone that the query compares with `last_sync_time`."""
    if not definition.incremental:
        return
    from syncer.queries.cursors import MARKER, cursors, has_no_zone
    from syncer.queries.query import template
    from syncer.settings import registry

    parsed = template(definition.path, definition.sql, definition.sql_line)
    dialect = registry.dialect(project.settings.warehouses[definition.warehouse].url.get_secret_value())
    for cursor in cursors(_rendered(project, definition, MARKER), dialect):
        try:
            (column,) = warehouse.columns(cursor.query)
        except (WarehouseError, ValueError):
            # sqlglot may have spelled this query as the warehouse does not know it.
            continue
        if has_no_zone(column.type, dialect):
            yield _Finding(
                file=str(definition.path),
                line=(parsed and parsed.incremental_line) or definition.sql_line,
                level="warning",
                message=f"the column {quoted(cursor.name)} has no time zone ({column.type}), and `last_sync_time` is "
                "UTC: rows are missed if the column is of another zone",
                hint="Convert it in the condition, as in `x AT TIME ZONE 'UTC'`, or set a `lookback` that covers the "
                "difference.",
            )


def _warnings(project: Project, paths: set[Path], columns: Mapping[str, Sequence[str]]) -> set[_Finding]:
    from syncer.definitions.conflicts import different_person_keys, missing_limits, shared_attributes
    from syncer.settings.registry import connector_of, stores

    definitions = project.loaded.definitions
    found = [*shared_attributes(definitions, columns), *different_person_keys(definitions)]
    urls = {name: store.url.get_secret_value() for name, store in project.settings.stores.items()}
    connectors = {name: connector_of(url, stores()) for name, url in urls.items()}
    billed = [name for name, connector in connectors.items() if connector is not None and connector.bills_people]
    found += missing_limits(definitions, billed)
    return {
        _Finding(file=str(warning.path), line=warning.line, level="warning", message=warning.message, hint="")
        for warning in found
        if warning.path in paths
    }


def _of_error(error: DefinitionError) -> _Finding:
    return _Finding(file=str(error.path), line=error.line, level="error", message=error.message, hint=error.hint)


def _print(findings: Iterable[_Finding], *, checked: int, as_json: bool) -> None:
    counts = {"definition": checked, "error": 0, "warning": 0}
    for finding in findings:
        counts[finding.level] += 1
        if as_json:
            output.json_line(asdict(finding))
            continue
        output.line(f"{finding.file}:{finding.line}: {finding.level}: {finding.message}")
        if finding.hint:
            output.line(f"  {finding.hint}")
    summary = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
    output.remark(summary, as_json=as_json)
