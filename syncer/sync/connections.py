"""What the settings connect to, warehouses, stores and snapshots: their names, and whether they answer."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from syncer.model.errors import (
    ConnectionFailedError,
    ObjectGoneError,
    PlaceError,
    SettingsError,
    StoreError,
    StoreRefusesError,
    SyncerError,
    WarehouseError,
)
from syncer.model.protocols import Probing, ProfileStore, Warehouse
from syncer.model.types import Finding, FindingKind, Probe, SyncDefinition
from syncer.settings import keeping, registry
from syncer.settings.registry import WarehouseSettings
from syncer.settings.settings import Settings
from syncer.settings.snapshots import DATABASE
from syncer.shared.places import open_place
from syncer.state.database import StateDatabase

#: Seconds to wait for an answer of what may have made a run fail.
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One warehouse or store of the settings, or where shared snapshots are kept."""

    #: `warehouse`, `store` or `snapshots`.
    kind: str
    #: Of snapshots, the kind of their place.
    name: str
    #: Without its secrets.
    url: str
    open: Callable[[], Warehouse | ProfileStore | SnapshotsPlace]


class SnapshotsPlace:
    """Where shared snapshots are kept, opened to be looked at."""

    def __init__(self, url: str, settings: Settings) -> None:
        """See `open_place`; opens the run log."""
        self._database = StateDatabase(settings.database_url.get_secret_value())
        try:
            self._place = open_place(url, settings, self._database)
        except BaseException:
            self.close()
            raise

    def probe(self) -> Probe:
        """Write, read, replace and delete an object."""
        self._place.try_out()
        return Probe(version="", can_write=True)

    def close(self) -> None:
        """Let go of the run log."""
        self._database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a look at a connection found: either of the two."""

    connection: Connection
    probe: Probe | None = None
    error: SyncerError | None = None


def connections(settings: Settings) -> list[Connection]:
    """Every warehouse, then every store, then the place of shared snapshots, if there is one."""
    warehouses = (
        Connection(kind="warehouse", name=name, url=one.shown_url, open=partial(_opened, one, name))
        for name, one in settings.warehouses.items()
    )
    stores = (
        Connection(kind="store", name=name, url=one.shown_url, open=partial(one.open, name))
        for name, one in settings.stores.items()
    )
    return [*warehouses, *stores, *_snapshots(settings)]


def _opened(settings: WarehouseSettings, name: str) -> Warehouse:
    """A warehouse, after a look whether it keeps snapshots, if it has a login for that."""
    if (tables := keeping.open_tables(settings, name, tables="", keys=1)) is not None:
        tables.close()
    return settings.open(name)


def _snapshots(settings: Settings) -> Iterator[Connection]:
    if url := settings.snapshots_url:
        shown = registry.shown(settings.database_url.get_secret_value()) if url == DATABASE else url
        name = url.partition(":")[0]
        yield Connection(kind="snapshots", name=name, url=shown, open=partial(SnapshotsPlace, url, settings))


def tested(connection: Connection) -> Tested:
    """Whether a connection answers; leaves nothing behind."""
    try:
        with closing(connection.open()) as opened:
            found = opened.probe() if isinstance(opened, Probing) else Probe(version="")
            return Tested(connection=connection, probe=found)
    except SyncerError as exc:
        return Tested(connection=connection, error=exc)
    except Exception as exc:
        # Its text may hold values.
        error = SyncerError(f"unexpected {type(exc).__name__}; this is a defect of Syncer")
        return Tested(connection=connection, error=error)


def tested_side_by_side(wanted: Sequence[Connection], *, seconds: float) -> list[Tested]:
    """Whether each connection answers, in the order given; after *seconds* no answer is awaited any more."""
    answers: queue.SimpleQueue[tuple[int, Tested]] = queue.SimpleQueue()
    for place, connection in enumerate(wanted):

        def answer(place: int = place, connection: Connection = connection) -> None:
            answers.put((place, tested(connection)))

        threading.Thread(target=answer, name="connection", daemon=True).start()
    found: dict[int, Tested] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(wanted):
        try:
            place, found_out = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[place] = found_out
    return [found.get(place) or _silent(connection, seconds) for place, connection in enumerate(wanted)]


def unreachable(settings: Settings, definition: SyncDefinition, exc: BaseException, *, place: str) -> list[Finding]:
    """Which connections are to blame for the error of a sync's run, as they work for no sync; looks at them now.

    Shapes:
        place: of the sync's snapshot, `database` or a URL; empty for this machine's.
    """
    named = {"warehouse": definition.warehouse, "store": definition.store, "snapshots": place}
    known = [one for one in connections(settings) if one.kind != "snapshots"]
    if place:
        # The setting may name another place.
        opened = partial(SnapshotsPlace, place, settings)
        known.append(Connection(kind="snapshots", name=place, url=place, open=opened))
    suspects = [one for one in known if one.kind in _suspects(exc) and named[one.kind] == one.name]
    return [
        Finding(kind=FindingKind.UNREACHABLE, about=f"{found.connection.kind} {found.connection.name}")
        for found in tested_side_by_side(suspects, seconds=_LOOK_SECONDS)
        if found.error is not None
    ]


def _suspects(exc: BaseException) -> tuple[str, ...]:
    if isinstance(exc, WarehouseError):
        return ("warehouse",)
    if isinstance(exc, StoreError):
        return () if isinstance(exc, StoreRefusesError) else ("store",)
    if isinstance(exc, PlaceError):
        return () if isinstance(exc, ObjectGoneError) else ("snapshots",)
    is_of_any = isinstance(exc, SettingsError) or not isinstance(exc, SyncerError)
    return ("warehouse", "store", "snapshots") if is_of_any else ()


def _silent(connection: Connection, seconds: float) -> Tested:
    error = ConnectionFailedError(
        f"{connection.kind} `{connection.name}` did not answer within {seconds:.0f} seconds",
        hint="Is its address right, and can this machine reach it?",
    )
    return Tested(connection=connection, error=error)
