"""What Snowflake declares: its URLs and the settings beside them."""

from __future__ import annotations

from pydantic import SecretStr

from syncer.model.connectors import Options, WarehouseConnector


class SnowflakeOptions(Options):
    """What to log in with in place of a password."""

    #: An access token.
    token: SecretStr | None = None
    #: A private key as PEM.
    key: SecretStr | None = None
    key_passphrase: SecretStr | None = None


WAREHOUSE = WarehouseConnector(
    schemes=("snowflake",),
    opened_by="connectors.snowflake.warehouse:SnowflakeWarehouse",
    options=SnowflakeOptions,
    extra="snowflake",
)
