"""Orders as events, in a PostgreSQL warehouse or a DuckDB file: each is one event of one of a tenth as many people."""

from __future__ import annotations

from pathlib import Path

import duckdb
import psycopg

#: When the first order was paid, in unix seconds; the others follow each second.
BEGUN = 1_600_000_000
NAME = "order_paid"
QUERY = "SELECT order_id, customer_id, paid_at, total, currency, coupon FROM orders"
#: Only what is new.
INCREMENTAL = f"{QUERY} WHERE paid_at >= to_timestamp({{{{ last_event_time }}}})"
_DEFINITION = f"""/* sync
entity: event
person: {{{{id: customer_id}}}}
event: {{{{name: {NAME}, id: order_id, time: paid_at}}}}
start: all
{{more}}
*/
{{query}}
"""
_ROWS = """
    i AS order_id,
    i % {people} AS customer_id,
    {first} + i * {second} AS paid_at,
    ((i * 7919) % 10000000) / 100.0 AS total,
    CASE WHEN i % 3 = 0 THEN 'EUR' ELSE 'USD' END AS currency,
    CASE WHEN i % 5 = 0 THEN NULL ELSE 'coupon ' || i END AS coupon
"""


def definition(query: str = QUERY, more: str = "limits: {events: 1000000000}") -> str:
    """A sync of the query's orders."""
    return _DEFINITION.format(query=query, more=more)


def make_orders(url: str, rows: int, *, after: int = 0) -> None:
    """Let the warehouse have so many orders, numbered from *after* on; those that it has stay."""
    made = _ROWS.format(
        people=max(1, rows // 10), first=f"to_timestamp({BEGUN})", second="interval '1 second'"
    ).replace("i * 7919", "i::bigint * 7919")
    with psycopg.connect(url, autocommit=True) as connection:
        series = f"generate_series({after}, {after + rows - 1}) AS i"
        connection.execute(f"CREATE TABLE IF NOT EXISTS orders AS SELECT {made} FROM generate_series(1, 0) AS i")
        connection.execute(f"INSERT INTO orders SELECT {made} FROM {series}")
        connection.execute("CREATE INDEX IF NOT EXISTS orders_by_time ON orders (paid_at)")
        connection.execute("VACUUM ANALYZE orders")


def make_file(file: Path, rows: int) -> None:
    """Fill a DuckDB file."""
    made = _ROWS.format(people=max(1, rows // 10), first=f"to_timestamp({BEGUN})", second="to_seconds(1)")
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE orders AS SELECT {made} FROM range({rows}) AS t (i)")


def remember(snapshot: Path, orders: int) -> None:
    """Let the snapshot of an event sync remember so many sent events, each a second before the one after it."""
    with duckdb.connect(str(snapshot)) as connection:
        connection.execute(
            "INSERT INTO sent_events SELECT hash(i), CAST(i % 65536 AS USMALLINT), "
            f"CAST({BEGUN} - {orders} + i AS UINTEGER), CAST(hash(i) % 4294967296 AS UINTEGER) FROM range(?) AS t (i)",
            [orders],
        )


def differences(file: Path, events: Path) -> int:
    """Orders of the file that *events*, JSON lines of what a workspace holds, has not got once with their values."""
    held = (
        f"SELECT data.order_id, name, timestamp, data.total, data.currency, data.coupon FROM read_json('{events}', "
        "format = 'newline_delimited', columns = {name: 'VARCHAR', timestamp: 'BIGINT', "
        "data: 'STRUCT(order_id BIGINT, total DOUBLE, currency VARCHAR, coupon VARCHAR)'})"
    )
    values = "CAST(epoch(paid_at) AS BIGINT), CAST(total AS DOUBLE), currency, coupon"
    expected = f"SELECT order_id, '{NAME}', {values} FROM orders"
    with duckdb.connect(str(file), read_only=True) as connection:
        counted = connection.execute(
            f"SELECT (SELECT count(*) FROM ({expected} EXCEPT ALL {held})) "
            f"+ (SELECT count(*) FROM ({held} EXCEPT ALL {expected}))"
        )
        return int(counted.fetchall()[0][0])
