"""What a run asks its warehouse, from when on, and when an incremental query asks for its whole result instead.

A row may become visible with a time before that of the last run: its transaction was long, or clocks differ. So the
time is the warehouse's own, less the definition's `lookback`; rows that are seen twice did not change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, time

from syncer.model.protocols import TellsTime, Warehouse
from syncer.model.types import Start, SyncDefinition
from syncer.queries import query as queries
from syncer.queries.query import Query
from syncer.settings import registry
from syncer.settings.secrets import query_variables
from syncer.settings.settings import Settings
from syncer.snapshot.ledger import Asked, Known
from syncer.sync.progress import RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one run asks an incremental query for."""

    #: Unix seconds; 0 for the whole result.
    last_sync_time: int
    #: The same for events: their newest, less the lookback.
    last_event_time: int
    asked: Asked
    #: Why it is the whole result, a sentence for people; empty if there is nothing to say.
    note: str


def now_at(warehouse: Warehouse, now: datetime) -> datetime:
    """The time by the warehouse's clock, or *now*, this machine's, if the other cannot be read.

    Raises:
        WarehouseError: the warehouse did not answer.
    """
    return warehouse.now() if isinstance(warehouse, TellsTime) else now


def window(definition: SyncDefinition, known: Known, options: RunOptions, *, at: datetime, query: str) -> Window:
    """What a run asks for.

    Shapes:
        at: the time by the warehouse's clock, read before the query.
        query: see Asked.
    """
    is_first = options.full or options.only is not None or known.last_sync_time == 0
    note = "" if is_first else _why_whole(definition, known, at=at, query=query)
    is_whole = is_first or note != ""
    lookback = int(definition.lookback.total_seconds())
    return Window(
        last_sync_time=0 if is_whole else max(0, known.last_sync_time - lookback),
        last_event_time=max(_first_event_time(definition), 0 if is_whole else known.last_event_time - lookback),
        asked=Asked(at=at, query=query, is_whole=is_whole),
        note=note,
    )


def _first_event_time(definition: SyncDefinition) -> int:
    """The date from which on events are sent, in unix seconds; 0 if there is none."""
    rules = definition.event_rules
    if rules is None or isinstance(rules.start, Start):
        return 0
    return int(datetime.combine(rules.start, time(), UTC).timestamp())


def _why_whole(definition: SyncDefinition, known: Known, *, at: datetime, query: str) -> str:
    now = at.timestamp()
    found = ""
    if known.settled_definition != definition.hash:
        found = "the definition changed"
    elif known.settled_query not in ("", query):
        found = "a variable of the query, or the warehouse's URL, changed"
    elif now < known.last_sync_time:
        found = "the warehouse's clock is behind that of the last run"
    elif known.has_quarantined:
        found = "rows cannot be sent until the query returns them otherwise"
    elif definition.full_every is not None:
        age = now - known.whole_result_at
        found = "" if 0 <= age < definition.full_every.total_seconds() else "`full_every` is over"
    return found and f"{found}: this run asks for the whole result, sends only what differs, and removes nothing"


def prepared(settings: Settings, definition: SyncDefinition, known: Known, found: Window | None) -> Query:
    """The query of a run, rendered and checked; *found* is what an incremental one asks for."""
    times = (found.last_sync_time, found.last_event_time) if found else (0, _first_event_time(definition))
    rendered = statement = _rendered(settings, definition, *times)
    dialect = registry.dialect(settings.warehouses[definition.warehouse].url.get_secret_value())
    # The very text that has passed the check before needs none, which costs a tenth of a second.
    if known.settled_definition != definition.hash or rendered != definition.sql:
        statement = queries.check(definition, rendered, dialect)
    return Query(definition=definition, rendered=rendered, statement=statement, dialect=dialect)


def query_hash(settings: Settings, definition: SyncDefinition) -> str:
    """What stands for the query's text and the warehouse: see Asked."""
    place = settings.warehouses[definition.warehouse].shown_url
    return hashlib.sha256(f"{place}\n{_rendered(settings, definition, 0)}".encode()).hexdigest()


def _rendered(settings: Settings, definition: SyncDefinition, last_sync_time: int, last_event_time: int = 0) -> str:
    return queries.render(
        definition,
        last_sync_time=last_sync_time,
        last_event_time=last_event_time,
        variables=settings.vars,
        environment=lambda: query_variables(settings),
    )
