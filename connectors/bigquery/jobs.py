"""One query on its way through BigQuery: the job, and its rows as Arrow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pyarrow as pa

from connectors.bigquery.connection import Clients
from connectors.bigquery.errors import failures
from connectors.bigquery.values import Shape, from_arrow, from_cells
from connectors.support.warehouse import uncollected
from syncer.model.importing import importing

#: Rows of one batch, and of one page of the REST API, which has at most some ten MB.
_BATCH_ROWS = 20_000
#: Between two checks of a job that runs.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
#: For one answer of a server that is reachable.
_ANSWER_SECONDS = 30.0
_CANCEL_SECONDS = 5.0


class Job:
    """A query that runs, until *deadline* by time.monotonic(). Another thread may stop it."""

    def __init__(self, clients: Clients, *, deadline: float, stop: threading.Event) -> None:
        self._clients = clients
        self._deadline = deadline
        self._stop = stop
        self._id = f"syncer-{uuid4()}"
        self._job: Any = None
        #: Whether this login may not use the Storage Read API.
        self.was_denied_storage = False

    def run(self, sql: str, config: Any, *, location: str | None) -> None:
        """Send it to the *location* of its tables, and wait for its end.

        Raises:
            TimeoutError: the deadline has passed.
            InterruptedError: another thread stopped it.
            Exception: it failed, or what else the driver raises.
        """
        with importing:
            from google.api_core.exceptions import Conflict

        client, pause = self._clients.client, _FIRST_PAUSE_SECONDS
        with suppress(Conflict):
            self._job = client.query(
                sql, job_config=config, job_id=self._id, location=location, job_retry=None, **self._patience()
            )
        if self._job is None:
            # The driver lost an answer and sent the job again, so the job is ours.
            self._job = client.get_job(self._id, location=location, **self._patience())
        while not self._job.done(**self._patience()):
            if self._stop.wait(min(pause, self._seconds_left())):
                raise InterruptedError
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        if failed := self._job.exception():
            raise failed

    def batches(self, shapes: list[Shape]) -> Iterator[pa.RecordBatch]:
        """The rows; raises as `run` does."""
        found = self._job.result(job_retry=None, **self._patience())
        if found.total_rows is None or [field.name for field in found.schema] != [shape.name for shape in shapes]:
            raise pa.ArrowInvalid("the result has other columns than the dry run reported")
        schema = pa.schema([shape.field for shape in shapes])
        count = 0
        for columns in self._columns(found, shapes):
            arrays = [from_arrow(column, shape) for column, shape in zip(columns, shapes, strict=True)]
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
            count += batch.num_rows
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                if self._stop.is_set():
                    raise InterruptedError
                self._seconds_left()
                yield batch.slice(start, _BATCH_ROWS)
        if count != found.total_rows:
            raise ConnectionError(f"{count} rows of {found.total_rows} arrived")

    def cancel(self) -> None:
        """Cancel it on the server, unless it has ended; raises nothing."""
        if self._job is not None and self._job.state != "DONE":
            with suppress(*failures()):
                self._clients.client.cancel_job(
                    self._id, location=self._job.location, retry=None, timeout=_CANCEL_SECONDS
                )

    def _columns(self, found: Any, shapes: list[Shape]) -> Iterator[list[pa.Array]]:
        if found.total_rows == 0:
            return
        if self._clients.storage is not None:
            with importing:
                from google.api_core.exceptions import PermissionDenied

            try:
                session = self._read_session()
            except PermissionDenied:
                self.was_denied_storage = True
            else:
                yield from self._messages(session, [shape.name for shape in shapes])
                return
        yield from self._pages(found, shapes)

    def _read_session(self) -> Any:
        types = self._clients.storage_types
        wanted = types.ReadSession(table=self._job.destination.to_bqstorage(), data_format=types.DataFormat.ARROW)
        lz4 = types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
        wanted.read_options.arrow_serialization_options.buffer_compression = lz4
        # gRPC reads ahead by itself; one stream needs the memory of a few messages.
        return self._clients.storage.create_read_session(
            parent=f"projects/{self._clients.place.project}",
            read_session=wanted,
            max_stream_count=1,
            **self._patience(),
        )

    def _messages(self, session: Any, names: list[str]) -> Iterator[list[pa.Array]]:
        """By the Storage Read API; the driver's own way to Arrow is deprecated, and retries for ever."""
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        for stream in session.streams:
            for message in self._resumed(stream.name):
                record_batch = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                batch = pa.ipc.read_record_batch(record_batch, schema)
                yield [batch.column(name) for name in names]

    def _resumed(self, stream: str) -> Iterator[Any]:
        """The messages of a stream; after an interruption it continues at the next row, until the deadline."""
        offset = 0
        while True:
            try:
                for message in self._clients.storage.read_rows(
                    read_stream=stream, offset=offset, retry=None, timeout=self._seconds_left()
                ):
                    yield message
                    offset += message.row_count
                return
            except failures() as exc:
                pause = _pause_before_resuming(exc)
                if pause is None or pause >= self._seconds_left() or self._stop.wait(pause):
                    raise

    def _pages(self, found: Any, shapes: list[Shape]) -> Iterator[list[pa.Array]]:
        """By the REST API; the driver's own reader makes Python values of its cells, which lose digits of JSON."""
        parameters = {**found.extra_params, "maxResults": _BATCH_ROWS}
        while True:
            with uncollected():
                page = found.api_request(
                    method="GET", path=found.path, query_params=parameters, timeout=self._patience()["timeout"]
                )
            rows = [row["f"] for row in page.get("rows", ())]
            yield [from_cells([row[i]["v"] for row in rows], shape) for i, shape in enumerate(shapes)]
            if not (token := page.get("pageToken")):
                return
            parameters["pageToken"] = token

    def _seconds_left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _patience(self) -> dict[str, Any]:
        """How long the driver may wait for one answer, and retry."""
        left = self._seconds_left()
        retry = self._clients.bigquery.DEFAULT_RETRY.with_timeout(min(left, _ANSWER_SECONDS))
        return {"retry": retry, "timeout": min(left, _ANSWER_SECONDS)}


def _pause_before_resuming(error: Exception) -> float | None:
    """Seconds to wait until a stream that ended with *error* continues; None if it is to fail.

    These are the errors at which Google's own reader continues: `ReadRowsStream` of google-cloud-bigquery-storage.
    """
    with importing:
        from google.api_core import exceptions
        from google.rpc.error_details_pb2 import RetryInfo

    # Unknown: no status came, as in "Stream removed".
    if isinstance(error, exceptions.ServiceUnavailable | exceptions.Unknown):
        return _LONGEST_PAUSE_SECONDS
    if isinstance(error, exceptions.InternalServerError) and "RST_STREAM" in error.message:
        return _LONGEST_PAUSE_SECONDS
    if isinstance(error, exceptions.ResourceExhausted):
        delays = (one.retry_delay for one in error.details if isinstance(one, RetryInfo))
        return next((max(_FIRST_PAUSE_SECONDS, one.seconds + one.nanos / 1e9) for one in delays), None)
    return None
