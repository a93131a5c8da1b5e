"""The connectors that packages register: which opens a URL, and what it declares."""

from __future__ import annotations

import pytest

from syncer.settings import registry


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", "postgres"),
        ("duckdb:///x", "duckdb"),
        ("redshift+redshift_connector://h", "redshift"),
        ("mysql+pymysql://h", "mysql"),
        ("snowflake://a", "snowflake"),
        ("bigquery://p", "bigquery"),
    ],
)
def test_the_dialect_follows_the_warehouse_s_url(url: str, expected: str) -> None:
    assert registry.dialect(url) == expected
