"""What is current of each snapshot that several machines share: one row each, which its fence protects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from syncer.state.database import StateDatabase
from syncer.state.schema import snapshots

#: What the name of an object ends with that a run put before it had settled.
INTENT = ".intent.parquet"


#: The place of a snapshot that is a file of one machine, wherever others are to be.
LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutObject:
    """An object of a snapshot, in its place."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """What the snapshot of one sync is made of."""

    #: Raised by each run that takes the sync.
    fence: int = 0
    #: `local`, `database` or a URL; empty where that was not decided yet.
    place: str = ""
    #: The base and what has changed since, in order; empty where nothing was put yet.
    objects: Sequence[PutObject] = ()
    #: What else the sync remembers, by the name of its file.
    files: Mapping[str, str] = field(default_factory=dict)
    #: The names of the objects before the base.
    previous: Sequence[str] = ()
    #: Of the objects.
    format: int = 0
    #: That the store had acknowledged when a run settled last.
    rows: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether several machines reach it."""
        return self.place not in ("", LOCAL)

    @property
    def bytes(self) -> int:
        """Of the objects."""
        return sum(one.bytes for one in self.objects)

    @property
    def is_settled(self) -> bool:
        """Whether no run has put anything since one settled last."""
        return not self.objects or not self.objects[-1].name.endswith(INTENT)

    @property
    def names(self) -> frozenset[str]:
        """Of every object that is to be kept."""
        return frozenset([*(one.name for one in self.objects), *self.files.values(), *self.previous])


@dataclass(frozen=True, slots=True)
class Pointers:
    """The pointers of a state database. Every change is durable when its method returns."""

    database: StateDatabase

    def of(self, sync: str) -> Pointer:
        """The pointer of a sync; that of a file of this machine where there is none."""
        return self.all([sync]).get(sync, Pointer())

    def all(self, syncs: Sequence[str] | None = None) -> dict[str, Pointer]:
        """The pointers of some syncs, or of all that are shared, by name."""
        which = snapshots.c.place != LOCAL if syncs is None else snapshots.c.sync.in_(syncs)
        with self.database.reading() as connection:
            found = connection.execute(sa.select(snapshots).where(which).order_by(snapshots.c.sync)).all()
        return {row.sync: _pointer(row) for row in found}

    def places(self) -> dict[str, str]:
        """The places of all syncs whose snapshots are shared, by name."""
        query = sa.select(snapshots.c.sync, snapshots.c.place).where(snapshots.c.place.is_not(None))
        with self.database.reading() as connection:
            return {row.sync: row.place for row in connection.execute(query)}

    def take(self, sync: str) -> Pointer:
        """Let nobody else change the pointer of a sync who took it before."""
        insert = self.database.insert(snapshots).values(sync=sync, fence=1)
        taken = insert.on_conflict_do_update(index_elements=["sync"], set_={"fence": snapshots.c.fence + 1})
        with self.database.writing() as connection:
            return _pointer(connection.execute(taken.returning(snapshots)).one())

    def raise_fence(self, sync: str, fence: int, *, after: int) -> bool:
        """Let a sync that was taken with one fence have the one that follows another; else as `move`."""
        mine = (snapshots.c.sync == sync) & (snapshots.c.fence == fence)
        with self.database.writing() as connection:
            return connection.execute(snapshots.update().where(mine).values(fence=after + 1)).rowcount == 1

    def move(self, sync: str, pointer: Pointer) -> bool:
        """Make *pointer* the one of a sync; False, and nothing changes, where somebody else has taken it since."""
        values = {
            "place": pointer.place or None,
            "base": pointer.objects[0].name if pointer.objects else None,
            "deltas": [[one.name, one.bytes] for one in pointer.objects[1:]],
            "files": dict(pointer.files),
            "previous": [*pointer.previous],
            "format": pointer.format,
            "rows": pointer.rows,
            "bytes": pointer.bytes,
        }
        mine = (snapshots.c.sync == sync) & (snapshots.c.fence == pointer.fence)
        with self.database.writing() as connection:
            return connection.execute(snapshots.update().where(mine).values(values)).rowcount == 1

    def move_here(self, sync: str, fence: int, *, claim: str) -> bool:
        """Let a sync have a file of this machine alone, which a run of this *claim* wrote last; else as `move`."""
        with self.database.writing() as connection:
            mine = (snapshots.c.sync == sync) & (snapshots.c.fence == fence)
            connection.execute(snapshots.update().where(mine).values(run_id=claim))
            return self.move(sync, Pointer(fence=fence, place=LOCAL))

    def claim_of(self, sync: str) -> str:
        """The run that sent last from a snapshot of a sync, on whatever machine; empty where none did."""
        query = sa.select(snapshots.c.run_id).where(snapshots.c.sync == sync)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none() or ""


def _pointer(row: sa.Row[tuple[object, ...]]) -> Pointer:
    later = [PutObject(name=name, bytes=size) for name, size in row.deltas]
    first = [PutObject(name=row.base, bytes=row.bytes - sum(one.bytes for one in later))] if row.base else []
    return Pointer(
        fence=row.fence,
        place=row.place or "",
        objects=(*first, *later),
        files=row.files,
        previous=tuple(row.previous),
        format=row.format,
        rows=row.rows,
    )
