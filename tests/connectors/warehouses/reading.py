"""Opening a warehouse and reading a query of it to the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from syncer.model.protocols import Warehouse
from syncer.settings.registry import open_warehouse

TIMEOUT = timedelta(minutes=1)


@contextmanager
def opened(url: str) -> Iterator[Warehouse]:
    """The warehouse at *url*, which messages call `crm`."""
    warehouse = open_warehouse("crm", url)
    try:
        yield warehouse
    finally:
        warehouse.close()


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    """The whole result."""
    found: list[dict[str, Any]] = warehouse.query(sql, timeout=TIMEOUT).read_all().to_pylist()
    return found
