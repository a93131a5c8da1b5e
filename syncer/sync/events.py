"""From when on the events of a sync count: decided once, and kept by the store."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from syncer.model.errors import SelectionError, StoreError, StoreRefusesError
from syncer.model.event_stores import CountsEvents, EventCount, KeepsEventStarts
from syncer.model.protocols import ProfileStore
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import Start, SyncDefinition
from syncer.sync.progress import StoppedError

if TYPE_CHECKING:
    from syncer.settings.settings import Settings

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def start_of(definition: SyncDefinition, store: ProfileStore, now: datetime) -> datetime | None:
    """From when on events count: as the store has it, or else as the header says, where it is *now*.

    Raises:
        StoreError: the store did not answer, or cannot keep it.
    """
    rules = definition.event_rules
    if rules is None:
        return None
    if (kept := _keeper(definition, store).event_start(definition.target)) is not None:
        return kept
    if isinstance(rules.start, Start):
        return _FIRST if rules.start is Start.ALL else now
    return datetime.combine(rules.start, time(), UTC)


def decide_start(definition: SyncDefinition, store: ProfileStore, at: datetime) -> None:
    """Let the store keep it, before anything is sent.

    Raises:
        StoppedError: another run has decided otherwise at the same moment.
        StoreError: the store did not answer.
    """
    if _keeper(definition, store).start_events(definition.target, at) != at:
        raise StoppedError("another run decided at the same time from when on these events count; the next run sends")


def counted(settings: Settings, store: str, name: str, *, since: datetime, at_least: int) -> list[EventCount]:
    """The people of a store with *at_least* so many events of a name since a time, the most frequent first.

    Raises:
        SelectionError: the settings have no such store.
        StoreError: the store cannot say, or did not answer.
    """
    if store not in settings.stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, settings.stores))
    with closing(settings.stores[store].open(store)) as opened:
        if not isinstance(opened, CountsEvents):
            raise StoreError(f"store `{store}` cannot count events", hint="Stores in SQLite and PostgreSQL can.")
        return list(opened.event_counts(name, since=since, at_least=at_least))


def _keeper(definition: SyncDefinition, store: ProfileStore) -> KeepsEventStarts:
    if not isinstance(store, KeepsEventStarts):
        raise StoreRefusesError(
            f"store `{definition.store}` cannot keep from when on events count", hint="Feed events to an SQL store."
        )
    return store
