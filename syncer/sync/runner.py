"""One run of one sync, end to end: opens what it needs, keeps the run log, closes everything."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from syncer.model.errors import RunInProgressError, StoreError, SyncerError
from syncer.model.protocols import ForecastingQueries, ProfileStore, Warehouse
from syncer.model.types import Order, Run, RunStatus, SyncDefinition
from syncer.queries import query
from syncer.queries.query import Query
from syncer.settings import registry
from syncer.settings.settings import Settings
from syncer.snapshot.snapshot import Snapshot, opened
from syncer.state.coordination import SharedCoordination
from syncer.state.runs import KEPT_REJECTIONS, RunLog
from syncer.sync.flow import SyncRun, catch_up, run_sync
from syncer.sync.plans import Plan, planned
from syncer.sync.progress import HeldError, Phase, Progress, RunOptions, StoppedError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs and plans syncs with one set of settings."""

    settings: Settings
    run_log: RunLog
    #: Gives aware UTC.
    now: Callable[[], datetime]

    def run(
        self,
        definition: SyncDefinition,
        *,
        order: Order,
        options: RunOptions | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Run one sync and record how it ended; what went wrong is in the run's `status`, `error`, `hint` and `cause`.

        Raises:
            TickAnsweredError: the order's tick has a run already; nothing is recorded.
            SyncerError: of the run log.
        """
        options, progress = options or RunOptions(), progress or Progress()
        started_at = self.now()
        with ExitStack() as stack:
            try:
                as_of = self._later_than_the_last(definition)
                store = stack.enter_context(closing(self._open_store(definition, as_of)))
                snapshot = stack.enter_context(opened(self.snapshot_path(definition.name), definition, store.store_id))
            except RunInProgressError as exc:
                progress.run_id = self.run_log.record_skipped(
                    definition.name, order, definition.hash, started_at, note=exc.message
                )
                return self._run_of(progress.run_id, exc)
            except SyncerError as exc:
                progress.run_id = self.run_log.start(definition.name, order, definition.hash, started_at)
                return self._failed(progress.run_id, progress, exc)
            self.run_log.interrupt_open(definition.name, started_at, promised=order.run_id)
            run_id = self.run_log.start(definition.name, order, definition.hash, started_at)
            progress.run_id = run_id
            log.info("the run begins")
            return self._recorded(run_id, definition, store, snapshot, started_at, options, progress)

    def plan(self, definition: SyncDefinition, *, progress: Progress | None = None, sample_rows: int = 5) -> Plan:
        """Query and compare; sends and records nothing.

        Raises:
            SyncerError: as `run` would record it, or raise it.
        """
        progress = progress or Progress()
        with (
            closing(self._open_store(definition, self.now())) as store,
            opened(self.snapshot_path(definition.name), definition, store.store_id, record=False) as snapshot,
            snapshot.ledger.explaining(),
        ):
            catch_up(snapshot, self._coordination(definition, store))
            prepared = self._query(definition, snapshot, RunOptions())
            with self._warehouse(prepared) as warehouse:
                if isinstance(warehouse, ForecastingQueries):
                    progress.notes.append(warehouse.forecast(prepared.statement))
                run = SyncRun(
                    definition=definition,
                    sql=prepared.statement,
                    warehouse=warehouse,
                    snapshot=snapshot,
                    store=store,
                    options=RunOptions(),
                    progress=progress,
                )
                return planned(run, sample_rows=sample_rows)

    def snapshot_path(self, sync: str) -> Path:
        """The file of a sync's snapshot."""
        return self.settings.state_dir / "snapshots" / f"{sync}.duckdb"

    def _recorded(
        self,
        run_id: str,
        definition: SyncDefinition,
        store: ProfileStore,
        snapshot: Snapshot,
        started_at: datetime,
        options: RunOptions,
        progress: Progress,
    ) -> Run:
        """Go through the flow and record its end; the only place where any exception is caught."""
        coordination = self._coordination(definition, store, run_id)
        try:
            coordination.close_removals()
            with snapshot.ledger.explaining():
                catch_up(snapshot, coordination)
                prepared = self._query(definition, snapshot, options)
                with self._warehouse(prepared) as warehouse, progress.token.interruptible(warehouse.close):
                    run = SyncRun(
                        definition=definition,
                        sql=prepared.statement,
                        warehouse=warehouse,
                        snapshot=snapshot,
                        store=store,
                        options=options,
                        progress=progress,
                    )
                    run_sync(run, coordination=coordination, started_at=started_at)
        except HeldError as exc:
            return self._finish(run_id, RunStatus.HELD, progress, SyncerError(str(exc), hint=_held_hint(definition)))
        except (StoppedError, KeyboardInterrupt) as exc:
            self._publish_rejections(definition, snapshot)
            return self._finish(run_id, RunStatus.INTERRUPTED, progress, SyncerError(str(exc) or "stopped by a signal"))
        except SyncerError as exc:
            if isinstance(exc, StoreError):
                self._publish_rejections(definition, snapshot)
            return self._failed(run_id, progress, exc)
        except Exception as exc:
            # Its text may hold values; the frames and the name are enough.
            log.error("unexpected %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
            error = SyncerError(f"unexpected {type(exc).__name__}; this is a defect of Syncer")
            return self._finish(run_id, RunStatus.FAILED, progress, error)
        refused = self._publish_rejections(definition, snapshot)
        return self._finish(run_id, RunStatus.WARNING if refused else RunStatus.SUCCESS, progress, None)

    def _publish_rejections(self, definition: SyncDefinition, snapshot: Snapshot) -> int:
        """Put what is refused now where it can be read while a run holds the snapshot; returns how many rows."""
        with snapshot.ledger.explaining():
            rejections, total = snapshot.rejections(KEPT_REJECTIONS)
        self.run_log.replace_rejections(definition.name, rejections, total)
        return total

    def _failed(self, run_id: str, progress: Progress, error: SyncerError) -> Run:
        if progress.token.is_cancelled and progress.phase is Phase.QUERY:
            # Reading was cut off on purpose.
            return self._finish(run_id, RunStatus.INTERRUPTED, progress, SyncerError(progress.token.reason))
        return self._finish(run_id, RunStatus.FAILED, progress, error)

    def _finish(self, run_id: str, status: RunStatus, progress: Progress, error: SyncerError | None) -> Run:
        self.run_log.finish(
            run_id,
            status,
            self.now(),
            counts=progress.counts,
            phases=progress.phases,
            error=str(error) if error else None,
            hint=error.hint if error else "",
            notes=progress.notes,
        )
        return self._run_of(run_id, error)

    def _run_of(self, run_id: str, cause: SyncerError | None) -> Run:
        run = self.run_log.get(run_id)
        assert run is not None
        return replace(run, cause=cause)

    def _query(self, definition: SyncDefinition, snapshot: Snapshot, options: RunOptions) -> Query:
        rendered = query.render(
            definition,
            last_sync_time=0 if options.full or options.only else snapshot.known.last_sync_time,
            variables=self.settings.vars,
            environment=self.settings.environment,
        )
        if snapshot.known.settled_definition == definition.hash and rendered == definition.sql:
            # This very text has passed the check before, which costs a tenth of a second.
            return Query(definition=definition, rendered=rendered, statement=rendered)
        url = self.settings.warehouses[definition.warehouse].url.get_secret_value()
        statement = query.check(definition, rendered, registry.dialect(url))
        return Query(definition=definition, rendered=rendered, statement=statement)

    def _coordination(self, definition: SyncDefinition, store: ProfileStore, run_id: str = "") -> SharedCoordination:
        return SharedCoordination(
            database=self.run_log.database, sync=definition.name, store_id=store.store_id, run_id=run_id
        )

    def _open_store(self, definition: SyncDefinition, started_at: datetime) -> ProfileStore:
        return self.settings.stores[definition.store].open(definition.store, started_at=started_at)

    def _later_than_the_last(self, definition: SyncDefinition) -> datetime:
        """From when on what this run sends counts: a store may hold on to what is newer, also after a clock was set."""
        last = self.run_log.last_started(definition.name)
        return max(self.now(), last + timedelta(seconds=1)) if last else self.now()

    @contextmanager
    def _warehouse(self, prepared: Query) -> Iterator[Warehouse]:
        """The warehouse of a query; its errors name the definition's file and line."""
        definition = prepared.definition
        opened = self.settings.warehouses[definition.warehouse].open(definition.warehouse, sync=definition.name)
        with closing(opened) as warehouse, prepared.errors_placed():
            yield warehouse


def _held_hint(definition: SyncDefinition) -> str:
    return (
        f"Look at `syncer plan {definition.name}`; if it is right, `syncer run {definition.name} --allow-limits` "
        "lets it through once. See `syncer docs writing-a-sync`."
    )
