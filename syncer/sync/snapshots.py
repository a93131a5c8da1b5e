"""The snapshots of syncs as runs and plans open them: this machine's file, or its copy of a shared one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.model.errors import RunInProgressError
from syncer.model.importing import importing
from syncer.model.protocols import ProfileStore
from syncer.model.types import Order, SyncDefinition, Trigger
from syncer.settings import keeping
from syncer.settings.settings import Settings
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.opening import addresses, opened
from syncer.snapshot.snapshot import Snapshot
from syncer.state.coordination import SharedCoordination
from syncer.state.runs import RunLog
from syncer.sync.coordination import refuse_beside_rivals
from syncer.sync.progress import Progress, StoppedError

if TYPE_CHECKING:
    from syncer.shared.snapshot import SharedSnapshot

#: Seconds between two looks whether another process has let go of a snapshot.
_LOOK_AGAIN = 0.2
#: Of who only looks, and holds nothing: any run that lives is another one's.
_LOOKS = Order(trigger=Trigger.MANUAL, term=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSnapshots:
    """Opens the snapshots of syncs with one set of settings."""

    settings: Settings
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]
    #: How long a run waits for a plan, or another run, of its sync.
    patience: timedelta = timedelta()

    @property
    def shared(self) -> SharedSnapshots:
        """Those that several machines share."""
        return SharedSnapshots(settings=self.settings, database=self.run_log.database, now=self.now)

    def is_shared(self, sync: str) -> bool:
        """Whether a sync's snapshot is, or is to be, where several machines reach it."""
        return self.shared.is_shared(self.shared.pointer(sync))

    def path(self, sync: str) -> Path:
        """The file of a sync's snapshot on this machine."""
        return self.shared.path(sync)

    @contextmanager
    def for_plan(self, definition: SyncDefinition, store: ProfileStore) -> Iterator[Snapshot]:
        """The snapshot of a sync, of which nothing changes.

        Raises:
            SyncerError: as `opened`, and as `SharedSnapshots.follow`.
        """
        shared = self.shared
        pointer = shared.pointer(definition.name)
        if shared.is_shared(pointer):
            self.refuse_beside_another(definition.name)
            shared.follow([definition.name])
        with self._opened(definition, store, record=False) as snapshot:
            snapshot.is_current, snapshot.fence = bool(pointer.objects), pointer.fence
            yield snapshot

    @contextmanager
    def for_run(
        self, definition: SyncDefinition, store: ProfileStore, order: Order, progress: Progress, *, is_shared: bool
    ) -> Iterator[Snapshot]:
        """The snapshot of a sync; waits for a plan, or another run, that holds it, or one whose values count more.

        Shapes:
            is_shared: as for the sync, when the run began.
        Raises:
            RunInProgressError: one goes on, here or on another machine.
            StoppedError: the run was cancelled.
            SyncerError: as `opened`, and as `SharedSnapshot.following`.
        """
        deadline = time.monotonic() + self.patience.total_seconds()
        with ExitStack() as stack:
            while True:
                try:
                    refuse_beside_rivals(definition, self.settings.snapshots_dir)
                    with ExitStack() as attempt:
                        sharing = self._shared(attempt, definition.name, order, progress) if is_shared else None
                        snapshot = attempt.enter_context(self._opened(definition, store))
                        snapshot.sharing, snapshot.is_current = sharing, sharing is not None and sharing.is_current
                        stack.push(attempt.pop_all())
                    break
                except RunInProgressError:
                    if time.monotonic() >= deadline:
                        raise
                if progress.token.wait(_LOOK_AGAIN):
                    raise StoppedError(progress.token.reason)
            yield snapshot

    @contextmanager
    def for_repair(self, definition: SyncDefinition, store: ProfileStore) -> Iterator[Snapshot]:
        """The snapshot of a sync, for somebody who puts rows in doubt and sends nothing.

        Raises:
            SyncerError: as `for_plan`; as `SharedSnapshot.changed`, and then nothing is in doubt on other machines.
        """
        shared = self.shared
        if not shared.pointer(definition.name).objects:
            with self._opened(definition, store, record=False) as snapshot:
                yield snapshot
            return
        self.refuse_beside_another(definition.name)
        taken = shared.take(definition.name)
        with taken.following(), self._opened(definition, store, record=False) as snapshot:
            yield snapshot
            taken.changed()

    def bring_home(self, sync: str) -> None:
        """Take the rows of a sync out of the warehouse that keeps them, if one does, into its file on this machine.

        Raises:
            SyncerError: as `kept_rows.opened`.
        """
        path = self.path(sync)
        if not path.exists():
            return
        with importing:
            from syncer.sync import kept_rows

        with kept_rows.opened(self.settings, path, sync) as ledger:
            if ledger is not None:
                ledger.rows.take_all()
                ledger.rows.forget()

    @contextmanager
    def changing(self, sync: str) -> Iterator[Path]:
        """The file of a sync on this machine, up to date, for somebody who changes it and sends nothing.

        Raises:
            SyncerError: as `SharedSnapshot.changed`; then nothing has changed on other machines.
        """
        shared = self.shared
        if not shared.pointer(sync).objects:
            yield self.path(sync)
            return
        self.refuse_beside_another(sync)
        taken = shared.take(sync)
        with taken.following():
            yield self.path(sync)
            taken.changed()

    def follow_beside(self, snapshot: Snapshot, definition: SyncDefinition, coordination: SharedCoordination) -> None:
        """Bring the copies of those syncs up to date into whose snapshots a run or a plan of a sync may look.

        Raises:
            SyncerError: as `SharedSnapshots.follow`.
        """
        if snapshot.sharing is None and not snapshot.is_current:
            return
        ranked = {one for rule in definition.rules.values() for one in rule.sources} - {definition.name}
        self.shared.follow({*ranked, *coordination.writers(definition.target.things)})

    def refuse_beside_another(self, sync: str, order: Order = _LOOKS) -> None:
        """Let no run begin while another process runs the sync; a service that leads takes over from one that did.

        Shapes:
            order: of the run; by default of somebody who only looks.

        Raises:
            RunInProgressError: another one does.
        """
        for run in self.run_log.open_runs():
            is_rival = run.sync == sync and (run.term is None or order.term is None) and run.id != order.run_id
            if is_rival and self.run_log.lives(sync, run.term, run.id, beside=order):
                raise RunInProgressError(
                    f"`{sync}` is being run already, by another process or another machine",
                    hint="Wait until it has ended; `syncer runs` shows it.",
                )

    @contextmanager
    def _opened(self, definition: SyncDefinition, store: ProfileStore, *, record: bool = True) -> Iterator[Snapshot]:
        keeping.check(self.settings.warehouses[definition.warehouse], definition)
        path, settings = self.path(definition.name), self.settings

        def bring_home(ledger: FileLedger) -> None:
            with importing:
                from syncer.sync import kept_rows

            kept_rows.bring_home(settings, ledger)

        with opened(
            path, definition, store.store_id, address=addresses(store), record=record, bring_home=bring_home
        ) as snapshot:
            if definition.snapshot is None and not snapshot.is_kept_elsewhere:
                yield snapshot
                return
            with importing:
                from syncer.sync import kept_rows

            with kept_rows.beside(settings, definition, snapshot):
                yield snapshot
                rows = snapshot.ledger.warehouse_rows
                if rows is not None and not record:
                    rows.put_away_unchanged()

    def _shared(self, stack: ExitStack, sync: str, order: Order, progress: Progress) -> SharedSnapshot:
        """The shared snapshot of a sync, with which this machine's copy is up to date."""
        self.refuse_beside_another(sync, order)
        taken = self.shared.take(sync)
        progress.took(taken.pointer.fence)
        stack.enter_context(taken.following())
        return taken
