"""People with ten columns, or a hundred, in a PostgreSQL warehouse: what the benchmarks read and change."""

from __future__ import annotations

from pathlib import Path

import psycopg

COLUMNS = "customer_id, first_name, last_name, email_domain, city, plan, lifetime_value, signed_up_at, subscribed, note"
QUERY = f"SELECT {COLUMNS}\nFROM customers"
DEFINITION = f"""/* sync
entity: person
person: {{id: customer_id}}
limits: {{changed: 100%}}
*/
{QUERY}
"""
#: The same, and deletes whom the query does not return any more.
DELETING = DEFINITION.replace("changed: 100%}", "changed: 100%, removed: 100%}\non_removed: delete")

#: Of the columns beyond ten, by their number modulo five.
_MORE = (
    "'value ' || i % {most}",
    "i % {most}",
    "CASE WHEN i % 3 <> 0 THEN 'option ' || (i + {most}) % 7 END",
    "(i::bigint * {most} % 1000000)::numeric(12, 2) / 100",
    "(i + {most}) % 2 = 0",
)
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
    {more}
FROM generate_series(1, {rows}) AS i
"""


def more_columns(columns: int) -> list[str]:
    """The names of the columns beyond ten."""
    return [f"column_{number}" for number in range(11, columns + 1)]


def query(columns: int = 10) -> str:
    """A query for everybody, with so many columns."""
    return QUERY.replace(COLUMNS, ", ".join([COLUMNS, *more_columns(columns)]))


def definition(columns: int = 10) -> str:
    """A definition with that query."""
    return DEFINITION.replace(QUERY, query(columns))


def make_customers(url: str, rows: int, columns: int = 10) -> None:
    """Fill the warehouse anew."""
    more = (
        f", {_MORE[number % len(_MORE)].format(most=100 + number)} AS {name}"
        for number, name in enumerate(more_columns(columns))
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS customers")
        connection.execute(_MAKE.format(rows=rows, more="\n    ".join(more)))
        connection.execute("VACUUM ANALYZE customers")


def change_customers(url: str, every: int) -> None:
    """Change one column of every so manieth row."""
    _execute(url, f"UPDATE customers SET plan = plan || '+' WHERE customer_id % {every} = 0")


def remove_customers(url: str, every: int) -> None:
    """Remove every so manieth row; all of them stay in the table `former_customers`."""
    _execute(url, "CREATE TABLE former_customers AS SELECT * FROM customers")
    _execute(url, f"DELETE FROM customers WHERE customer_id % {every} = 0")


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("VACUUM ANALYZE customers")


def write_definition(folder: Path, text: str = DEFINITION, name: str = "customers") -> None:
    """Write a definition where a benchmark's project has its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sql").write_text(text)
