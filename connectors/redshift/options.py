"""What Redshift declares: its URLs and the settings beside them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from syncer.model.connectors import Options, WarehouseConnector, information_schema, matching

_Folder = Annotated[str, matching(r"s3://[^/]+(/.*)?", "should be a folder such as `s3://bucket/folder`")]


class RedshiftOptions(Options):
    """The way of large results through S3; without both, Syncer reads them from the cluster itself."""

    unload_to: _Folder | None = Field(
        default=None, description="`s3://bucket/folder`, through which large results are read"
    )
    unload_role: str | None = Field(default=None, description="the ARN of the role that writes there")


WAREHOUSE = WarehouseConnector(
    schemes=("redshift",),
    opened_by="connectors.redshift.warehouse:RedshiftWarehouse",
    options=RedshiftOptions,
    # With external tables and late-binding views: r_SVV_COLUMNS of Redshift's documentation.
    listings={"redshift": information_schema("table_schema = current_schema()", columns="svv_columns")},
)
