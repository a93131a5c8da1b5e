"""What can be said of definitions without asking a warehouse: what `syncer validate` and an editor show."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.definitions.columns import error_at
from syncer.definitions.conflicts import (
    columns_not_sent,
    different_person_keys,
    missing_limits,
    people_made_anew,
    shared_attributes,
    written_attributes,
)
from syncer.model.errors import DefinitionError, StoreRefusesError, WarehouseRefusesError
from syncer.model.types import Run, SyncDefinition
from syncer.queries import query
from syncer.queries.cursors import MARKER
from syncer.queries.faults import without_values
from syncer.queries.query import Query
from syncer.queries.value_faults import Suspect, finding, suspects
from syncer.settings import keeping, registry
from syncer.settings.secrets import query_variables

if TYPE_CHECKING:
    from syncer.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Diagnostic:
    """An error or a warning at one line of a file; its fields are those of `validate --json`."""

    file: str
    line: int
    #: `error` or `warning`.
    level: str
    message: str
    hint: str

    @classmethod
    def of_error(cls, error: DefinitionError) -> Diagnostic:
        """The same as a diagnostic."""
        return cls(file=str(error.path), line=error.line, level="error", message=error.message, hint=error.hint)


def rendered(settings: Settings, definition: SyncDefinition, last_sync_time: int) -> str:
    """The query's text; see `query.render`."""
    return query.render(
        definition,
        last_sync_time=last_sync_time,
        last_event_time=last_sync_time,
        variables=settings.vars,
        environment=lambda: query_variables(settings),
    )


def dialect_of(settings: Settings, definition: SyncDefinition) -> str:
    """sqlglot's name for the SQL of the definition's warehouse."""
    return registry.dialect(settings.warehouses[definition.warehouse].url.get_secret_value())


def check_definitions(
    settings: Settings, definitions: Iterable[SyncDefinition]
) -> tuple[list[Query], list[Diagnostic]]:
    """The queries of *definitions* that can go to their warehouses, and all for which a run would fail before that."""
    queries: list[Query] = []
    errors: list[Diagnostic] = []
    for definition in definitions:
        try:
            settings.stores[definition.store].check(definition.store, definition)
        except StoreRefusesError as exc:
            errors.append(Diagnostic.of_error(refusal(definition, exc)))
        try:
            keeping.check(settings.warehouses[definition.warehouse], definition)
        except WarehouseRefusesError as exc:
            errors.append(Diagnostic.of_error(refusal(definition, exc)))
        try:
            queries += _queries(settings, definition)
        except DefinitionError as exc:
            errors.append(Diagnostic.of_error(exc))
    return queries, errors


def _queries(settings: Settings, definition: SyncDefinition) -> Iterator[Query]:
    """The query of a first run, and that of later ones if it has other words and not only another time.

    Raises:
        DefinitionError: either cannot be used.
    """
    times = (0, MARKER) if definition.incremental else (0,)
    texts = [rendered(settings, definition, at) for at in times]
    is_the_same = texts[-1].replace(str(MARKER), "0") == texts[0]
    for text in texts[:1] if is_the_same else texts:
        dialect = dialect_of(settings, definition)
        statement = query.check(definition, text, dialect)
        yield Query(definition=definition, rendered=text, statement=statement, dialect=dialect)


def refusal(definition: SyncDefinition, error: StoreRefusesError | WarehouseRefusesError) -> DefinitionError:
    """What a store or warehouse says of a definition, as an error at the header's field."""
    return error_at(definition, error.field, error.message, error.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where the query of a run failed, and how to find the row to blame."""

    #: The file's line that the error names; None if it names none.
    line: int | None
    #: Whether the file is another than the run's.
    is_changed: bool
    #: The expressions that may be to blame; none if no value of a row is.
    suspects: Sequence[Suspect]
    #: For each of them a query that finds its rows; None where none can be written.
    queries: Sequence[str | None]


def explanation(settings: Settings, definition: SyncDefinition, run: Run) -> Explanation:
    """What can be said of a run that failed, of the definition as it is now; asks no warehouse."""
    error, is_changed = run.error or "", definition.hash != run.definition_hash
    placed = re.match(rf"\S*{re.escape(definition.path.name)}:(\d+): ", error)
    line = int(placed[1]) if placed else None
    try:
        text, dialect = rendered(settings, definition, 0), dialect_of(settings, definition)
    except DefinitionError:
        return Explanation(line=line, is_changed=is_changed, suspects=(), queries=())
    # Of several, the line is the first one's.
    certain = line - definition.sql_line + 1 if line is not None and "likely one of" not in error else None
    found = suspects(text, dialect, error, certain)
    keys = definition.target.key_columns
    return Explanation(
        line=line,
        is_changed=is_changed,
        suspects=found,
        queries=[
            sql and without_values(sql, definition.sql, text) for sql in (finding(f, dialect, keys) for f in found)
        ],
    )


def warnings(
    settings: Settings,
    definitions: Sequence[SyncDefinition],
    *,
    paths: Collection[Path],
    columns: Mapping[str, Sequence[str]],
) -> set[Diagnostic]:
    """What is probably a mistake, and attributes that a sync may not write.

    Shapes:
        definitions: all of the folder, as they may be in each other's way.
        paths: the files whose warnings count.
        columns: name to the columns of its result, as far as they are known.
    """
    found = [*shared_attributes(definitions, columns, paths), *different_person_keys(definitions)]
    urls = {name: store.url.get_secret_value() for name, store in settings.stores.items()}
    connectors = {name: registry.connector_of(url, registry.stores()) for name, url in urls.items()}
    billed = [name for name, connector in connectors.items() if connector is not None and connector.bills_people]
    found += missing_limits(definitions, billed)
    found += [*people_made_anew(definitions), *columns_not_sent(definitions, columns)]
    return _not_named(definitions, paths, columns) | {
        Diagnostic(file=str(warning.path), line=warning.line, level="warning", message=warning.message, hint="")
        for warning in found
        if warning.path in paths
    }


def _not_named(
    definitions: Sequence[SyncDefinition], paths: Collection[Path], columns: Mapping[str, Sequence[str]]
) -> set[Diagnostic]:
    ruled = [one for one in definitions if one.rules and one.path in paths]
    if not ruled:
        return set()
    from syncer.definitions.attribute_rules import not_named

    written = {one.name: written_attributes(one, columns.get(one.name)) or () for one in ruled}
    return {Diagnostic.of_error(error) for one in ruled for error in not_named(one, written[one.name])}
