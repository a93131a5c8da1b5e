"""A shop in a DuckDB file, and whether what a workspace holds is what its query returns."""

from __future__ import annotations

from pathlib import Path

import duckdb

#: The ten columns of `tests.benchmarks.people`.
_MAKE = """
CREATE TABLE customers AS SELECT
    i AS customer_id,
    'First' || i % 5000 AS first_name,
    'Last' || i AS last_name,
    'mail' || i % 300 || '.example.com' AS email_domain,
    CASE WHEN i % 7 = 0 THEN NULL ELSE 'City ' || i % 900 END AS city,
    CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    CAST(i * 7919 % 10000000 AS DECIMAL(12, 2)) / 100 AS lifetime_value,
    TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_seconds(i % 100000000) AS signed_up_at,
    i % 2 = 0 AS subscribed,
    CASE WHEN i % 5 = 0 THEN NULL ELSE 'note number ' || i END AS note
FROM range(1, {rows} + 1) AS t (i)
"""
_HELD = """
SELECT id, first_name, last_name, email_domain, city, plan, lifetime_value, signed_up_at, subscribed, note
FROM read_json('{file}', format = 'newline_delimited', columns = {{
    id: 'VARCHAR', first_name: 'VARCHAR', last_name: 'VARCHAR', email_domain: 'VARCHAR', city: 'VARCHAR',
    plan: 'VARCHAR', lifetime_value: 'DOUBLE', signed_up_at: 'BIGINT', subscribed: 'BOOLEAN', note: 'VARCHAR'}})
"""
_EXPECTED = """
SELECT CAST(customer_id AS VARCHAR) AS id, first_name, last_name, email_domain, city, plan,
    CAST(lifetime_value AS DOUBLE) AS lifetime_value, CAST(epoch(signed_up_at) AS BIGINT) AS signed_up_at,
    subscribed, note
FROM customers
"""


def make_shop(file: Path, rows: int) -> None:
    """Fill a new warehouse."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(_MAKE.format(rows=rows))


def change_everybody(file: Path) -> None:
    """Change one column of every row."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE customers SET plan = plan || '+'")


def differences(file: Path, people: Path) -> int:
    """Rows of the query that *people* has not got, and the other way round, value by value."""
    held = _HELD.format(file=people)
    with duckdb.connect(str(file), read_only=True) as connection:
        counted = connection.execute(
            f"SELECT (SELECT count(*) FROM ({_EXPECTED} EXCEPT ALL {held})) "
            f"+ (SELECT count(*) FROM ({held} EXCEPT ALL {_EXPECTED}))"
        )
        return int(counted.fetchall()[0][0])
