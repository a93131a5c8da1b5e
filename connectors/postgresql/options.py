"""What PostgreSQL declares: its URLs and the settings beside them."""

from __future__ import annotations

from pydantic import Field, SecretStr

from connectors.sql_store.options import SQLStoreOptions
from syncer.model.connectors import Options, StoreConnector, WarehouseConnector

_SCHEMES = ("postgresql", "postgres")

#: With materialized views, which `information_schema` leaves out.
_LISTING = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN n.nspname = ANY (current_schemas(false)) THEN 1 ELSE 0 END
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE')
  AND has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum
"""


class PostgreSQLOptions(Options):
    """The login that keeps the rows of snapshots, beside the one that reads."""

    keeper_url: SecretStr | None = Field(
        default=None,
        description="a login that owns one schema, in which the snapshots of syncs with `snapshot: warehouse` are kept",
    )


WAREHOUSE = WarehouseConnector(
    schemes=_SCHEMES,
    options=PostgreSQLOptions,
    kept_by="connectors.postgresql.kept_rows:PostgreSQLKeptRows",
    opened_by="connectors.postgresql.warehouse:PostgreSQLWarehouse",
    dialects={"postgresql": "postgres"},
    listings=dict.fromkeys(_SCHEMES, _LISTING),
)
STORE = StoreConnector(
    schemes=_SCHEMES,
    opened_by="connectors.postgresql.store:PostgreSQLStore",
    options=SQLStoreOptions,
    checked_by="connectors.sql_store.people:check",
    counts_people=True,
    moves_people=True,
)
