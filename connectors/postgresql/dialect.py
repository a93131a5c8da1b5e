"""How PostgreSQL spells the SQL of a profile store."""

from __future__ import annotations

from connectors.sql_store.dialect import SQLDialect

#: Any number, the same for every version of Syncer: its holder creates or upgrades the tables.
_UPGRADE_LOCK = 7305712

_MERGED = """(
    CASE WHEN b.cleared = '{}' THEN t.attributes ELSE t.attributes - b.cleared END || b.attributes)"""

DIALECT = SQLDialect(
    engine="postgresql+psycopg://",
    lock=f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})",
    version="SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1)",
    now="now()",
    ago="now() - make_interval(secs => {})",
    merged=_MERGED,
    nothing="'{}'::jsonb",
    without_phone="t.attributes - 'phone'",
    moment="replace(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '.000000', '') || '+00:00'",
    nothing_cleared="'{}'::text[]",
    as_array="json_agg",
    find_workspace="SELECT WHERE to_regclass('workspace') IS NOT NULL",
    as_json="SELECT CAST(json_agg(json_build_array({columns})) AS text) FROM ({rows}) AS page",
    each_attribute="jsonb_each_text(p.attributes)",
    each_text="json_array_elements_text(CAST(:values AS json)) AS e (value)",
    each_pair=(
        "(SELECT value ->> 0 AS one, value ->> 1 AS other "
        "FROM json_array_elements(CAST(:values AS json)) AS e (value)) AS c"
    ),
    # A look at each takes half of the time of a join with a temporary table.
    numbered="person_id = ANY(CAST('{' || :numbers || '}' AS bigint[]))",
    by_index="SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off",
)
