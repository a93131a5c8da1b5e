"""What a sync sent under another definition: its former snapshots, beside the one that it has now.

A snapshot is for one target and one store, and for where the store keeps that target by its settings, its address.
Where these change, a new snapshot begins, and the former file is kept beside it: as `former-…` if its rows are to be
removed from the store, else as `previous-…`. It becomes the snapshot again if the definition changes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.errors import RunInProgressError, SyncerError
from syncer.model.types import Entity, OnRemoved, SyncDefinition, Target
from syncer.snapshot import file
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.session import Session, signature_of, target_of
from syncer.snapshot.tables import FORMATS

#: Entries of `meta` that belong to the sync, whichever snapshot it has.
_OF_THE_SYNC = ("claimed_by", "claimed_after", "fence", "fence_before", "other_ledgers")

#: Entries of `meta` that are about the store.
_OF_A_STORE = ["fence", "fence_before", "last_sync_time", "moves_seen", "other_ledgers", "removals_seen"]

#: The note for a run of a definition that changed back.
TAKEN_BACK = "the definition is as it was before: every row is sent again, and what left meanwhile is removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A snapshot that the definition, or the store, does not fit any more."""

    target: Target
    is_of_this_store: bool
    #: Whether the store still keeps its target where it did.
    is_at_its_address: bool
    has_rows: bool
    #: _OF_THE_SYNC, as far as it has them.
    meta: dict[str, str]

    def is_removable(self, definition: SyncDefinition) -> bool:
        """Whether its rows are to be removed from the store: the same sort of entity, which is known otherwise now."""
        old, new = self.target, definition.target
        is_same_sort = (old.entity, old.person_key) == (new.entity, new.person_key) and old.entity is not Entity.PERSON
        is_there = self.is_of_this_store and self.is_at_its_address
        return is_there and is_same_sort and _removes(definition) and self.has_rows

    def only_its_store_differs(self, definition: SyncDefinition) -> bool:
        """Whether it has no row, and would fit the definition but for its store."""
        same = signature_of(self.target) == signature_of(definition.target)
        return same and self.is_at_its_address and not self.has_rows

    def note(self, definition: SyncDefinition) -> str:
        """What becomes of its rows, for the run's notes."""
        new = definition.target
        if not self.is_of_this_store:
            return (
                "the store is another than before: every row is sent, and nothing is removed; what the former store "
                "has of this sync stays there"
            )
        if not self.is_at_its_address:
            return (
                f"by the store's settings, {self.target.words} are kept elsewhere than before: every row is sent, and "
                "nothing is removed; what was sent before stays there"
            )
        changed = f"this sync feeds {new.words} now, and fed {self.target.words} before"
        if self.target.words == new.words:
            changed = f"the key of {new.words} is another than before"
        if new.entity.traits.happens:
            return f"{changed}: events from `start` on are sent, and nothing is removed"
        if self.is_removable(definition):
            return f"{changed}: every row is sent, and what was sent before is removed"
        if self.target.entity is new.entity and new.entity.traits.merges and definition.on_removed is OnRemoved.KEEP:
            return f"{changed}: every row is sent, and nothing is removed, as `on_removed` is `keep`"
        return (
            f"{changed}: every row is sent, and nothing is removed; to remove what it sent, let it feed the same as "
            "before once more, with `on_removed`, `limits: {empty: allow}` and a query that returns nothing"
        )


def of(session: Session, store_id: str, address: Callable[[Target], str] = lambda target: "") -> Former:
    """The snapshot that a session has open."""
    meta = dict(session.rows("SELECT name, value FROM meta"))
    target = target_of(meta["target"], session.keys_in())
    tables = ["snapshot", "in_doubt", *(["sent_events"] if target.event is not None else [])]
    rows = " UNION ALL ".join(f"SELECT 1 FROM {table}" for table in tables)
    return Former(
        target=target,
        is_of_this_store=meta["store_id"] == store_id,
        is_at_its_address=meta.get("address", "") in ("", address(target)),
        has_rows=session.any(f"SELECT 1 FROM ({rows})") or bool(meta.get("event_start")),
        meta={name: meta[name] for name in _OF_THE_SYNC if name in meta},
    )


def exchange(path: Path, former: Former, definition: SyncDefinition, home: Mapping[str, str]) -> str:
    """Move a snapshot that does not fit aside; one of the same target and *home* takes its place, if there is any.

    One of which no store ever took a row stays if only the store is another: a store gets its id with its first row.

    *home*: `store_id` and `address`, as `meta` has them. Returns a note for the run if one does, else an empty text.

    Raises:
        RunInProgressError: a plan uses that one; nothing is moved.
    """
    why = "former" if former.is_removable(definition) else "previous"
    fitting = _fitting(path, definition, home)
    if fitting is None:
        if not (former.only_its_store_differs(definition) and _has_moved(path, definition, home)):
            file.move_aside(path, why)
        return ""
    _make_ready(fitting, path, former, definition, aside=why)
    fitting.rename(path)
    return TAKEN_BACK


def _has_moved(path: Path, definition: SyncDefinition, home: Mapping[str, str]) -> bool:
    """Make a snapshot without rows that of the store at *home*, unless it remembers more of its own store."""
    with file.locked(path, sync=definition.name) as connection:
        session = Session(connection=connection, sync=definition.name, target=definition.target)
        if any(session.any(f"SELECT 1 FROM {table}") for table in ("left_behind", "kept", "unknown")):
            return False
        with session.transaction():
            session.execute("UPDATE meta SET value = '' WHERE list_contains(?, name)", [_OF_A_STORE])
            session.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", [home["store_id"]])
    return True


def found_again(path: Path, former: Former, definition: SyncDefinition, home: Mapping[str, str]) -> Path | None:
    """The file that `exchange` would let take the place of *path*, ready to be planned with; nothing is moved.

    Raises:
        RunInProgressError: as `exchange`.
    """
    fitting = _fitting(path, definition, home)
    if fitting is not None:
        _make_ready(fitting, path, former, definition, aside="")
    return fitting


def _make_ready(fitting: Path, path: Path, former: Former, definition: SyncDefinition, *, aside: str) -> None:
    """Put every row of a former snapshot in doubt, and let it know what the one at *path* knows of the sync.

    *aside*: why that one is moved aside meanwhile; empty if it stays.
    """
    with file.locked(fitting, sync=definition.name) as connection:
        if aside:
            file.move_aside(path, aside)
        session = Session(connection=connection, sync=definition.name, target=definition.target)
        with session.transaction():
            session.execute(
                f"INSERT INTO in_doubt ({session.k}) SELECT {session.k} FROM snapshot ANTI JOIN in_doubt "
                f"USING ({session.k})"
            )
            # The file may be of a format before.
            if "unset" in connection.table("in_doubt").columns:
                session.execute("UPDATE in_doubt SET unset = NULL")
            values = former.meta | {
                "former": json.dumps([one.name for one in beside(path, "former") if one != fitting])
            }
            session.execute("DELETE FROM meta WHERE name IN (SELECT unnest(?))", [[*values]])
            for name, value in values.items():
                session.execute("INSERT INTO meta VALUES (?, ?)", [name, value])


def adopt(path: Path, sync: str, *, beside: Path, definition: SyncDefinition, home: Mapping[str, str]) -> Path | None:
    """Make the snapshot of a sync whose file was renamed a former one of the sync that has its definition now.

    Shapes:
        path: the snapshot of *sync*, which has no definition any more.
        beside: the snapshot of the new sync.
        home: its `store_id` and `address`.
        returns: the former snapshot; None where its definition was another, or its rows are not to be removed.
    Raises:
        RunInProgressError, SnapshotError: as `file.locked`.
    """
    with file.locked(path, sync=sync) as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    is_same = _fits(meta, definition, home) and _file_of(meta.get("settled_definition", "")) == _file_of(
        definition.hash
    )
    if not (_removes(definition) and definition.hash and is_same):
        return None
    return file.move_aside(path, "former", beside=beside)


@contextmanager
def opened(path: Path, sync: str) -> Iterator[FileLedger]:
    """Open and lock a former snapshot; a run that died before is settled first.

    Raises:
        RunInProgressError, SnapshotError: as `file.locked`.
    """
    with file.locked(path, sync=sync) as connection:
        try:
            found = of(Session(connection=connection, sync=sync, target=target_of("person|id|||", 1)), "")
        except duckdb.Error as exc:
            raise file.failed(path, sync, exc) from None
        ledger = FileLedger(Session(connection=connection, sync=sync, target=found.target), path)
        with ledger.explaining():
            ledger.make_ready_as_it_is()
        yield ledger


def keys_of(session: Session, tables: tuple[str, ...]) -> pa.Table:
    """The keys in these tables as people see them, in a column `key`."""
    parts = [f"SELECT {session.key_text} AS key FROM {t} WHERE NOT ({session.lacks_key(t)})" for t in tables]
    return session.connection.sql(" UNION ".join(parts)).to_arrow_table()


def rows_besides(session: Session, keys: pa.Table) -> tuple[int, int]:
    """How many rows a former snapshot has whose key is none of *keys*, and how many it has."""
    session.connection.register("kept_keys", keys)
    own = f"SELECT {session.k} FROM snapshot UNION SELECT {session.k} FROM in_doubt"
    query = f"SELECT count(*) FILTER ({session.key_text} NOT IN (SELECT key FROM kept_keys)), count(*) FROM ({own})"
    ((besides, rows),) = session.rows(query)
    session.connection.unregister("kept_keys")
    return besides, rows


def forget(session: Session, keys: pa.Table) -> None:
    """Let a former snapshot forget the rows of *keys*, which are another one's by now."""
    session.connection.register("kept_keys", keys)
    with session.transaction():
        for table in ("snapshot", "in_doubt", "kept"):
            session.execute(f"DELETE FROM {table} WHERE {session.key_text} IN (SELECT key FROM kept_keys)")
    session.connection.unregister("kept_keys")


def _file_of(hash_: str) -> str:
    """The part of a definition's hash that is its file's: rules name the sync, and change with its name."""
    return hash_.partition("-")[0]


def _removes(definition: SyncDefinition) -> bool:
    """Whether rows that left the result are removed from the store."""
    if definition.target.entity.traits.happens:
        return False
    is_kept = definition.on_removed is OnRemoved.KEEP or definition.incremental
    return not (definition.target.entity.traits.merges and is_kept)


def _fits(meta: Mapping[str, str], definition: SyncDefinition, home: Mapping[str, str]) -> bool:
    """Whether a file's *meta* says that it was made for the definition's target and *home*."""
    is_there = meta.get("store_id") == home["store_id"] and meta.get("address", "") in ("", home["address"])
    return is_there and meta.get("target") == signature_of(definition.target)


def _fitting(path: Path, definition: SyncDefinition, home: Mapping[str, str]) -> Path | None:
    """The newest file beside *path* that was made for the definition's target and *home*."""
    found = [*beside(path, "former"), *beside(path, "previous")]
    for one in sorted(found, key=lambda each: each.name.rpartition("-")[2], reverse=True):
        try:
            with file.locked(one, sync=definition.name) as connection:
                rows = connection.execute("SELECT name, value FROM meta").fetchall()
        except RunInProgressError:
            raise
        except (SyncerError, duckdb.Error):
            continue
        meta = dict(rows)
        if _fits(meta, definition, home) and int(meta.get("format", 0)) <= FORMATS.newest:
            return one
    return None


def beside(path: Path, why: str) -> list[Path]:
    """The files that were moved aside from a snapshot for this reason, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.{why}-*[0-9]"))
