"""Snapshots from one place to another: nothing of them is lost, and nothing is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncer.model.errors import RunInProgressError, SelectionError, SnapshotError, overtaken
from syncer.model.temporary_folders import temporary_folder
from syncer.settings.snapshots import DATABASE, parsed
from syncer.shared.copies import Copy
from syncer.shared.snapshot import SharedSnapshot
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot.facts import SnapshotFacts, facts_of
from syncer.snapshot.reservations import reserved
from syncer.state.pointers import LOCAL, Pointer

#: In place of a place: what the file lacks of it is in the warehouse of its sync.
WAREHOUSE = "warehouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """One snapshot, as far as the run log and this machine's file tell."""

    sync: str
    #: `local`, `database`, a URL, or `warehouse` where that keeps the rows.
    where: str
    fence: int
    #: That the store has acknowledged; None where a run has the file open, or it is not on this machine.
    rows: int | None
    bytes: int
    deltas: int


def move(shared: SharedSnapshots, sync: str, to: str) -> bool:
    """Move a sync's snapshot; False where it is there already.

    Shapes:
        to: `local`, `database` or a URL.
    Raises:
        SelectionError: there is none to move, or *to* is no place, or one that needs a run log that machines share.
        RunInProgressError: a run has taken it; nothing has moved.
        SnapshotError: this machine's file is damaged or out of date; nothing has moved.
        SettingsError, PlaceError: a place cannot be used; nothing has moved.
    """
    _refuse_no_place(shared, to)
    before = shared.pointers.of(sync)
    goal = None if to == LOCAL else shared.place(Pointer(place=to))
    if (before.place or LOCAL) == (LOCAL if goal is None else goal.name):
        return False
    if not before.objects:
        _refuse_what_is_outdated(shared, sync)
    former = shared.place(before) if before.objects else None
    taken = shared.pointers.take(sync)
    if before.objects:
        Copy(shared.path(sync), sync).follow(taken, shared.place(taken))
    if goal is None:
        facts = facts_of(shared.path(sync), sync)
        if not shared.pointers.move_here(sync, taken.fence, claim=facts.claims[0]):
            raise overtaken(sync)
        Copy(shared.path(sync), sync).forget()
    else:
        _put(
            shared,
            sync,
            SharedSnapshot(
                sync=sync,
                place=goal,
                pointers=shared.pointers,
                path=shared.path(sync),
                pointer=Pointer(fence=taken.fence, place=goal.name),
                now=shared.now,
            ),
        )
    if former is not None:
        former.delete([*taken.names])
    return True


def _refuse_no_place(shared: SharedSnapshots, to: str) -> None:
    if to == LOCAL:
        return
    if to != DATABASE:
        try:
            parsed(to)
        except ValueError as exc:
            raise SelectionError(f"--to: {exc}", hint=f"`{LOCAL}` is this machine alone.") from None
    if not shared.database.is_shared:
        raise SelectionError(
            "only with a run log in PostgreSQL can other machines find a snapshot",
            hint="Set SYNCER_DATABASE_URL to `postgresql://USER:PASSWORD@HOST/DATABASE`.",
        )


def _put(shared: SharedSnapshots, sync: str, goal: SharedSnapshot) -> None:
    path = shared.path(sync)
    facts = facts_of(path, sync)
    with goal.putting(), reserved(path, sync=sync):
        goal.settled(rows=facts.rows, is_changed=True)


def _refuse_what_is_outdated(shared: SharedSnapshots, sync: str) -> None:
    path = shared.path(sync)
    if not path.exists():
        raise SelectionError(f"`{sync}` has no snapshot to move", hint="Its next run makes one.")
    facts, newest = facts_of(path, sync), shared.pointers.claim_of(sync)
    if newest not in facts.claims:
        raise SnapshotError(
            f"the snapshot of `{sync}` on this machine is out of date: another machine has sent rows since",
            hint="Move it on that machine.",
        )


def check(shared: SharedSnapshots, sync: str) -> None:
    """Read a sync's snapshot from its place, whole, and compare it with what the run log says of it.

    Raises:
        SelectionError: there is none.
        RunInProgressError: a run has this machine's file open.
        PlaceError, SnapshotError: an object is missing or damaged, or the snapshot is another one.
    """
    pointer, path = shared.pointers.of(sync), shared.path(sync)
    if not pointer.objects:
        if not path.exists():
            raise SelectionError(f"`{sync}` has no snapshot here", hint="Its next run makes one.")
        facts_of(path, sync)
        return
    with temporary_folder() as folder:
        copy = folder / path.name
        Copy(copy, sync).follow(pointer, shared.place(pointer))
        rows = facts_of(copy, sync).rows
    if rows != pointer.rows and pointer.is_settled:
        raise SnapshotError(
            f"the snapshot of `{sync}` has {rows:,} rows where the run log says {pointer.rows:,}",
            hint=f"`syncer reset {sync}` starts from scratch: the next run sends every row.",
        )


def statuses(shared: SharedSnapshots, syncs: Sequence[str]) -> list[SnapshotStatus]:
    """The snapshots of some syncs, in this order; those that have none are left out."""
    pointers = shared.pointers.all(syncs)
    found = []
    for sync in syncs:
        pointer, path = pointers.get(sync, Pointer()), shared.path(sync)
        if pointer.objects or path.exists():
            facts = _facts(path, sync)
            found.append(
                SnapshotStatus(
                    sync=sync,
                    where=WAREHOUSE if facts is not None and facts.kept_in else pointer.place or LOCAL,
                    fence=pointer.fence,
                    rows=pointer.rows if pointer.objects else facts.rows if facts is not None else None,
                    bytes=pointer.bytes if pointer.objects else path.stat().st_size,
                    deltas=max(0, len(pointer.objects) - 1),
                )
            )
    return found


def _facts(path: Path, sync: str) -> SnapshotFacts | None:
    try:
        return facts_of(path, sync) if path.exists() else None
    except (RunInProgressError, SnapshotError):
        return None
