"""Rows of snapshots in a schema of PostgreSQL: what differs is found, whatever its type, and nothing is half done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pyarrow as pa
import pytest

from connectors.postgresql import kept_rows
from connectors.postgresql.kept_rows import PostgreSQLKeptRows
from connectors.postgresql.warehouse import PostgreSQLWarehouse
from syncer.model.errors import RunInProgressError, WarehouseError
from syncer.model.kept_rows import DATA, PRINT, TOTAL, KeptState, Question
from tests.servers.kept_rows import KeepingWarehouse, keeping_warehouse


@pytest.fixture
def warehouse(postgres_url: str) -> Iterator[KeepingWarehouse]:
    with keeping_warehouse(postgres_url) as made:
        yield made


def tables(warehouse: KeepingWarehouse, keeper_url: str = "") -> PostgreSQLKeptRows:
    url = keeper_url or warehouse.keeper_url
    return PostgreSQLKeptRows("shop", warehouse.reader_url, url, tables="people", keys=1)


def state(version: str) -> KeptState:
    return KeptState(version=version, rules="r", format=1, has_doubts=False)


def rows(**prints: int | None) -> pa.Table:
    given = {"k1": [*prints], "fingerprint": pa.array(prints.values(), pa.int64()), "data": ["{}"] * len(prints)}
    return pa.table(given)


def answer(
    warehouse: KeepingWarehouse, kept: PostgreSQLKeptRows, sql: str, *, whole: bool = False
) -> list[dict[str, object]]:
    """What a comparing query, or with *whole* a reading one, returns."""
    with closing(PostgreSQLWarehouse("shop", warehouse.reader_url)) as reader:
        question = Question(
            sql=sql, columns=reader.columns(sql), keys=[0], folded=frozenset(), unique=[], is_whole=True
        )
        asked = kept.reading(question) if whole else kept.comparing(question)
        found: list[dict[str, object]] = reader.query(asked, timeout=timedelta(minutes=1)).read_all().to_pylist()
        return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("'a'::text", "'A'::text"),
        ("'a'::varchar(5)", "'a '::varchar(5)"),
        ("'a'::char(3)", "'b'::char(3)"),
        ("1", "2"),
        ("1::bigint", "NULL::bigint"),
        ("true", "false"),
        ("1.0::numeric", "1.00::numeric"),
        ("1.5::float8", "1.5000000000000002::float8"),
        ("'2026-01-01'::date", "'2026-01-02'::date"),
        ("'2026-01-01 10:00+00'::timestamptz", "'2026-01-01 10:00:00.000001+00'::timestamptz"),
        ("'1 day'::interval", "'24 hours'::interval"),
        ("""'{"a": 1}'::json""", """'{"a":  1}'::json"""),
        ("""'{"a": 1}'::jsonb""", """'{"a": 2}'::jsonb"""),
        ("ARRAY['a', NULL]", "ARRAY['a', 'NULL']"),
        ("'\\x00'::bytea", "'\\x01'::bytea"),
        ("'10.0.0.1'::inet", "'10.0.0.1/24'::inet"),
    ],
)
def test_a_change_is_noticed_whatever_the_type(warehouse: KeepingWarehouse, before: str, after: str) -> None:
    with closing(tables(warehouse)) as kept:
        (found,) = answer(warehouse, kept, f"SELECT 'x' AS id, {before} AS value", whole=True)
        kept.replace([""], state("1"), gone=None, rows=[rows(x=found[PRINT])], sync="people")  # type: ignore[arg-type]

        (same,) = answer(warehouse, kept, f"SELECT 'x' AS id, {before} AS value;".rstrip(";"))
        (differs,) = answer(warehouse, kept, f"SELECT 'x' AS id, {after} AS value")

    assert (same[TOTAL], same[PRINT], same[DATA]) == (1, None, None)
    assert (differs[TOTAL], differs["id"], differs["k1"], differs[DATA]) == (1, "x", "x", "{}")


def test_rows_come_that_are_new_gone_doubted_or_share_a_key(warehouse: KeepingWarehouse) -> None:
    sql = "SELECT * FROM (VALUES ('a', 1), ('b', 1), ('c', 1), ('c', 2), ('d', 1)) AS people (id, value)"
    with closing(tables(warehouse)) as kept:
        prints = {row["id"]: row[PRINT] for row in answer(warehouse, kept, sql, whole=True) if row["value"] == 1}
        known = rows(**{name: prints[name] for name in "abc"}, e=5)  # type: ignore[arg-type]
        kept.replace([""], state("1"), gone=None, rows=[known], sync="people")
        kept.put_in_doubt(pa.table({"k1": ["b", "nobody"]}))
        found = answer(warehouse, kept, sql)

    assert {row[TOTAL] for row in found} == {5}
    shown = sorted((row["id"] or "", row["value"] or 0, row["k1"] or "") for row in found)
    assert shown == [("", 0, "e"), ("b", 1, "b"), ("c", 1, "c"), ("c", 2, "c"), ("d", 1, "")]


def test_a_version_that_another_run_has_left_changes_nothing(warehouse: KeepingWarehouse) -> None:
    with closing(tables(warehouse)) as kept:
        kept.replace([""], state("1"), gone=None, rows=[rows(a=1, b=2)], sync="people")
        kept.replace(["1"], state("2"), gone=pa.table({"k1": ["b"]}), rows=[rows(c=3)], sync="people")
        with pytest.raises(RunInProgressError):
            kept.replace(["1"], state("3"), gone=None, rows=[rows(d=4)], sync="people")

        found = kept.all_rows().read_all()
        assert sorted(found["k1"].to_pylist()) == ["a", "c"]
        assert kept.state() == state("2")
        assert kept.knows_any(pa.table({"k1": ["x", "c"]}))
        assert not kept.knows_any(pa.table({"k1": ["x"]}))
        kept.forget()
        kept.forget()
        assert kept.state() is None


def test_a_reader_that_stands_still_keeps_no_keeper_waiting_for_ever(
    warehouse: KeepingWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_rows, "LOCK_SECONDS", 1)
    with closing(tables(warehouse)) as kept:
        kept.replace([""], state("1"), gone=None, rows=[rows(a=1)], sync="people")
        with psycopg.connect(warehouse.reader_url) as frozen:
            frozen.execute("SELECT FROM kept.kept_people")
            with pytest.raises(WarehouseError, match="KEEPER_URL"):
                kept.replace(["1"], state("2"), gone=None, rows=[rows(b=1)], sync="people")
        assert kept.state() == state("1")


def test_a_keeper_must_own_one_schema(warehouse: KeepingWarehouse) -> None:
    keeper = warehouse.keeper_url.split("//")[1].split(":")[0]
    with pytest.raises(WarehouseError, match="owns none"):
        tables(warehouse, warehouse.reader_url)
    warehouse.execute(f"CREATE SCHEMA another AUTHORIZATION {keeper}")
    with pytest.raises(WarehouseError, match="owns several: another, kept"):
        tables(warehouse)
    wrong = warehouse.keeper_url.replace("pass-", "wrong-")
    with pytest.raises(WarehouseError) as refused:
        tables(warehouse, wrong)
    assert "wrong-" not in str(refused.value)
    assert "SYNCER_WAREHOUSES__SHOP__KEEPER_URL" in refused.value.hint
    warehouse.execute("DROP SCHEMA another")
