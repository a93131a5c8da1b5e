"""What Snowflake declares: its URLs and the settings beside them."""

from __future__ import annotations

from pydantic import Field, SecretStr

from syncer.model.connectors import Options, WarehouseConnector


class SnowflakeOptions(Options):
    """What to log in with in place of a password."""

    token: SecretStr | None = Field(default=None, description="an OAuth or programmatic access token")
    key: SecretStr | None = Field(default=None, description="a private RSA key as PEM")
    key_passphrase: SecretStr | None = Field(default=None, description="the passphrase of the key")


WAREHOUSE = WarehouseConnector(
    schemes=("snowflake",),
    opened_by="connectors.snowflake.warehouse:SnowflakeWarehouse",
    options=SnowflakeOptions,
    extra="snowflake",
)
