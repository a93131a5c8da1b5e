"""The tables in a warehouse that keep the rows of a snapshot, opened beside its file."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from syncer.model.errors import SettingsError
from syncer.model.kept_rows import KeepsRows
from syncer.model.types import SyncDefinition
from syncer.settings import keeping
from syncer.settings.settings import Settings
from syncer.snapshot import file
from syncer.snapshot.facts import facts_of
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.session import Session, target_of
from syncer.snapshot.snapshot import Snapshot
from syncer.snapshot.warehouse_ledger import WarehouseLedger
from syncer.snapshot.warehouse_rows import WarehouseRows

#: Entries of a file's `meta`: the warehouse that keeps its rows, under which name, and what they are of.
_ENTRIES = ("kept_in", "kept_as", "kept_version", "store_id", "address", "target")


@contextmanager
def beside(settings: Settings, definition: SyncDefinition, snapshot: Snapshot) -> Iterator[None]:
    """Let a snapshot have its rows from the warehouse, if that keeps them, or is to keep them from now on.

    Raises:
        SettingsError: the keeper of the warehouse that has the rows is not among the settings.
        SnapshotError, WarehouseError: as `WarehouseLedger.begin`.
    """
    ledger = snapshot.ledger
    meta = _meta(ledger.session)
    wanted = definition.warehouse if definition.snapshot is not None else ""
    if not isinstance(ledger, FileLedger) or not (wanted or meta["kept_in"]):
        yield
        return
    if meta["kept_in"] not in ("", definition.warehouse):
        bring_home(settings, ledger)
        meta = _meta(ledger.session)
        if not wanted:
            yield
            return
    with closing(_tables(settings, definition.warehouse, ledger.session, meta)) as tables:
        made = _with_rows(ledger, definition.warehouse, tables)
        made.begin()
        snapshot.ledger = made
        try:
            yield
        finally:
            made.rows.let_go()


def bring_home(settings: Settings, ledger: FileLedger) -> bool:
    """Take all rows of a file out of the warehouse that keeps them, which forgets them; False if none does.

    Raises:
        SettingsError, SnapshotError, WarehouseError: as `beside`; what is not brought home stays where it is.
    """
    meta = _meta(ledger.session)
    if not meta["kept_in"]:
        return False
    with closing(_tables(settings, meta["kept_in"], ledger.session, meta)) as tables:
        made = _with_rows(ledger, meta["kept_in"], tables)
        made.begin()
        made.rows.take_all()
        made.rows.forget()
    ledger.forget_what_was_read()
    return True


@contextmanager
def opened(settings: Settings, path: Path, sync: str, *, warehouse: str = "") -> Iterator[WarehouseLedger | None]:
    """The file of a sync, locked, with the warehouse that keeps its rows; None if it has all of them itself.

    Shapes:
        warehouse: that is to keep the rows, if none does.
    Raises:
        RunInProgressError, SnapshotError, SettingsError, WarehouseError: it, or its rows, cannot be opened.
    """
    with _in_file(settings, path, sync, warehouse) as ledger:
        if ledger is not None:
            ledger.begin()
        yield ledger


def whole_copy(settings: Settings, path: Path, sync: str, folder: Path) -> Path:
    """A copy, in *folder*, of a file that has all rows; *path* itself where it has them all.

    Raises:
        RunInProgressError, SnapshotError, SettingsError, WarehouseError: as `opened`.
    """
    if not facts_of(path, sync).kept_in:
        return path
    copy = folder / path.name
    with file.taken(path.resolve(), sync, to_read=True):
        for suffix in ("", ".wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
    with _in_file(settings, copy, sync, "") as ledger:
        if ledger is not None:
            ledger.rows.look()
    return copy


def forget(settings: Settings, path: Path, sync: str) -> None:
    """Drop what a warehouse keeps of a sync whose file is about to be deleted.

    Raises:
        RunInProgressError, SnapshotError, SettingsError, WarehouseError: as `opened`.
    """
    with _in_file(settings, path, sync, "") as ledger:
        if ledger is not None:
            ledger.rows.tables.forget()


def put_back(settings: Settings, path: Path, sync: str, *, warehouse: str = "") -> bool:
    """Let the warehouse keep the rows of a file that were taken from it, or are to be kept there from now on.

    Shapes:
        warehouse: as for `opened`.
        returns: False if it keeps them already.
    Raises:
        RunInProgressError, SnapshotError, SettingsError, WarehouseError: as `opened`; the rows stay in the file.
    """
    with opened(settings, path, sync, warehouse=warehouse) as ledger:
        if ledger is None or not ledger.rows.has_all:
            return False
        ledger.rows.put_back(ledger.memory()["kept_rules"] or "of no run")
        return True


@contextmanager
def _in_file(settings: Settings, path: Path, sync: str, warehouse: str) -> Iterator[WarehouseLedger | None]:
    if not path.exists():
        yield None
        return
    with file.locked(path, sync=sync) as connection:
        session = Session(connection=connection, sync=sync, target=target_of("person|id|||", 1))
        meta = _meta(session) if session.has_table("meta") else {}
        kept_in = meta.get("kept_in") or warehouse
        if not kept_in or not meta["target"]:
            yield None
            return
        target = target_of(meta["target"], session.keys_in())
        ledger = FileLedger(Session(connection=connection, sync=sync, target=target), path)
        with ledger.explaining():
            ledger.make_ready_as_it_is()
            with closing(_tables(settings, kept_in, ledger.session, meta)) as tables:
                yield _with_rows(ledger, kept_in, tables)


def _with_rows(ledger: FileLedger, warehouse: str, tables: KeepsRows) -> WarehouseLedger:
    made = WarehouseLedger.over(ledger)
    made.warehouse_rows = WarehouseRows(file=made, tables=tables, warehouse=warehouse)
    return made


def _meta(session: Session) -> dict[str, str]:
    found = dict(session.rows(f"SELECT name, value FROM meta WHERE name IN {_ENTRIES}"))
    return {name: found.get(name, "") for name in _ENTRIES}


def _tables(settings: Settings, warehouse: str, session: Session, meta: dict[str, str]) -> KeepsRows:
    found = settings.warehouses.get(warehouse)
    name = meta["kept_as"] or table_name(session.sync, meta)
    tables = None if found is None else keeping.open_tables(found, warehouse, tables=name, keys=len(session.keys))
    if tables is None:
        raise SettingsError(
            f"the rows of the snapshot of `{session.sync}` are in warehouse `{warehouse}`, and no login reaches them",
            hint=f"Set SYNCER_WAREHOUSES__{warehouse.upper()}__KEEPER_URL again.",
        )
    return tables


def table_name(sync: str, meta: dict[str, str]) -> str:
    """How the tables of a sync are called, so that a file that was lost finds them again."""
    parts = (sync, meta["store_id"], meta["address"], meta["target"])
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
