"""What can be said of definitions without asking a warehouse: what `syncer validate` and an editor show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.definitions.conflicts import different_person_keys, missing_limits, shared_attributes
from syncer.model.errors import DefinitionError
from syncer.model.types import SyncDefinition
from syncer.queries import query
from syncer.queries.query import Query
from syncer.settings import registry
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
        variables=settings.vars,
        environment=lambda: query_variables(settings),
    )


def dialect_of(settings: Settings, definition: SyncDefinition) -> str:
    """sqlglot's name for the SQL of the definition's warehouse."""
    return registry.dialect(settings.warehouses[definition.warehouse].url.get_secret_value())


def check_queries(settings: Settings, definitions: Iterable[SyncDefinition]) -> tuple[list[Query], list[Diagnostic]]:
    """The queries of *definitions* that can go to their warehouses, and what is wrong with the others."""
    queries: list[Query] = []
    errors: list[Diagnostic] = []
    for definition in definitions:
        try:
            text = rendered(settings, definition, 0)
            statement = query.check(definition, text, dialect_of(settings, definition))
            queries.append(Query(definition=definition, rendered=text, statement=statement))
        except DefinitionError as exc:
            errors.append(Diagnostic.of_error(exc))
    return queries, errors


def warnings(
    settings: Settings,
    definitions: Sequence[SyncDefinition],
    *,
    paths: Collection[Path],
    columns: Mapping[str, Sequence[str]],
) -> set[Diagnostic]:
    """What is probably a mistake.

    Shapes:
        definitions: all of the folder, as they may be in each other's way.
        paths: the files whose warnings count.
        columns: name to the columns of its result, as far as they are known.
    """
    found = [*shared_attributes(definitions, columns), *different_person_keys(definitions)]
    urls = {name: store.url.get_secret_value() for name, store in settings.stores.items()}
    connectors = {name: registry.connector_of(url, registry.stores()) for name, url in urls.items()}
    billed = [name for name, connector in connectors.items() if connector is not None and connector.bills_people]
    found += missing_limits(definitions, billed)
    return {
        Diagnostic(file=str(warning.path), line=warning.line, level="warning", message=warning.message, hint="")
        for warning in found
        if warning.path in paths
    }
