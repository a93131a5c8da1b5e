"""What BigQuery declares: its URLs and the settings beside them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from syncer.model.connectors import Options, WarehouseConnector, information_schema


class BigQueryOptions(Options):
    """Who logs in, and what a query may cost."""

    key: SecretStr | None = Field(default=None, description="the JSON key of a service account")
    maximum_bytes_billed: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="the most bytes that one query may bill"
    )


WAREHOUSE = WarehouseConnector(
    schemes=("bigquery",),
    opened_by="connectors.bigquery.warehouse:BigQueryWarehouse",
    options=BigQueryOptions,
    extra="bigquery",
    listings={"bigquery": information_schema("TRUE", columns="`{database}`.INFORMATION_SCHEMA.COLUMNS")},
)
