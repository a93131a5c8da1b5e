"""Loads the people of a warehouse with dlt: a program for the environment in which dlt is installed.

Its arguments: how, the URLs of the warehouse and of the store, and the folder for what dlt remembers.
"""

from __future__ import annotations

import sys
from typing import Any

import dlt
from dlt.destinations import postgres
from dlt.sources.sql_database import sql_table

#: By how: how dlt reads, the file format in which it loads, and how it merges.
#: Source: https://dlthub.com/docs/general-usage/merge-loading and https://dlthub.com/docs/dlt-ecosystem/destinations/postgres
HOW: dict[str, tuple[str, str, Any]] = {
    "merge": ("sqlalchemy", "csv", "merge"),
    "upsert": ("sqlalchemy", "csv", {"disposition": "merge", "strategy": "upsert"}),
    "arrow": ("pyarrow", "parquet", {"disposition": "merge", "strategy": "upsert"}),
}
_CHUNK_ROWS = 50_000


def main(how: str, warehouse: str, store: str, folder: str) -> None:
    """Load everybody."""
    backend, file_format, disposition = HOW[how]
    pipeline = dlt.pipeline(
        pipeline_name="people", pipelines_dir=folder, destination=postgres(store), dataset_name="dlt_people"
    )
    customers = sql_table(
        credentials=warehouse.replace("postgresql:", "postgresql+psycopg2:", 1),
        table="customers",
        backend=backend,
        chunk_size=_CHUNK_ROWS,
    )
    customers.apply_hints(primary_key="customer_id", write_disposition=disposition)
    print(pipeline.run(customers, loader_file_format=file_format))


if __name__ == "__main__":
    main(*sys.argv[1:])
