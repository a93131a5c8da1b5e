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
from connectors.redshift.values import UNLOADABLE, array_of, type_name
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
OIDS = [20, 1700, 1184, 4000]


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
    unload, other = (Unload("warehouse `crm`", OPTIONS, SCHEMA, oids=OIDS) for _ in range(2))
    unloaded(bucket, unload)
    unloaded(bucket, other)

    rows = pa.Table.from_batches(unload.batches(count=lambda: 2), SCHEMA).to_pylist()
    unload.delete()
    unload.delete()

    seen_at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert rows == [{"id": n, "ltv": "1.50", "seen_at": seen_at, "tags": '{"a": 1}'} for n in (1, 2)]
    left = bucket.get_file_info(fs.FileSelector("results", recursive=True))
    assert {info.path for info in left if info.type == fs.FileType.File} == {
        f"{other.folder}/{name}" for name in ("0001_part_00.parquet", "0002_part_00.parquet", "manifest")
    }


def test_unloaded_rows_that_are_missing_are_an_error(bucket: fs.FileSystem) -> None:
    unload = Unload("warehouse `crm`", OPTIONS, SCHEMA, oids=OIDS)
    unloaded(bucket, unload, told=2)

    with pytest.raises(WarehouseError, match="unloaded 4 rows, and Syncer read 2"):
        list(unload.batches(count=lambda: 2))


def test_an_unload_of_no_rows_that_wrote_no_file_is_an_empty_result(bucket: fs.FileSystem) -> None:
    unload = Unload("warehouse `crm`", OPTIONS, SCHEMA, oids=OIDS)

    assert list(unload.batches(count=lambda: 0)) == []
    with pytest.raises(WarehouseError, match="cannot read"):
        list(unload.batches(count=lambda: 1))


DAY, MICROSECONDS = pa.date32(), pa.timestamp("us")
#: A value as PostgreSQL's SQL, and what UNLOAD writes for it in Parquet.
BOTH_WAYS: list[tuple[str, pa.Array]] = [
    *(
        (f"({value})::real", pa.array([value], pa.float32()))
        for value in (0.1, 0.3, 1 / 3, 1e-30, 16777217.0, 9.8765432)
    ),
    ("'NaN'::real", pa.array([float("nan")], pa.float32())),
    ("'-Infinity'::real", pa.array([float("-inf")], pa.float32())),
    ("NULL::real", pa.array([None], pa.float32())),
    ("0.1::float8", pa.array([0.1], pa.float64())),
    ("0.000000001::numeric(18,9)", pa.array([Decimal("0.000000001")], pa.decimal128(18, 9))),
    ("0::numeric(18,9)", pa.array([Decimal(0)], pa.decimal128(18, 9))),
    ("0::numeric(38,37)", pa.array([Decimal(0)], pa.decimal128(38, 37))),
    ("(-1.50)::numeric(5,2)", pa.array([Decimal("-1.50")], pa.decimal128(5, 2))),
    ("12345678901234567890::numeric(38,0)", pa.array([Decimal("12345678901234567890")], pa.decimal128(38, 0))),
    ("NULL::numeric(18,9)", pa.array([None], pa.decimal128(18, 9))),
    ("'ab'::char(5)", pa.array(["ab   "])),
    ("' a'::char(5)", pa.array([" a   "])),
    ("''::char(5)", pa.array(["     "])),
    ("'ab  '::varchar(5)", pa.array(["ab  "])),
    ("(-7)::smallint", pa.array([-7], pa.int32())),
    ("7::int", pa.array([7], pa.int32())),
    ("7::bigint", pa.array([7], pa.int64())),
    ("true", pa.array([True])),
    ("date '2024-02-29'", pa.array([19782], DAY)),
    ("date '0044-03-15 BC'", pa.array([-735160], DAY)),
    ("date '12000-01-01'", pa.array([3663448], DAY)),
    ("timestamp '2024-02-29 12:00:00.5'", pa.array([1709208000500000], pa.int64()).cast(MICROSECONDS)),
    ("timestamp '10000-01-01'", pa.array([253402300800000000], pa.int64()).cast(MICROSECONDS)),
    ("timestamptz '2024-02-29 12:00:00+00'", pa.array([1709208000000000], pa.int64()).cast(MICROSECONDS)),
    ("timestamptz '2024-02-29 12:00:00+00'", pa.array([1709208000000000], pa.int64()).cast(pa.timestamp("us", "UTC"))),
]


def test_a_value_is_the_same_whichever_way_it_comes(postgres_url: str, bucket: fs.FileSystem) -> None:
    """By the connection, from PostgreSQL in its place; and as Parquet from S3, in the types that Redshift writes."""
    selected = ", ".join(f"{sql} AS c{number}" for number, (sql, _) in enumerate(BOTH_WAYS))
    with opened(postgres_url) as warehouse:
        read = warehouse.query(f"SELECT {selected}", timeout=TIMEOUT).read_all()
    with psycopg.connect(postgres_url) as connection:
        oids = [column.type_code for column in connection.execute(f"SELECT {selected}").description or ()]
    unload = Unload("warehouse `crm`", OPTIONS, read.schema, oids=oids)
    written = pa.table([value for _, value in BOTH_WAYS], names=read.schema.names)
    put(bucket, unload, written)

    (batch,) = unload.batches(count=lambda: 1)

    # As text, since Python has no such times.
    by_connection, by_unload = (
        [(sql, str(column[0].cast(pa.string()))) for (sql, _), column in zip(BOTH_WAYS, table.columns, strict=True)]
        for table in (read, batch)
    )
    assert by_connection == by_unload
    assert UNLOADABLE.issuperset(oids)


def test_a_real_has_its_shortest_digits_and_a_number_no_exponent(postgres_url: str) -> None:
    sql = "SELECT 0.1::real AS a, 0.3::real AS b, 0.000000001::numeric(18,9) AS c, 'x'::char(3) AS d, 0.1::real AS a"
    with opened(postgres_url) as warehouse:
        found = warehouse.query(sql, timeout=TIMEOUT).read_all()

    assert found.schema.names == ["a", "b", "c", "d", "a"]
    assert [column[0].as_py() for column in found.columns] == [0.1, 0.3, "0.000000001", "x", 0.1]


def put(store: fs.FileSystem, unload: Unload, *tables: pa.Table) -> None:
    """Write *tables* where the unloaded files of a result are, with the manifest."""
    entries = []
    for number, table in enumerate(tables):
        path = f"{unload.folder}/000{number}_part_00.parquet"
        content = io.BytesIO()
        parquet.write_table(table, content)
        with store.open_output_stream(path) as file:
            file.write(content.getvalue())
        meta = {"content_length": len(content.getvalue()), "record_count": table.num_rows}
        entries.append({"url": f"s3://{path}", "meta": meta})
    with store.open_output_stream(f"{unload.folder}/manifest") as file:
        file.write(json.dumps({"entries": entries}).encode())


def test_a_bucket_that_is_not_there_is_told_without_a_secret(bucket: fs.FileSystem) -> None:
    unload = Unload("warehouse `crm`", OPTIONS.model_copy(update={"unload_to": "s3://nowhere"}), SCHEMA, oids=OIDS)

    with pytest.raises(WarehouseError, match="s3://nowhere/") as caught:
        list(unload.batches(count=lambda: 2))

    assert "credentials" in caught.value.hint
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_the_statement_of_an_unload_escapes_the_query() -> None:
    unload = Unload("warehouse `crm`", OPTIONS, SCHEMA, oids=OIDS)

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
