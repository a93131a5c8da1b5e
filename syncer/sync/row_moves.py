"""The rows of snapshots to the warehouse that is to keep them, and back, by command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syncer.model.errors import SelectionError, SnapshotError
from syncer.model.snapshot_home import SnapshotHome
from syncer.model.temporary_folders import temporary_folder
from syncer.model.types import SyncDefinition
from syncer.settings import keeping
from syncer.settings.settings import Settings
from syncer.snapshot.facts import facts_of
from syncer.sync import kept_rows
from syncer.sync.snapshots import SyncSnapshots


def move(snapshots: SyncSnapshots, sync: str, definition: SyncDefinition | None, *, is_kept: bool) -> bool:
    """Let the warehouse keep the rows of a sync, or no longer; False where that is so already.

    Shapes:
        definition: of the sync; None where its file is gone, or broken.
    Raises:
        SelectionError: the sync has no snapshot, or its header says otherwise.
        WarehouseRefusesError: the warehouse keeps none, or none of this sync.
        SyncerError: as `kept_rows.opened`, and of the place where machines share the snapshot; nothing has moved.
    """
    settings = snapshots.settings
    if not is_kept and definition is not None and definition.snapshot is not None:
        raise SelectionError(
            f"the file of `{sync}` says `snapshot: {definition.snapshot}`: its next run would move the rows back",
            hint="Remove that line first.",
        )
    if is_kept:
        if definition is None:
            raise SelectionError(
                f"`{sync}` has no file that can be used", hint="`syncer validate` shows what is wrong."
            )
        wanted = replace(definition, snapshot=SnapshotHome.WAREHOUSE)
        keeping.check(settings.warehouses[definition.warehouse], wanted)
    with snapshots.changing(sync) as path:
        if is_kept and not path.exists():
            raise SelectionError(f"`{sync}` has no snapshot to move", hint="Its next run makes one.")
        if is_kept and definition is not None:
            return kept_rows.put_back(settings, path, sync, warehouse=definition.warehouse)
        if not path.exists() or not facts_of(path, sync).kept_in:
            return False
        snapshots.bring_home(sync)
        return True


def check(settings: Settings, path: Path, sync: str) -> None:
    """Read what a warehouse keeps of a sync, whole, if it keeps anything.

    Raises:
        SnapshotError: it is not as the file left it.
        RunInProgressError, SettingsError, WarehouseError: as `kept_rows.opened`.
    """
    expected = facts_of(path, sync).rows if path.exists() else 0
    with temporary_folder() as folder:
        copy = kept_rows.whole_copy(settings, path, sync, folder) if path.exists() else path
        if copy != path and (rows := facts_of(copy, sync).rows) != expected:
            raise SnapshotError(
                f"the warehouse keeps {rows:,} rows of `{sync}` where the snapshot says {expected:,}",
                hint=f"`syncer reset {sync}` starts from scratch: the next run sends every row.",
            )
