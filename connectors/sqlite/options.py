"""What SQLite declares: its URLs and the settings beside them."""

from __future__ import annotations

from connectors.sql_store.options import SQLStoreOptions
from syncer.model.connectors import StoreConnector

STORE = StoreConnector(
    schemes=("sqlite",),
    opened_by="connectors.sqlite.store:SQLiteStore",
    options=SQLStoreOptions,
    checked_by="connectors.sql_store.people:check",
    counts_people=True,
    moves_people=True,
    is_file=True,
)
