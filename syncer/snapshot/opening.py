"""How the snapshot of one sync is opened: this machine's file, or an empty one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from syncer.model.protocols import AddressesTargets, ProfileStore
from syncer.model.types import SyncDefinition, Target
from syncer.snapshot import file
from syncer.snapshot.event_ledger import EventLedger
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.list_ledger import ListLedger
from syncer.snapshot.session import Session
from syncer.snapshot.snapshot import Snapshot


def addresses(store: ProfileStore) -> Callable[[Target], str]:
    """The address of each target in a store; empty where the target says it all."""
    return store.address if isinstance(store, AddressesTargets) else lambda target: ""


@contextmanager
def opened(
    path: Path,
    definition: SyncDefinition,
    store_id: str,
    *,
    address: Callable[[Target], str] = lambda target: "",
    record: bool = True,
    bring_home: Callable[[FileLedger], object] = lambda ledger: None,
) -> Iterator[Snapshot]:
    """Open and lock the snapshot of one sync; a run that died before is settled first.

    A snapshot of another target, store or address is moved aside, and a new one begins, or one that was moved aside
    before: every row is sent then. Without *record*, no file is made or moved; one that would be taken back is opened.

    Shapes:
        address: of a target in the store; see `addresses`.
        bring_home: takes the rows of a file that is to be moved aside out of the warehouse that keeps them.
    Raises:
        RunInProgressError: it is locked already.
        SnapshotError: it is damaged, or from a newer program, or the disk is full.
    """
    notes, left, sync, target = list[str](), list[Path](), definition.name, definition.target
    home = {"store_id": store_id, "address": address(target)}
    fitting: Path | None = None
    if record or path.exists():
        with _in_file(path, sync, target) as ledger:
            with ledger.explaining():
                is_ready = ledger.make_ready(**home)
            if is_ready:
                yield Snapshot(ledger, path=path, address=home["address"])
                return
            from syncer.snapshot import former

            if record:
                bring_home(ledger)
            found = former.of(ledger.session, store_id, address)
        notes = [found.note(definition)] if found.has_rows else []
        if record:
            notes += filter(None, [former.exchange(path, found, definition, home)])
        else:
            left = [path] if found.is_removable(definition) else []
            fitting = former.found_again(path, found, definition, home)
            notes += [former.TAKEN_BACK] if fitting else []
    own = path if record else fitting
    with _in_file(own, sync, target) if own else _in_memory(path, sync, target) as ledger:
        ledger.make_ready(**home)
        ledger.notes += notes
        yield Snapshot(ledger, path=path if record else None, left=left, address=home["address"])


@contextmanager
def _in_file(path: Path, sync: str, target: Target) -> Iterator[FileLedger]:
    """A sync's file, locked; it is made where there is none.

    Raises:
        RunInProgressError, SnapshotError: as `file.locked`.
    """
    with file.locked(path, sync=sync) as connection:
        yield _ledger(Session(connection=connection, sync=sync, target=target), path)


@contextmanager
def _in_memory(path: Path, sync: str, target: Target) -> Iterator[FileLedger]:
    """An empty ledger of which nothing stays."""
    with file.in_memory(path) as connection:
        yield _ledger(Session(connection=connection, sync=sync, target=target), path)


def _ledger(session: Session, path: Path) -> FileLedger:
    if session.target.event is not None:
        return EventLedger(session, path)
    return FileLedger(session, path) if session.target.action is None else ListLedger(session, path)
