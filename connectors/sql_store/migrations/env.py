"""Runs the migrations within the transaction of whoever opened the store."""

from __future__ import annotations

from alembic import context

from connectors.sql_store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
