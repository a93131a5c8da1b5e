"""The jobs that wake workers, by way of Procrastinate: each names a run, and all else is in the run log.

A job may be lost, done twice or done late. Procrastinate keeps its tables beside the run log's own, in the same schema.
See https://procrastinate.readthedocs.io/en/stable/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from syncer.model.errors import SettingsError, StateDatabaseError
from syncer.model.importing import importing
from syncer.state.database import StateDatabase
from syncer.state.leases import DEAD
from syncer.state.service_schema import job_tables, leases

if TYPE_CHECKING:
    import procrastinate

log = logging.getLogger(__name__)

#: Of the tables that are created here; its patches have the same ones.
_VERSION = "3.10"

_TASK = "syncer.run"

#: Seconds between two looks for jobs: a lock that gets free, and a pooler, tell nothing.
_LOOK_AGAIN = 1.0

#: Seconds after which what Procrastinate knows of a worker without a beat is deleted.
_STALLED_SECONDS = 60.0

_WAITING = f"SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND task_name = '{_TASK}'"

#: The jobs that some worker has taken, and that no lease covers: of a sync that got free, or taken a while ago.
_ORPHANS = f"""
    DELETE FROM procrastinate_jobs job
    WHERE status = 'doing' AND task_name = '{_TASK}'
    AND NOT EXISTS (SELECT FROM {leases.name} WHERE sync = job.lock AND run_id = job.args ->> 'run_id')
    AND (lock = ANY(:freed) OR NOT EXISTS (
        SELECT FROM procrastinate_events
        WHERE job_id = job.id AND type = 'started' AND at > clock_timestamp() - CAST(:age AS interval)
    ))
"""


@dataclass
class JobQueue:
    """The jobs of one run log, which is in PostgreSQL."""

    database: StateDatabase

    def prepare(self) -> None:
        """Create the tables of Procrastinate, once.

        Raises:
            SettingsError: it is not installed, or the database has such tables of another version or program.
            StateDatabaseError: the database cannot be used.
        """
        schema = self._app.schema_manager.get_schema()
        with self.database.upgrading() as connection:
            version = connection.execute(sa.select(job_tables.c.version)).scalar_one_or_none()
            if version is None:
                if connection.exec_driver_sql("SELECT to_regclass('procrastinate_jobs')").scalar_one() is not None:
                    raise SettingsError(
                        "SYNCER_DATABASE_URL: another program keeps jobs of Procrastinate in this database",
                        hint="Give Syncer a database, or a schema, of its own.",
                    )
                connection.exec_driver_sql(schema.replace("%", "%%"))
                connection.execute(job_tables.insert().values(version=_VERSION))
            elif version != _VERSION:
                raise SettingsError(
                    f"SYNCER_DATABASE_URL: the jobs in this database are of Procrastinate {version}, not {_VERSION}",
                    hint="Let every machine have the same version of Syncer.",
                )

    def defer(self, sync: str, run_id: str, *, queue: str, priority: int = 0) -> None:
        """Let a worker look at a run, unless one is about to look at the same sync.

        Raises:
            StateDatabaseError: the job cannot be written.
        """
        with importing:
            from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

        with self.database.writing() as connection:
            raw = connection.connection.dbapi_connection
            job = self._app.configure_task(
                _TASK, queue=queue, lock=sync, queueing_lock=sync, priority=priority, connection=raw
            )
            attempt = connection.begin_nested()
            try:
                job.defer(run_id=run_id)
            except AlreadyEnqueued:
                attempt.rollback()
            except ConnectorException as exc:
                reason = type(exc.__cause__).__name__
                raise StateDatabaseError(f"SYNCER_DATABASE_URL: no job can be written: {reason}") from None
            else:
                attempt.commit()

    def waiting(self) -> set[str]:
        """The syncs that have a job which no worker has taken."""
        with self.database.reading() as connection:
            return set(connection.execute(sa.text(_WAITING)).scalars())

    def delete_orphans(self, freed: Collection[str]) -> int:
        """Delete the jobs that nobody works at, which would keep their syncs from being run; returns how many.

        Never `retry_job`: a worker that stood still would end the job that another one has by then.

        Shapes:
            freed: syncs whose leases a dead worker had.
        """
        with self.database.writing() as connection:
            values = {"freed": [*freed], "age": f"{DEAD / timedelta(seconds=1)} seconds"}
            return connection.execute(sa.text(_ORPHANS), values).rowcount

    @cached_property
    def _app(self) -> procrastinate.App:
        return _made(lambda procrastinate: procrastinate.SyncPsycopgConnector())


@dataclass
class JobLoop:
    """Takes jobs until it is told to stop; of one worker, in one thread."""

    arguments: Mapping[str, Any]
    name: str
    #: Empty for all.
    queues: Sequence[str]
    concurrency: int
    #: Looks at a run; called in threads, so many at a time, and raises nothing.
    run: Callable[[str], None]
    _loop: asyncio.AbstractEventLoop | None = None
    _taking: asyncio.Task[None] | None = None
    _is_stopped: bool = False

    def take(self, ready: Callable[[], object]) -> None:
        """Take jobs until `stop`, and then wait for those in hand.

        Shapes:
            ready: called once it can take jobs.
        Raises:
            Exception: of Procrastinate or the driver, where the database cannot be used; what was in hand has ended.
        """
        asyncio.run(self._take(ready))

    def stop(self) -> None:
        """Take no more; any thread may call it."""
        self._is_stopped = True
        if self._loop is not None and self._taking is not None:
            self._loop.call_soon_threadsafe(self._taking.cancel)

    async def _take(self, ready: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self.concurrency + 1, thread_name_prefix="run"))
        # With every outage it logs tracebacks; what it cannot do, `take` raises.
        logging.getLogger("procrastinate.worker").setLevel(logging.CRITICAL)
        # Of a job that was deleted meanwhile, for one.
        loop.set_exception_handler(lambda _, context: log.debug("of a job: %s", context.get("message")))
        # A pooler may give each transaction another session.
        arguments = {**self.arguments, "prepare_threshold": None}
        app = _made(
            lambda procrastinate: procrastinate.PsycopgConnector(
                kwargs=arguments, min_size=1, max_size=3, timeout=10, reconnect_timeout=10
            )
        )
        app.task(name=_TASK)(self.run)
        async with app.open_async():
            self._taking = asyncio.create_task(self._work(app))
            self._loop = loop
            if self._is_stopped:
                self._taking.cancel()
            ready()
            try:
                await self._taking
            except asyncio.CancelledError:
                if not self._is_stopped:
                    raise
            finally:
                self._loop = None

    async def _work(self, app: procrastinate.App) -> None:
        options: dict[str, Any] = {"queues": self.queues} if self.queues else {}
        await app.run_worker_async(
            name=self.name,
            concurrency=self.concurrency,
            fetch_job_polling_interval=_LOOK_AGAIN,
            # No job is aborted: runs are stopped by way of the run log.
            abort_job_polling_interval=60.0,
            stalled_worker_timeout=_STALLED_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
            **options,
        )


def _made(connector: Callable[[Any], Any]) -> procrastinate.App:
    """Procrastinate, with a connector that nothing has opened yet."""
    try:
        with importing:
            import procrastinate
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("procrastinate", "psycopg_pool"):
            raise
        raise SettingsError(
            "SYNCER_RUNS: what workers need is not installed",
            hint="Install it with `pip install 'syncer[cluster]'`.",
        ) from None
    return procrastinate.App(connector=connector(procrastinate))
