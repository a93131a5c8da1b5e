"""Which columns an incremental query compares with `last_sync_time`, and which types have no time zone."""

from __future__ import annotations

import pytest

from syncer.queries.cursors import MARKER, cursors, has_no_zone


@pytest.mark.parametrize(
    ("sql", "dialect", "found"),
    [
        (
            "SELECT id FROM t WHERE updated_at >= to_timestamp({}) AND id > 5",
            "postgres",
            {"updated_at": "SELECT updated_at FROM t"},
        ),
        (
            "SELECT id FROM t AS a JOIN u ON a.id = u.id WHERE {} < EXTRACT(epoch FROM u.seen) GROUP BY id LIMIT 5",
            "postgres",
            {"u.seen": "SELECT u.seen FROM t AS a JOIN u ON a.id = u.id"},
        ),
        (
            "WITH c AS (SELECT * FROM t) SELECT id FROM c WHERE seen BETWEEN FROM_UNIXTIME({}) AND NOW()",
            "mysql",
            {"seen": "WITH c AS (SELECT * FROM t) SELECT seen FROM c"},
        ),
        (
            "SELECT id FROM t WHERE '{}' <= a OR b = TIMESTAMP_SECONDS({})",
            "bigquery",
            {"a": "SELECT a FROM t", "b": ""},
        ),
        ("SELECT id FROM t WHERE updated_at AT TIME ZONE 'America/New_York' >= to_timestamp({})", "postgres", {}),
        ("SELECT id FROM t WHERE updated_at >= to_timestamp({}) AT TIME ZONE 'Europe/Rome'", "postgres", {}),
        ("SELECT id FROM t WHERE CONVERT_TZ(a, '-05:00', '+00:00') >= FROM_UNIXTIME({})", "mysql", {}),
        ("SELECT id FROM t WHERE updated_utc >= to_timestamp({})", "postgres", {}),
        ("SELECT {} AS t FROM t", "postgres", {}),
        ("SELECT nonsense nonsense nonsense {} FROM", "postgres", {}),
    ],
)
def test_a_compared_column_is_found_with_a_query_for_it_alone(sql: str, dialect: str, found: dict[str, str]) -> None:
    got = {cursor.name: cursor.query for cursor in cursors(sql.replace("{}", str(MARKER)), dialect)}

    assert got.keys() == found.keys()
    assert all(query == found[name] for name, query in got.items() if found[name])


@pytest.mark.parametrize("moved", [MARKER - 3600, MARKER * 1000, MARKER + 86_400])
def test_a_time_that_the_template_moved_is_found(moved: int) -> None:
    assert [cursor.name for cursor in cursors(f"SELECT id FROM t WHERE a >= {moved}", "duckdb")] == ["a"]


@pytest.mark.parametrize(
    ("dialect", "without", "with_"),
    [
        ("postgres", ["timestamp without time zone", "timestamp(3) without time zone", "date"],
         ["timestamp with time zone", "timestamp(3) with time zone", "bigint", "text", "mood"]),
        ("redshift", ["timestamp without time zone"], ["timestamp with time zone"]),
        ("mysql", ["DATETIME", "DATE"], ["TIMESTAMP", "BIGINT"]),
        ("snowflake", ["TIMESTAMP_NTZ(9)", "DATE"], ["TIMESTAMP_LTZ(9)", "TIMESTAMP_TZ(9)", "NUMBER(38,0)"]),
        ("bigquery", ["DATETIME", "DATE"], ["TIMESTAMP", "INT64"]),
        ("duckdb", ["TIMESTAMP", "TIMESTAMP_NS"], ["TIMESTAMP WITH TIME ZONE", "BIGINT"]),
        ("tsql", ["datetime2", "datetime", "smalldatetime"], ["datetimeoffset", "bigint"]),
        ("oracle", ["TIMESTAMP"], ["TIMESTAMP WITH TIME ZONE"]),
        ("trino", ["timestamp(3)"], ["timestamp(3) with time zone"]),
        ("clickhouse", [], ["DateTime", "DateTime64(3)"]),
        ("databricks", ["timestamp_ntz"], ["timestamp"]),
        ("unknown to sqlglot", ["TIMESTAMP"], ["what (is) this"]),
    ],
)  # fmt: skip
def test_types_without_a_zone_are_known_in_each_dialect(dialect: str, without: list[str], with_: list[str]) -> None:
    assert [type_ for type_ in without + with_ if has_no_zone(type_, dialect)] == without
