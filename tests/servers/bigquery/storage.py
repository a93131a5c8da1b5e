"""The Storage Read API of the stand-in, over gRPC.

Source: https://cloud.google.com/bigquery/docs/reference/storage/rpc.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from itertools import count
from typing import Any

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from tests.servers.bigquery.jobs import Jobs

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
_BATCH_ROWS = 8_000

#: Status and text of what ends a stream, and whether it says when to try again.
_INTERRUPTIONS = {
    "unavailable": (grpc.StatusCode.UNAVAILABLE, "canary: Socket closed", False),
    "reset": (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", False),
    "removed": (grpc.StatusCode.UNKNOWN, "Stream removed", False),
    "exhausted": (grpc.StatusCode.RESOURCE_EXHAUSTED, "canary: too much is read", True),
    "quota": (grpc.StatusCode.RESOURCE_EXHAUSTED, "canary: the quota is used up", False),
    "internal": (grpc.StatusCode.INTERNAL, "canary: an error of its own", False),
}


def storage_server(jobs: Jobs) -> tuple[grpc.Server, int]:
    """A server on a free port of 127.0.0.1 that serves, and its port."""
    service = _Service(jobs)
    create = grpc.unary_unary_rpc_method_handler(
        service.create, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
    )
    read = grpc.unary_stream_rpc_method_handler(
        service.read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
    )
    server = grpc.server(futures.ThreadPoolExecutor(16))
    handlers = {"CreateReadSession": create, "ReadRows": read}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class _Service:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._streams: dict[str, tuple[str, pa.Table]] = {}
        self._numbers = count(1)

    def create(self, request: Any, context: Any) -> Any:
        """A session over the result of a query."""
        _, project, _, _, _, table = request.read_session.table.split("/")
        if "storage" in self._jobs.faults_of(project).denied:
            said = f"request failed: the user does not have 'bigquery.readsessions.create' permission for '{project}'"
            context.abort(grpc.StatusCode.PERMISSION_DENIED, said)
        result = next(job.result for job in self._jobs.jobs.values() if job.table == table)
        assert result is not None
        name = f"projects/{project}/locations/us/sessions/{next(self._numbers)}"
        streams = max(1, request.max_stream_count)
        rows = -(-result.num_rows // streams)
        for number in range(streams):
            self._streams[f"{name}/streams/{number}"] = project, result.slice(number * rows, rows)
        names = [stream for stream in self._streams if stream.startswith(f"{name}/")]
        return types.ReadSession(
            name=name,
            data_format=types.DataFormat.ARROW,
            table=request.read_session.table,
            arrow_schema=_schema(result.schema),
            streams=[types.ReadStream(name=stream) for stream in names],
        )

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        """The rows of a stream."""
        project, table = self._streams[request.read_stream]
        for number, batch in enumerate(table.slice(request.offset).to_batches(max_chunksize=_BATCH_ROWS)):
            faults = self._jobs.faults_of(project)
            if number and faults.interrupted:
                _interrupt(context, faults.interrupted.pop(0))
            if number and faults.broken:
                context.abort(grpc.StatusCode.DATA_LOSS, "the connection was cut")
            if number and faults.cut:
                return
            yield types.ReadRowsResponse(
                arrow_record_batch=types.ArrowRecordBatch(
                    serialized_record_batch=batch.serialize().to_pybytes(), row_count=batch.num_rows
                ),
                row_count=batch.num_rows,
                arrow_schema=_schema(table.schema),
            )


def _interrupt(context: Any, how: str) -> None:
    code, said, says_when = _INTERRUPTIONS[how]
    if not says_when:
        context.abort(code, said)
    status = status_pb2.Status(code=code.value[0], message=said)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(nanos=10_000_000)))
    context.abort_with_status(rpc_status.to_status(status))


def _schema(schema: pa.Schema) -> Any:
    return types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes())
