"""Redshift's UNLOAD: the cluster writes a result to S3 as Parquet, and Syncer reads and deletes it there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import fs, parquet

from connectors.redshift.options import RedshiftOptions
from connectors.redshift.values import from_parquet
from connectors.support.warehouse import quote_literal, rows_at_once
from syncer.model.errors import WarehouseError

_BATCH_ROWS = 20_000
_HINT = "Check the bucket, its region and this machine's AWS credentials; they must read, list and delete there."


class Unload:
    """The files of one result, in a folder of their own."""

    def __init__(self, label: str, options: RedshiftOptions, schema: pa.Schema, *, oids: Sequence[int]) -> None:
        """Nothing is written yet.

        Shapes:
            options: `unload_to` and `unload_role` are set.
            schema: of the batches.
            oids: the numbers of its columns' types.
        """
        self._label = label
        self._role = options.unload_role or ""
        self._schema = schema
        self._oids = oids
        folder = (options.unload_to or "").removeprefix("s3://").rstrip("/")
        #: Bucket and folder, which no other result has.
        self.folder = f"{folder}/syncer-{secrets.token_hex(16)}"

    def statement(self, select: str) -> str:
        """The statement by which Redshift writes the files.

        Source: https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html, read 2026-11-24: quotes and backslashes
        are escaped; UNLOAD refuses an outer LIMIT, so the query is in brackets.
        """
        wrapped = f"SELECT * FROM ({select}\n) AS q".replace("\\", "\\\\").replace("'", "\\'")
        to, role = map(quote_literal, (f"s3://{self.folder}/", self._role))
        return f"UNLOAD ('{wrapped}') TO {to} IAM_ROLE {role} FORMAT AS PARQUET MANIFEST VERBOSE"

    def batches(self, *, count: Callable[[], int]) -> Iterator[pa.RecordBatch]:
        """The rows of the files.

        Shapes:
            count: asks Redshift how many rows it unloaded.
        Raises:
            WarehouseError: S3 refused, or has another number of rows than Redshift reports.
        """
        rows = 0
        try:
            store = self._store()
            try:
                with store.open_input_stream(f"{self.folder}/manifest") as file:
                    manifest = json.loads(file.read())
            except FileNotFoundError:
                # Of no rows, Redshift may write no file at all.
                if count() == 0:
                    return
                raise
            for entry in manifest["entries"]:
                with store.open_input_file(entry["url"].removeprefix("s3://")) as file:
                    opened = parquet.ParquetFile(file)
                    for batch in opened.iter_batches(rows_at_once(_BATCH_ROWS, opened.metadata.num_columns)):
                        rows += batch.num_rows
                        yield self._typed(batch)
        except OSError as exc:
            raise self._failure("cannot read", exc) from None
        unloaded = _row_count(manifest)
        if unloaded is not None and unloaded != rows:
            raise WarehouseError(f"{self._label}: Redshift unloaded {unloaded} rows, and Syncer read {rows} in S3")

    def delete(self) -> None:
        """Delete the files, if there are any.

        Raises:
            WarehouseError: S3 refused; the files are still there.
        """
        try:
            store = self._store()
            if store.get_file_info(self.folder).type != fs.FileType.NotFound:
                store.delete_dir(self.folder)
        except OSError as exc:
            raise self._failure("cannot delete", exc) from None

    def _store(self) -> fs.FileSystem:
        # By a URI, which finds the bucket's region and respects AWS_ENDPOINT_URL.
        return fs.FileSystem.from_uri(f"s3://{self.folder}")[0]

    def _failure(self, said: str, error: OSError) -> WarehouseError:
        kind = type(error).__name__
        return WarehouseError(f"{self._label}: {said} what was unloaded to s3://{self.folder}: {kind}", hint=_HINT)

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.names not in ([name.lower() for name in self._schema.names], self._schema.names):
            raise WarehouseError(f"{self._label}: the unloaded files have other columns than the query")
        arrays = [
            from_parquet(column, oid, field.type)
            for column, oid, field in zip(batch.columns, self._oids, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _row_count(manifest: dict[str, Any]) -> int | None:
    counts = [entry.get("meta", {}).get("record_count") for entry in manifest["entries"]]
    return None if None in counts else sum(counts)
