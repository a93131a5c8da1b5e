"""From when on the events of a sync count: decided once, and kept by the store or the run log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from syncer.model.errors import SelectionError, StoreError
from syncer.model.event_stores import FIRST, CountsEvents, EventCount, KeepsEventStarts, ShowsEvents
from syncer.model.importing import importing
from syncer.model.protocols import ProfileStore
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.types import Start, SyncDefinition, Target
from syncer.sync.progress import StoppedError

if TYPE_CHECKING:
    from syncer.settings.settings import Settings
    from syncer.snapshot.attributes import EventColumns
    from syncer.state.runs import RunLog


def kept_in(run_log: RunLog, store: ProfileStore) -> KeepsEventStarts:
    """What the run log keeps for a store."""
    with importing:
        from syncer.state.event_starts import EventStarts

    return EventStarts(database=run_log.database, store_id=store.store_id)


def start_of(
    definition: SyncDefinition,
    store: ProfileStore,
    run_log: KeepsEventStarts | None,
    event: EventColumns | None,
    *,
    former: datetime | None,
) -> datetime | None:
    """From when on events count: as it was decided, or else as the header says; None for anything but events.

    *run_log*: keeps it where the store does not. *former*: as it was decided in a store that was put back since.

    Raises:
        SyncerError: what keeps it did not answer.
    """
    rules = definition.event_rules
    if rules is None or event is None:
        return None
    if (kept := _keeper(store, run_log).event_start(definition.target)) is not None:
        return kept
    if former is not None:
        return former
    if isinstance(rules.start, Start):
        return FIRST if rules.start is Start.ALL else event.now
    return datetime.combine(rules.start, time(), UTC)


def decide_start(
    definition: SyncDefinition, store: ProfileStore, run_log: KeepsEventStarts | None, at: datetime
) -> None:
    """Decide it for ever, before anything is sent; *run_log* as for `start_of`.

    Raises:
        StoppedError: another run has decided otherwise at the same moment.
        SyncerError: what keeps it did not answer.
    """
    if _keeper(store, run_log).start_events(definition.target, at) != at:
        raise StoppedError("another run decided at the same time from when on these events count; the next run sends")


def shown(
    store: ProfileStore, label: str, name: str, keys: Iterable[tuple[Target, Sequence[str]]]
) -> dict[str, Any] | None:
    """What a store has of an event of a name, as `ShowsEvents` gives it; None where it has none.

    Shapes:
        label: what messages call the store.
        keys: what the event may be known by, each for a target of such events.
    Raises:
        StoreError: the store cannot say, or did not answer.
    """
    with importing:
        from syncer.snapshot.event_rows import known_by

    if not isinstance(store, ShowsEvents):
        raise StoreError(f"store `{label}` cannot show one event", hint="Stores in SQLite and PostgreSQL can.")
    ids = (known_by(target, store.store_id, key)[-1] for target, key in keys)
    return next((found for signs in ids if (found := store.show_event(name, signs))), None)


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


def _keeper(store: ProfileStore, run_log: KeepsEventStarts | None) -> KeepsEventStarts:
    keeper = store if isinstance(store, KeepsEventStarts) else run_log
    if keeper is None:
        raise ValueError("nothing keeps from when on events count")
    return keeper
