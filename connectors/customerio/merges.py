"""Pairs of people to merge, which Customer.io takes one by one: it forgets a pair whose person to keep is gone already.

Source: the operation `merge` of the Track API, https://docs.customer.io/api/track/.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from syncer.model.types import Target

#: People that one person may be merged through.
_LONGEST_CHAIN = 100


def with_roots(connection: duckdb.DuckDBPyConnection, target: Target, batch: pa.RecordBatch | pa.Table) -> pa.Table:
    """The batch, with whom to keep as `k1` where that person is to be merged too: the last of the chain.

    Only of people who are named by one kind of identifier on both sides; others cannot be told to be the same.

    Shapes:
        returns: also `goes_round`, whether nobody would be kept, and `depth`, how many merges of the batch are between
            the pair and who is kept. The deepest have to go first: if sending ends in between, each pair that is left
            still finds both of its people.
    """
    table = pa.table(batch)
    if target.merged_key is not target.person_key:
        return table.append_column("goes_round", pa.repeat(False, len(table))).append_column(
            "depth", pa.repeat(0, len(table))
        )
    connection.register("pairs", table)
    try:
        return connection.sql(
            "WITH RECURSIVE next AS (SELECT k2, min(k1) AS k1 FROM pairs GROUP BY k2), "
            "chain AS (SELECT seq, k1, k2 AS from_k, 0 AS steps FROM pairs "
            "UNION ALL SELECT c.seq, n.k1, c.from_k, c.steps + 1 FROM chain c JOIN next n ON n.k2 = c.k1 "
            f"WHERE c.k1 <> c.from_k AND c.steps < {_LONGEST_CHAIN}), "
            "roots AS (SELECT seq, arg_max(k1, steps) AS k1, max(steps) AS depth, "
            f"bool_or(k1 = from_k) OR max(steps) >= {_LONGEST_CHAIN} AS goes_round FROM chain GROUP BY seq) "
            "SELECT p.* REPLACE (r.k1 AS k1), r.goes_round, r.depth FROM pairs p JOIN roots r USING (seq) ORDER BY seq"
        ).to_arrow_table()
    finally:
        connection.unregister("pairs")


def checked_sql(rows: str) -> str:
    """SQL for *rows* with the `fault` of those that go round in a ring."""
    reason = "'these merges go round in a ring: nobody would be kept'"
    return f"SELECT * REPLACE (CASE WHEN goes_round THEN {reason} ELSE fault END AS fault) FROM ({rows})"
