"""BigQuery as a warehouse: a dry run describes a query, a job runs it, the Storage Read API gives Arrow."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from connectors.bigquery.connection import connect
from connectors.bigquery.errors import failure, failures
from connectors.bigquery.jobs import Job
from connectors.bigquery.options import BigQueryOptions
from connectors.bigquery.values import shape
from connectors.support.warehouse import DESCRIBE_TIMEOUT, StreamingWarehouse, in_utc
from syncer.model.errors import SyncerError
from syncer.model.types import Column, Probe

_DESCRIBE_RETRY_SECONDS = 10.0
#: How long after the client's deadline BigQuery ends the query itself, if no client is left to cancel it.
_GRACE = timedelta(seconds=5)
#: Tables of the dataset whose permissions a probe reads.
_PROBED_TABLES = 5
_WRITES = ("bigquery.tables.updateData", "bigquery.tables.delete", "bigquery.tables.update")


class BigQueryWarehouse(StreamingWarehouse):
    """A dataset of BigQuery. It has no read-only transaction: only what a dry run calls a SELECT runs.

    Its API has one version, 2. The result of a query is a table of its own, so it does not change while it is read.
    """

    def __init__(self, name: str, url: str, *, options: BigQueryOptions, sync: str = "") -> None:
        super().__init__(name, dialect="bigquery")
        self._most_bytes = options.maximum_bytes_billed
        self._labels = {"syncer_sync": _label_value(sync)} if sync else {}
        self._clients = connect(self._named, url, options)
        self._stop = threading.Event()
        self._job: Job | None = None

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse; by a dry run, which bills nothing."""
        with self._failures(DESCRIBE_TIMEOUT):
            job = self._dry_run(self._select_statement(sql).text)
        return tuple(Column(name=s.name, type=s.word) for s in map(shape, job.schema))

    def forecast(self, sql: str) -> str:
        """See `ForecastingQueries`: the bytes that a dry run reports."""
        with self._failures(DESCRIBE_TIMEOUT):
            size = int(self._dry_run(self._select_statement(sql).text).total_bytes_processed or 0)
        allowed = "" if self._most_bytes is None else f", of at most {_size(self._most_bytes)} allowed"
        return f"BigQuery will read {_size(size)} (a dry run's estimate){allowed}"

    def probe(self) -> Probe:
        """See `Probing`. Runs `SELECT 1`, which bills nothing, and reads permissions on some tables of the dataset."""
        for _ in self.query("SELECT 1 AS one", timeout=DESCRIBE_TIMEOUT):
            pass
        with self._failures(DESCRIBE_TIMEOUT):
            table, may_write = self._written()
        notes = [f"It may change {table}; roles/bigquery.dataViewer is safer."] if may_write else []
        if self._job is not None and self._job.was_denied_storage:
            notes.append("Large results are read slowly: it lacks roles/bigquery.readSessionUser on the project.")
        return Probe(version="BigQuery 2", can_write=may_write, note=" ".join(notes))

    def now(self) -> datetime:
        """See `TellsTime`. The query bills nothing."""
        found = self.query("SELECT CURRENT_TIMESTAMP() AS moment", timeout=DESCRIBE_TIMEOUT).read_all()
        return in_utc(found["moment"][0].as_py())

    def _written(self) -> tuple[str, bool | None]:
        """A table that this login may change, and whether it may; None if the dataset has no table."""
        client, place = self._clients.client, self._clients.place
        dataset = self._clients.bigquery.DatasetReference(place.project, place.dataset)
        may_write = None
        for table in client.list_tables(dataset, max_results=_PROBED_TABLES, **self._patience()):
            granted = client.test_iam_permissions(table, _WRITES, **self._patience()).get("permissions")
            if granted:
                return f"{place.dataset}.{table.table_id}", True
            may_write = False
        return "", may_write

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        deadline = time.monotonic() + timeout.total_seconds()
        with self._failures(timeout):
            sql = self._select_statement(sql).text
            job = self._dry_run(sql)
            shapes = [shape(field) for field in job.schema]
            yield pa.schema([column.field for column in shapes])
            self._job = Job(self._clients, deadline=deadline, stop=self._stop)
            try:
                self._job.run(sql, self._config(timeout=timeout), location=job.location)
                yield from self._job.batches(shapes)
            finally:
                self._job.cancel()

    def _disconnect(self) -> None:
        self._clients.close()

    def _dry_run(self, sql: str) -> Any:
        """The job that *sql* would be."""
        place = self._clients.place
        config = self._config(dry_run=True)
        job = self._clients.client.query(
            sql, job_config=config, location=place.location, job_retry=None, **self._patience()
        )
        if job.statement_type != "SELECT":
            raise self._refusal("is several statements" if job.statement_type == "SCRIPT" else "is not a SELECT")
        if not job.schema:
            raise self._refusal("returns no columns")
        return job

    def _config(self, *, timeout: timedelta | None = None, dry_run: bool = False) -> Any:
        bigquery, place = self._clients.bigquery, self._clients.place
        config = bigquery.QueryJobConfig(
            default_dataset=bigquery.DatasetReference(place.project, place.dataset),
            use_legacy_sql=False,
            labels=self._labels,
            dry_run=dry_run,
        )
        if timeout is not None:
            config.job_timeout_ms = round((timeout + _GRACE).total_seconds() * 1000)
            if self._most_bytes is not None:
                config.maximum_bytes_billed = self._most_bytes
        return config

    def _patience(self) -> dict[str, Any]:
        retry = self._clients.bigquery.DEFAULT_RETRY.with_timeout(_DESCRIBE_RETRY_SECONDS)
        return {"retry": retry, "timeout": DESCRIBE_TIMEOUT.total_seconds()}

    def _interrupt(self) -> None:
        self._stop.set()
        if self._job is not None:
            self._job.cancel()
        if self._clients.storage is not None:
            self._clients.storage.transport.close()

    @contextmanager
    def _failures(self, timeout: timedelta) -> Iterator[None]:
        """Turn errors into WarehouseErrors."""
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            yield
        except SyncerError:
            raise
        except InterruptedError:
            raise self._closed_early() from None
        except TimeoutError:
            raise self._over_timeout(timeout) from None
        except pa.ArrowException:
            # Its text may quote a value.
            raise self._misfit() from None
        except failures() as exc:
            if self._stop.is_set():
                raise self._closed_early() from None
            if time.monotonic() >= deadline:
                raise self._over_timeout(timeout) from None
            raise failure(exc, self._named, self._clients.place) from None
        except ValueError:
            # gRPC's word for a channel that another thread has closed.
            if not self._stop.is_set():
                raise
            raise self._closed_early() from None


def _label_value(text: str) -> str:
    """*text* as the value of a job's label.

    Source: https://cloud.google.com/bigquery/docs/labels-intro#requirements.
    """
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.1f}".removesuffix(".0") + f" {unit}"
