"""A JSON file that is a table: each query returns its rows as they are."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from syncer.model.types import Column


class AcmeWarehouse:
    """The file that the URL names."""

    def __init__(self, name: str, url: str, **_of_other_warehouses: object) -> None:
        self._path = Path(url.removeprefix("acme:///"))

    def columns(self, sql: str) -> tuple[Column, ...]:
        """As in Warehouse."""
        return tuple(Column(name=field.name, type=str(field.type)) for field in self._table().schema)

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        """As in Warehouse."""
        return self._table().to_reader()

    def close(self) -> None:
        """As in Warehouse."""

    def _table(self) -> pa.Table:
        return pa.Table.from_pylist(json.loads(self._path.read_text()))
