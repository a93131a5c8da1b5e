"""One million people, ten columns, in a PostgreSQL warehouse: what the benchmarks read and change."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg

DEFINITION = """/* sync
entity: person
person: {id: customer_id}
limits: {changed: 100%}
*/
SELECT customer_id, first_name, last_name, email_domain, city, plan, lifetime_value, signed_up_at, subscribed, note
FROM customers
"""

_MAKE = """
CREATE TABLE customers AS SELECT
    i AS customer_id,
    'First' || i % 5000 AS first_name,
    'Last' || i AS last_name,
    'mail' || i % 300 || '.example.com' AS email_domain,
    CASE WHEN i % 7 = 0 THEN NULL ELSE 'City ' || i % 900 END AS city,
    CASE WHEN i % 3 = 0 THEN 'free' ELSE 'pro' END AS plan,
    ((i::bigint * 7919) % 10000000)::numeric(12, 2) / 100 AS lifetime_value,
    timestamptz '2020-01-01 00:00:00+00' + i % 100000000 * interval '1 second' AS signed_up_at,
    i % 2 = 0 AS subscribed,
    CASE WHEN i % 5 = 0 THEN NULL ELSE 'note number ' || i END AS note
FROM generate_series(1, %(rows)s) AS i
"""


def make_customers(url: str, rows: int) -> None:
    """Fill the warehouse."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS customers")
        connection.execute(_MAKE.replace("%(rows)s", str(rows)))
        connection.execute("VACUUM ANALYZE customers")


def change_customers(url: str, every: int) -> None:
    """Change one column of every so manieth row."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"UPDATE customers SET plan = plan || '+' WHERE customer_id % {every} = 0")
        connection.execute("VACUUM ANALYZE customers")


def bare_copy_seconds(url: str) -> float:
    """How long a bare COPY of the same query takes, read by psycopg and thrown away."""
    query = DEFINITION.partition("*/")[2]
    with psycopg.connect(url) as connection:
        begun = time.monotonic()
        with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
            for _ in copy:
                pass
        return time.monotonic() - begun


def write_definition(folder: Path) -> None:
    """Write the definition where the benchmark's project has its folder."""
    folder.mkdir(parents=True)
    (folder / "customers.sql").write_text(DEFINITION)
