"""Which run wrote last, and which one may not write any more: a row for each sync, in the transaction of each batch."""

from __future__ import annotations

from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.upgrades import WITH_FENCES, WITH_TAKES
from syncer.model.errors import overtaken

#: The fence counts the runs that wrote.
_FENCE = (
    "INSERT INTO sync_fences (ledger, sync, fence, run_id) VALUES (:ledger, :sync, 1, :run_id) "
    "ON CONFLICT (ledger, sync) DO UPDATE SET fence = sync_fences.fence + 1, run_id = excluded.run_id "
    "WHERE sync_fences.run_id <> excluded.run_id"
)

#: The same of a run that took its sync: it touches no row where a later one has written.
_FENCE_OF_TAKE = (
    "INSERT INTO sync_fences (ledger, sync, fence, run_id, taken) VALUES (:ledger, :sync, 1, :run_id, :take) "
    "ON CONFLICT (ledger, sync) DO UPDATE SET fence = sync_fences.fence + CASE WHEN sync_fences.run_id "
    "= excluded.run_id THEN 0 ELSE 1 END, run_id = excluded.run_id, taken = excluded.taken "
    "WHERE sync_fences.taken <= excluded.taken"
)

#: The same before the run writes: as yet the row names no run, or the one that wrote last.
_TAKE = (
    "INSERT INTO sync_fences (ledger, sync, fence, run_id, taken) VALUES (:ledger, :sync, 0, '', :take) "
    "ON CONFLICT (ledger, sync) DO UPDATE SET taken = excluded.taken WHERE sync_fences.taken <= excluded.taken"
)


class Fences(StoreDatabase):
    """See `Fenced` and `RefusesOvertaken`."""

    #: Of the run that writes, as _FENCE has its values; empty where none does.
    _fence: dict[str, str]
    #: As _TAKE has its values; empty where the run took nothing.
    _held: dict[str, str | int]

    def fences(self, sync: str) -> dict[str, str]:
        """See `Fenced.fences`."""
        if self._format < WITH_FENCES:
            return {}
        query = "SELECT ledger, run_id FROM sync_fences WHERE sync = :sync AND run_id <> ''"
        return dict(self._fetch(query, sync=sync))

    def fence(self, *, ledger: str, sync: str, run_id: str) -> None:
        """See `Fenced.fence`."""
        self._fence = {"ledger": ledger, "sync": sync, "run_id": run_id}

    def forget_fence(self, *, ledger: str, sync: str) -> None:
        """See `Fenced.forget_fence`."""
        with self._transaction():
            self._execute("DELETE FROM sync_fences WHERE ledger = :ledger AND sync = :sync", ledger=ledger, sync=sync)

    @property
    def take(self) -> int:
        """See `RefusesOvertaken.take`."""
        return int(self._held.get("take", 0))

    def newest_take(self, *, ledger: str, sync: str) -> int:
        """See `RefusesOvertaken.newest_take`."""
        if not self._knows_takes():
            return 0
        query = "SELECT taken FROM sync_fences WHERE ledger = :ledger AND sync = :sync"
        return int(sum(taken for (taken,) in self._fetch(query, ledger=ledger, sync=sync)))

    def hold(self, *, ledger: str, sync: str, take: int) -> None:
        """See `RefusesOvertaken.hold`."""
        self._held = {"ledger": ledger, "sync": sync, "take": take}

    def shut_out(self) -> None:
        """See `RefusesOvertaken.shut_out`."""
        if self._knows_takes():
            with self._transaction():
                self._keep_take()

    def _knows_takes(self) -> bool:
        """Whether there is a store that does; another run may have made or upgraded it since it was opened."""
        if self._format < WITH_TAKES:
            self._look_again()
        return self._format >= WITH_TAKES

    def _keep_take(self) -> None:
        """Record the run's take, if it has one; within a transaction.

        Raises:
            RunInProgressError: the store knows a later one.
        """
        if self._held and not self._execute(_TAKE, **self._held):
            raise overtaken(str(self._held["sync"]))

    def _keep_fence(self) -> None:
        """Record that the run writes, as `_keep_take` does."""
        if self._held and self._fence:
            if not self._execute(_FENCE_OF_TAKE, **self._held, run_id=self._fence["run_id"]):
                raise overtaken(str(self._held["sync"]))
        elif self._fence:
            self._execute(_FENCE, **self._fence)
