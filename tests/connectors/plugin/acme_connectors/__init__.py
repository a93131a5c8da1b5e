"""Connectors of somebody else's package: a warehouse that is a JSON file, and a store that is a folder of them."""

from __future__ import annotations

from pydantic import SecretStr

from syncer.model.connectors import Options, StoreConnector, WarehouseConnector


class AcmeOptions(Options):
    """What the store takes beside its URL."""

    password: SecretStr


WAREHOUSE = WarehouseConnector(
    schemes=("acme",), opened_by="acme_connectors.warehouse:AcmeWarehouse", is_file=True, dialects={"acme": "duckdb"}
)
STORE = StoreConnector(
    schemes=("acme",), opened_by="acme_connectors.store:AcmeStore", is_file=True, options=AcmeOptions
)
