"""What the runs over one state database know of each other: who sent last from a sync's snapshot, and what was removed.

**Claims.** Each machine has a snapshot of its own. Before a run sends anything, it writes its id into its snapshot and
claims the sync here. A snapshot that does not know the newest claim is out of date: rows were sent from another one.

**Attributes.** Which ones each sync writes, so that one that unsets an attribute knows whether another writes it too.

**Removals.** What a run is about to remove is one set. Every set of a store has a number, its `seq`; new numbers are
greater than all before, and a reader who has read up to a number has seen every set below it. A set is open from before
its deletions are sent until after the store has answered. Closing it gives it a new number, so that a sync that looked
meanwhile, and may have delivered before a deletion took effect, looks again. What a run left open as it died is closed
by another one that finds it. Sets are about people, so they hold hashes of their identifiers, and are forgotten when
they are old; a sync that did not look before they went has to take every row for touched.
"""

from __future__ import annotations

import secrets
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from syncer.model.types import OVERTAKEN, Removed, RemovedSet
from syncer.state.database import StateDatabase
from syncer.state.schema import forgotten_removals, removal_parts, removal_sets, snapshots, written_attributes

#: Any number, the same for every version of Syncer: who holds it, with a store's, numbers the entries of that store.
_NUMBERING_LOCK = 7305714

#: 128 bits: nobody finds it by trying.
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCoordination:
    """The claims and removals of one sync of one store, for one run; see `sync.coordination.Coordination`."""

    database: StateDatabase
    sync: str
    store_id: str
    run_id: str = ""

    @property
    def log_id(self) -> str:
        """The database's random name; another one means that what was known here is gone."""
        return self.database.log_id

    def at_one_moment(self) -> AbstractContextManager[object]:
        """Let everything that is read in the block be of one moment."""
        return self.database.reading()

    def at_once(self) -> AbstractContextManager[object]:
        """Make everything that the block records durable together, when it ends; nothing of it if it raises."""
        return self.database.writing()

    def newest_claim(self) -> str:
        """The run that claimed the sync last, or a text in its place; empty where none did."""
        query = sa.select(snapshots.c.run_id).where(snapshots.c.sync == self.sync)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none() or ""

    def claim(self, *, after: str) -> bool:
        """Claim the sync durably for this run if *after* is still the newest claim; returns whether it is."""
        mine = {"sync": self.sync, "run_id": self.run_id}
        newest = (snapshots.c.sync == self.sync) & (snapshots.c.run_id == after)
        insert = self.database.insert(snapshots).values(mine)
        # Who took the sync has made its row.
        first = insert.on_conflict_do_update(index_elements=["sync"], set_=mine, where=snapshots.c.run_id == "")
        claim = snapshots.update().where(newest).values(mine) if after else first
        with self.database.writing() as connection:
            claimed = connection.execute(claim.returning(snapshots.c.run_id))
            return claimed.one_or_none() is not None

    def confirm(self) -> bool:
        """Whether the claim of this run, which sends no more, is still the newest.

        If it is not, the store may have taken this run's values after those of a newer one: then every snapshot of the
        sync is out of date.
        """
        overtaken = (snapshots.c.sync == self.sync) & (snapshots.c.run_id != self.run_id)
        spoil = snapshots.update().where(overtaken).values(run_id=f"{self.run_id}{OVERTAKEN}")
        with self.database.writing() as connection:
            return connection.execute(spoil).rowcount == 0

    def announce(self, write: Callable[[Path, str], int]) -> None:
        """Record what this sync is about to remove, unset or move, durably and before it is sent: one set.

        Shapes:
            write: writes the file of a RemovedSet, whose hashes are to have a key; returns how many there are.
        """
        query = sa.select(removal_sets.c.key).where(removal_sets.c.store_id == self.store_id)
        with self.database.reading() as connection:
            key = connection.execute(query.order_by(removal_sets.c.seq.desc()).limit(1)).scalar_one_or_none()
        from syncer.state import removal_files

        # With one key for all, who takes them in hashes each of its own names once.
        set_id, key = uuid.uuid4().hex, key or secrets.token_urlsafe(_KEY_BYTES)
        with removal_files.made(self.database, set_id) as path:
            entries = write(path, key)
            with self.database.writing() as connection:
                removal_files.keep(connection, path, set_id)
                number = {"store_id": self.store_id, "seq": _lock(connection, self.store_id) + 1, "open": True}
                row = {"id": set_id, "sync": self.sync, "key": key, "entries": entries} | number
                connection.execute(removal_sets.insert().values(row))

    def close_removals(self) -> None:
        """Record that every deletion that this sync announced has its answer, or will be announced again."""
        own = (removal_sets.c.store_id == self.store_id) & (removal_sets.c.sync == self.sync)
        with self.database.writing() as connection:
            if connection.execute(sa.select(removal_sets.c.seq).where(own, removal_sets.c.open)).first() is None:
                return
            newest = _lock(connection, self.store_id)
            _close(connection, self.store_id, removal_sets.c.sync == self.sync, newest)

    def close_abandoned(self, has_died: Callable[[str], bool], *, before: datetime) -> None:
        """Close what runs of other syncs announced before *before* and left open as they died: nothing more is sent.

        *has_died*: whether no process runs a sync.
        """
        others = (
            (removal_sets.c.store_id == self.store_id)
            & (removal_sets.c.sync != self.sync)
            & (removal_sets.c.at < before)
        )
        query = sa.select(removal_sets.c.sync).where(others, removal_sets.c.open).distinct()
        with self.database.reading() as connection:
            found = connection.execute(query).scalars().all()
        if dead := [sync for sync in found if has_died(sync)]:
            with self.database.writing() as connection:
                newest = _lock(connection, self.store_id)
                _close(connection, self.store_id, others & removal_sets.c.sync.in_(dead), newest)

    def attributes_of_others(self, things: str, attributes: Collection[str] | None) -> set[str]:
        """Record which attributes of *things* (see `Target.things`) this sync writes, unless they are None.

        Returns which of those, and of those that it wrote before, others write too, or wrote: a column that comes back
        is compared with what they remember.
        """
        table, former = written_attributes, f"former {things}"
        in_store, own = table.c.store_id == self.store_id, table.c.sync == self.sync
        of_things = sa.select(table.c.attribute, table.c.things).where(in_store, table.c.things.in_([things, former]))
        with self.database.reading() as connection:
            mine = connection.execute(of_things.where(own)).all()
            names = {attribute for attribute, _ in mine} | set(attributes or ())
            # Hundreds of syncs may feed the same things.
            shared = connection.execute(of_things.where(~own, table.c.attribute.in_(names))).all()
        before = {attribute for attribute, of in mine if of == things}
        if attributes is not None and before != set(attributes):
            same = {"store_id": self.store_id, "sync": self.sync}
            rows = [same | {"things": things, "attribute": name} for name in set(attributes)]
            rows += [same | {"things": former, "attribute": name} for name in before - set(attributes)]
            with self.database.writing() as connection:
                connection.execute(table.delete().where(in_store, own, table.c.things == things))
                connection.execute(self.database.insert(table).on_conflict_do_nothing(), rows)
        return {attribute for attribute, _ in shared}

    def take_over_attributes(self, sync: str) -> None:
        """Record what another sync writes, which has the name of this one now, as this one's.

        Its former name stays beside it, for those who did not see yet what was unset under that.
        """
        table, mine = written_attributes, written_attributes.c.sync == self.sync
        in_store = table.c.store_id == self.store_id
        its = sa.select(table.c.things, table.c.attribute).where(in_store, table.c.sync == sync)
        same = {"store_id": self.store_id, "sync": sync}
        with self.database.writing() as connection:
            rows = [
                same | {"things": f"renamed {row.things}", "attribute": row.attribute}
                for row in connection.execute(its)
            ]
            connection.execute(table.delete().where(in_store, mine))
            connection.execute(table.update().where(in_store, table.c.sync == sync).values(sync=self.sync))
            if rows:
                connection.execute(self.database.insert(table).on_conflict_do_nothing(), rows)

    def writers(self, things: str) -> dict[str, tuple[frozenset[str], str]]:
        """The attributes of *things* and the newest claim of each other sync that feeds them, or has fed them."""
        table, claims = written_attributes, snapshots
        others = (table.c.store_id == self.store_id) & (table.c.things == things) & (table.c.sync != self.sync)
        claimed = table.outerjoin(claims, table.c.sync == claims.c.sync)
        gathered = sa.func.json_agg if self.database.is_shared else sa.func.json_group_array
        query = sa.select(table.c.sync, gathered(table.c.attribute, type_=sa.JSON), claims.c.run_id)
        query = query.select_from(claimed).where(others).group_by(table.c.sync, claims.c.run_id)
        with self.database.reading() as connection:
            found = connection.execute(query).all()
        return {sync: (frozenset(attributes), claim or "") for sync, attributes, claim in found}

    @contextmanager
    def removed_since(self, seq: int) -> Iterator[Removed]:
        """What other syncs removed from the store after *seq*, and what they may be removing now.

        What they unset counts only if they write an attribute, or wrote one, that this sync writes or wrote. The files
        stay until the block ends.
        """
        table, in_store = removal_sets.c, removal_sets.c.store_id == self.store_id
        others = sa.select(table.id, table.key, table.sync).where(in_store, table.sync != self.sync)
        greatest = sa.select(forgotten_removals.c.seq).where(forgotten_removals.c.store_id == self.store_id)
        with self.database.reading() as connection:
            found = connection.execute(others.where((table.seq > seq) | table.open).order_by(table.seq)).all()
            sharing = self._sharing_attributes(connection) if found else None
            newest = _newest(connection, self.store_id)
            forgotten = connection.execute(greatest).scalar_one_or_none() or 0
        with self._files([row.id for row in found]) as paths:
            sets = [
                RemovedSet(path=paths[row.id], key=row.key, counts_unset=sharing is None or row.sync in sharing)
                for row in found
                if row.id in paths
            ]
            yield Removed(sets=sets, newest=newest, is_incomplete=forgotten > seq or len(sets) < len(found))

    @contextmanager
    def removed_by_itself(self) -> Iterator[Removed]:
        """What this sync removed from the store, as `removed_since`, but for what was forgotten for its age."""
        own = (removal_sets.c.store_id == self.store_id) & (removal_sets.c.sync == self.sync)
        with self.database.reading() as connection:
            found = connection.execute(sa.select(removal_sets.c.id, removal_sets.c.key).where(own)).all()
        with self._files([row.id for row in found]) as paths:
            sets = [RemovedSet(path=paths[id_], key=key, counts_unset=False) for id_, key in found if id_ in paths]
            yield Removed(sets=sets, is_incomplete=len(sets) < len(found))

    @contextmanager
    def _files(self, sets: Sequence[str]) -> Iterator[Mapping[str, Path]]:
        """The files of sets, by id, without those that are gone."""
        if not sets:
            yield {}
            return
        from syncer.state import removal_files

        with removal_files.found(self.database, sets) as paths:
            yield paths

    def _sharing_attributes(self, connection: sa.Connection) -> list[str] | None:
        """The syncs that write or wrote an attribute that this one writes or wrote; None if it never wrote any."""
        table = written_attributes
        in_store = sa.select(table.c.sync, table.c.attribute).where(table.c.store_id == self.store_id)
        own = {row.attribute for row in connection.execute(in_store.where(table.c.sync == self.sync))}
        others = connection.execute(in_store.where(table.c.sync != self.sync)).all() if own else []
        return sorted({sync for sync, attribute in others if attribute in own}) if own else None


def forget_removals(database: StateDatabase, before: datetime) -> int:
    """Delete the entries of every store that got their number before *before*; returns how many.

    One that is still open belongs to a run that died: it is closed now, and goes when it is old once more. The files of
    runs that died before they recorded theirs go as well.
    """
    is_old = removal_sets.c.at < before
    with database.writing() as connection:
        forgotten = 0
        # Two that do this at once lock the stores in one order.
        for store_id in sorted(
            connection.execute(sa.select(removal_sets.c.store_id).where(is_old).distinct()).scalars()
        ):
            newest = _lock(connection, store_id)
            old = (removal_sets.c.store_id == store_id) & is_old & ~removal_sets.c.open
            greatest = connection.execute(sa.select(sa.func.max(removal_sets.c.seq)).where(old)).scalar_one()
            if greatest is not None:
                insert = database.insert(forgotten_removals).values(store_id=store_id, seq=greatest)
                is_greater = forgotten_removals.c.seq < insert.excluded.seq
                set_ = {"seq": insert.excluded.seq}
                connection.execute(
                    insert.on_conflict_do_update(index_elements=["store_id"], set_=set_, where=is_greater)
                )
                forgotten += connection.execute(sa.select(sa.func.sum(removal_sets.c.entries)).where(old)).scalar_one()
                of_old = removal_parts.c.id.in_(sa.select(removal_sets.c.id).where(old))
                connection.execute(removal_parts.delete().where(of_old))
                connection.execute(removal_sets.delete().where(old))
            _close(connection, store_id, is_old, newest)
    from syncer.state import removal_files

    removal_files.delete_spare(database)
    return int(forgotten)


def _close(connection: sa.Connection, store_id: str, which: sa.ColumnElement[bool], newest: int) -> None:
    """Give the open entries of a store new numbers, and close them; *newest* is locked."""
    numbered = sa.select(removal_sets.c.seq, sa.func.row_number().over(order_by=removal_sets.c.seq).label("n"))
    left_open = numbered.where(removal_sets.c.store_id == store_id, removal_sets.c.open, which).subquery()
    connection.execute(
        removal_sets.update()
        .where(removal_sets.c.store_id == store_id, removal_sets.c.seq == left_open.c.seq)
        .values(open=False, seq=newest + left_open.c.n, at=sa.func.now())
    )


def _lock(connection: sa.Connection, store_id: str) -> int:
    """Let no other transaction number entries of a store until this one has ended; returns the newest number."""
    if connection.dialect.name == "postgresql":
        # Earlier versions lock the table for all stores, against this mode too.
        connection.exec_driver_sql(f"LOCK TABLE {removal_sets.name} IN ROW EXCLUSIVE MODE")
        key = zlib.crc32(store_id.encode()) - 2**31
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_NUMBERING_LOCK}, {key})")
    return _newest(connection, store_id)


def _newest(connection: sa.Connection, store_id: str) -> int:
    """The newest number of a store, also where its entry was forgotten; 0 where there was none."""
    numbers = (
        connection.execute(sa.select(sa.func.max(table.c.seq)).where(table.c.store_id == store_id)).scalar_one()
        for table in (removal_sets, forgotten_removals)
    )
    return max(number or 0 for number in numbers)
