"""A warehouse that is one table in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from syncer.model.types import Column


@dataclass
class Table:
    """A warehouse that is one table: each query returns its rows as they are."""

    result: pa.Table

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        return self.result.to_reader()

    def columns(self, sql: str) -> tuple[Column, ...]:
        return tuple(Column(name=f.name, type=str(f.type)) for f in self.result.schema)

    def close(self) -> None: ...
