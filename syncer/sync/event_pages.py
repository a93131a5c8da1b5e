"""What stores have of events, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from syncer.model.errors import SelectionError, StoreError
from syncer.model.event_stores import Doer, ListsEvents
from syncer.model.spelling import did_you_mean, quoted
from syncer.settings.settings import Settings

#: The rows of a page.
PAGE_ROWS = 50

#: The most events of a name that are counted for a page, the newest ones: a second of work.
MOST_COUNTED = 100_000

#: How long before the newest event counting begins if nobody says.
_USUAL = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doers:
    """Who did something how often, a page of them, the most frequent first."""

    people: Sequence[Doer]
    has_more: bool
    #: The time of the newest event of the name; None if there is none.
    newest: datetime | None
    #: From when on was asked for, and from when on is counted: later where that would be more than MOST_COUNTED.
    asked: datetime
    since: datetime


def names(settings: Settings, store: str, *, after: str) -> tuple[Sequence[tuple[str, datetime]], bool]:
    """The names of events behind a name, in order, with the time of the newest event of each, and whether more follow.

    Raises:
        SelectionError: the settings have no such store.
        StoreError: the store cannot say, or did not answer.
    """
    with _opened(settings, store) as opened:
        found = opened.event_names(after=after, limit=PAGE_ROWS + 1)
    return found[:PAGE_ROWS], len(found) > PAGE_ROWS


def doers(
    settings: Settings, store: str, name: str, *, since: datetime | None, at_least: int, after: tuple[int, int] | None
) -> Doers:
    """The people with *at_least* so many events of a name since a time, behind a count and the number of a person.

    Without *since*, from 30 days before the newest event on.

    Raises:
        SelectionError, StoreError: as for `names`.
    """
    with _opened(settings, store) as opened:
        newest, cut = opened.nth_newest(name, 1), opened.nth_newest(name, MOST_COUNTED)
        asked = since or datetime.combine((newest or datetime.now(UTC)) - _USUAL, time(), UTC)
        counted = max(asked, cut or asked)
        found = opened.doers(name, since=counted, at_least=at_least, after=after, limit=PAGE_ROWS + 1)
    has_more = len(found) > PAGE_ROWS
    return Doers(people=found[:PAGE_ROWS], has_more=has_more, newest=newest, asked=asked, since=counted)


def of_person(settings: Settings, store: str, person_id: int, *, before: str, limit: int) -> list[dict[str, Any]]:
    """The events of a person that are older than the event of an id, newest first.

    Raises:
        SelectionError, StoreError: as for `names`.
    """
    with _opened(settings, store) as opened:
        return opened.events_of(person_id, before=before, limit=limit)


@contextmanager
def _opened(settings: Settings, store: str) -> Iterator[ListsEvents]:
    if store not in settings.stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, settings.stores))
    with closing(settings.stores[store].open(store)) as opened:
        if not isinstance(opened, ListsEvents):
            raise StoreError(f"store `{store}` cannot list events", hint="Stores in SQLite and PostgreSQL can.")
        yield opened
