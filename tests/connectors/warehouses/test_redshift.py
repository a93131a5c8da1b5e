"""What is particular to Redshift, as far as PostgreSQL and an S3 on this machine can show it."""

from __future__ import annotations

import io
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs, parquet

from connectors.redshift.options import RedshiftOptions
from connectors.redshift.unload import Unload
from connectors.redshift.values import array_of, type_name
from connectors.redshift.warehouse import query_group
from syncer.model.errors import WarehouseError
from syncer.model.protocols import JSON, NUMBER, Warehouse
from syncer.settings.registry import open_warehouse
from tests.contracts.probing import probed

TIMEOUT = timedelta(minutes=1)
OPTIONS = RedshiftOptions(unload_to="s3://results/out/", unload_role="arn:aws:iam::123456789012:role/unload")


@contextmanager
def opened(url: str, **given: Any) -> Iterator[Warehouse]:
    warehouse = open_warehouse("crm", url.replace("postgresql:", "redshift:", 1), **given)
    try:
        yield warehouse
    finally:
        warehouse.close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fs.FileSystem]:
    """S3 with an empty bucket `results`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-Pa55")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store, folder = fs.FileSystem.from_uri("s3://results?allow_bucket_creation=true")
    store.create_dir(folder)
    yield store
    server.stop()


SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("ltv", pa.string(), metadata=NUMBER),
        pa.field("seen_at", pa.timestamp("us", "UTC")),
        pa.field("tags", pa.string(), metadata=JSON),
    ]
)


def unloaded(store: fs.FileSystem, unload: Unload, *, told: int = 1) -> None:
    """Put what Redshift would: two files of a row each, and a manifest that tells *told* rows of each."""
    entries = []
    for number in (1, 2):
        path = f"{unload.folder}/000{number}_part_00.parquet"
        table = pa.table(
            {
                "id": pa.array([number], pa.int64()),
                "ltv": pa.array([Decimal("1.50")], pa.decimal128(5, 2)),
                "seen_at": pa.array([datetime(2024, 2, 29, 12, tzinfo=UTC)], pa.timestamp("us")),
                "tags": ['{"a": 1}'],
            }
        )
        content = io.BytesIO()
        parquet.write_table(table, content)
        with store.open_output_stream(path) as file:
            file.write(content.getvalue())
        meta = {"content_length": len(content.getvalue()), "record_count": told}
        entries.append({"url": f"s3://{path}", "meta": meta})
    with store.open_output_stream(f"{unload.folder}/manifest") as file:
        file.write(json.dumps({"entries": entries}).encode())


def test_what_was_unloaded_is_read_and_then_deleted(bucket: fs.FileSystem) -> None:
    """PostgreSQL has no UNLOAD, so its parts are proven: here the files, below its statement."""
    unload, other = (Unload("warehouse `crm`", OPTIONS, SCHEMA) for _ in range(2))
    unloaded(bucket, unload)
    unloaded(bucket, other)

    rows = pa.Table.from_batches(unload.batches(), SCHEMA).to_pylist()
    unload.delete()
    unload.delete()

    seen_at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert rows == [{"id": n, "ltv": "1.50", "seen_at": seen_at, "tags": '{"a": 1}'} for n in (1, 2)]
    left = bucket.get_file_info(fs.FileSelector("results", recursive=True))
    assert {info.path for info in left if info.type == fs.FileType.File} == {
        f"{other.folder}/{name}" for name in ("0001_part_00.parquet", "0002_part_00.parquet", "manifest")
    }


def test_unloaded_rows_that_are_missing_are_an_error(bucket: fs.FileSystem) -> None:
    unload = Unload("warehouse `crm`", OPTIONS, SCHEMA)
    unloaded(bucket, unload, told=2)

    with pytest.raises(WarehouseError, match="unloaded 4 rows, and Syncer read 2"):
        list(unload.batches())


def test_a_bucket_that_is_not_there_is_told_without_a_secret(bucket: fs.FileSystem) -> None:
    unload = Unload("warehouse `crm`", OPTIONS.model_copy(update={"unload_to": "s3://nowhere"}), SCHEMA)

    with pytest.raises(WarehouseError, match="s3://nowhere/") as caught:
        list(unload.batches())

    assert "credentials" in caught.value.hint
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_the_statement_of_an_unload_escapes_the_query() -> None:
    unload = Unload("warehouse `crm`", OPTIONS, SCHEMA)

    assert unload.statement(r"SELECT 'it''s \\ ' AS a -- end") == (
        r"UNLOAD ('SELECT * FROM (SELECT \'it\'\'s \\\\ \' AS a -- end" + "\n"
        f") AS q') TO 's3://{unload.folder}/' IAM_ROLE 'arn:aws:iam::123456789012:role/unload' "
        "FORMAT AS PARQUET MANIFEST VERBOSE"
    )


def test_an_unload_that_is_refused_leaves_the_warehouse_usable(postgres_url: str, bucket: fs.FileSystem) -> None:
    """It goes to the server, which is PostgreSQL and refuses it; a type that UNLOAD cannot write goes without it."""
    with opened(postgres_url, options=OPTIONS) as warehouse:
        result = warehouse.query("SELECT 1 AS a", timeout=TIMEOUT)
        with pytest.raises(WarehouseError, match="UNLOAD"):
            result.read_all()

        for sql in ["SELECT time '12:00' AS a", "SELECT 1 AS a, 2 AS a"]:
            assert warehouse.query(sql, timeout=TIMEOUT).read_all().num_rows == 1
        with pytest.raises(WarehouseError, match="read-only"):
            warehouse.query("SELECT nextval('people'), time '12:00'", timeout=TIMEOUT).read_all()


@pytest.fixture(autouse=True)
def _people(request: pytest.FixtureRequest) -> None:
    if "postgres_url" in request.fixturenames:
        with psycopg.connect(request.getfixturevalue("postgres_url"), autocommit=True) as connection:
            connection.execute("CREATE SEQUENCE people")


@pytest.mark.parametrize(
    ("values", "oid", "arrow", "expected"),
    [
        (("00ff", "", None), 6551, pa.binary(), [b"\x00\xff", b"", None]),
        (('{"a": 1}', None), 4000, pa.string(), ['{"a": 1}', None]),
        (("ab   ", None), 1042, pa.string(), ["ab", None]),
        (("0101000000",), 3000, pa.string(), ["0101000000"]),
        (("1 years 2 mons",), 1188, pa.string(), ["1 years 2 mons"]),
        (("1.50",), 1700, pa.string(), ["1.50"]),
    ],
)
def test_types_that_only_redshift_has_arrive_exactly(
    values: tuple[Any, ...], oid: int, arrow: pa.DataType, expected: list[Any]
) -> None:
    """As psycopg loads them; PostgreSQL has no such types."""
    assert array_of(values, oid, arrow).to_pylist() == expected


def test_columns_are_told_in_redshifts_words(postgres_url: str) -> None:
    sql = "SELECT 1.5::numeric(12,2) AS a, 'x'::varchar(20) AS b, 1::bigint AS c, now() AS d, 'x'::char(3) AS e"
    with opened(postgres_url) as warehouse:
        types = [column.type for column in warehouse.columns(sql)]

    assert types == ["numeric(12, 2)", "varchar(20)", "bigint", "timestamptz", "char(3)"]
    assert type_name(4000, -1) == "super"
    assert type_name(999_999, -1) == "type 999999"


def test_the_name_of_the_sync_is_the_group_of_its_queries(postgres_url: str) -> None:
    """PostgreSQL, which has no groups, refuses the statement; that keeps nobody from reading."""
    with opened(postgres_url, sync="customers") as warehouse:
        assert warehouse.query("SELECT 1 AS a", timeout=TIMEOUT).read_all().num_rows == 1

    assert query_group("syncer: it's") == "SET query_group TO 'syncer: it''s'"


def test_settings_of_the_role_do_not_change_what_arrives(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for setting in ["TimeZone = 'Asia/Kolkata'", "DateStyle = 'German'", "extra_float_digits = -5"]:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting}")
    with opened(postgres_url) as warehouse:
        sql = "SELECT timestamptz '2024-01-02 03:04:05+00' AS t, date '2024-01-02' AS d, 0.1::float8 + 0.2 AS f"
        (row,) = warehouse.query(sql, timeout=TIMEOUT).read_all().to_pylist()

    assert [str(value) for value in row.values()] == ["2024-01-02 03:04:05+00:00", "2024-01-02", str(0.1 + 0.2)]


@pytest.mark.parametrize(
    ("grant", "found"),
    [
        ("GRANT SELECT ON orders TO {}", ""),
        ("GRANT INSERT ON orders TO {}", "may change public.orders"),
        ("GRANT DELETE ON orders TO {}", "may change public.orders"),
        ("GRANT CREATE ON SCHEMA public TO {}", "may create tables in the schema public"),
        ("ALTER ROLE {} SUPERUSER", "is a superuser"),
    ],
)
def test_a_probe_finds_what_the_role_could_write(postgres_url: str, grant: str, found: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        role = f"analyst_{owner.info.dbname}"
        owner.execute(f"CREATE TABLE orders (id int); CREATE ROLE {role} LOGIN PASSWORD 'x'")
        try:
            owner.execute(grant.format(role))
            with opened(postgres_url.replace("postgres@", f"{role}:x@")) as warehouse:
                probe = probed(warehouse)
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert probe.can_write is bool(found)
    assert found in probe.note


def test_a_connection_that_is_cut_half_way_is_an_error(postgres_url: str) -> None:
    with opened(postgres_url) as warehouse:
        result = warehouse.query("SELECT generate_series(1, 100000000) AS i", timeout=TIMEOUT)
        result.read_next_batch()
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'syncer' AND datname = current_database()"
            )
        with pytest.raises(WarehouseError):
            result.read_all()
