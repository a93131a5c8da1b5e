"""What only BigQuery can do to a reader, against a stand-in on 127.0.0.1 that the Google client takes for BigQuery.

The stand-in is an imitation, and some things only the real service can show:

- the bytes that a dry run tells, and what is billed; quotas, slots, reservations, the 10 MB a page may have;
- IAM: which permission a call needs, how roles are inherited, and whether `testIamPermissions` knows them all;
- Google's own login, but for the exchange of a service account's key for a token;
- every wording of an error; the ones imitated here are those that BigQuery documents or is known for;
- GoogleSQL beyond what DuckDB and sqlglot understand, and the spelling of a GEOGRAPHY or a JSON value;
- INTERVAL by the Storage Read API, for which Arrow's type is taken as its documentation says;
- `job_timeout_ms`, by which the server ends a job that nobody cancels.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from connectors.bigquery import jobs
from connectors.bigquery.options import BigQueryOptions
from syncer.model.errors import SettingsError, WarehouseError
from syncer.model.protocols import ForecastingQueries, Warehouse
from syncer.settings.registry import open_warehouse
from tests.contracts.probing import probed
from tests.servers.bigquery import BigQueryProject, BigQueryServer, bigquery_server

TIMEOUT = timedelta(minutes=1)
MANY = "SELECT i, CONCAT('canary-', i) AS name FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS i"
both = pytest.mark.parametrize("storage", [True, False], ids=["storage", "rest"])


@pytest.fixture
def people(bigquery_project: BigQueryProject) -> BigQueryProject:
    bigquery_project.execute("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")
    return bigquery_project


@contextmanager
def opened(url: str, *, sync: str = "", **options: Any) -> Iterator[Warehouse]:
    warehouse = open_warehouse("crm", url, options=BigQueryOptions(**options), sync=sync)
    try:
        yield warehouse
    finally:
        warehouse.close()


def refusal(url: str, sql: str, **options: Any) -> WarehouseError:
    with opened(url, **options) as warehouse, pytest.raises(WarehouseError) as caught:
        warehouse.query(sql, timeout=TIMEOUT).read_all()
    return caught.value


@pytest.mark.parametrize(
    ("url", "said", "hint"),
    [
        ("bigquery://project", "a project and a dataset", "bigquery://project/dataset"),
        ("bigquery://project/shop/people", "a project and a dataset", "bigquery://project/dataset"),
        ("bigquery://me:s3cr3t@project/shop", "a project and a dataset", "SYNCER_WAREHOUSES__CRM__KEY_FILE"),
        ("bigquery://project/shop?locaton=EU", "`locaton`", "Did you mean `location`?"),
        ("bigquery://project/shop?x=s3cr3t", "`x`", "`endpoint`, `location`"),
        ("bigquery://project/shop?endpoint=http://example.com", "must be an https:// URL", ""),
    ],
)
def test_a_url_that_cannot_be_read_says_why(url: str, said: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_warehouse("crm", url)

    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "s3cr3t" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("key", ["s3cr3t", "[]", "{}", '{"type": "service_account", "private_key": "s3cr3t"}'])
def test_a_key_that_is_none_is_refused_and_not_told(people: BigQueryProject, key: str) -> None:
    with pytest.raises(SettingsError, match="not the JSON key") as caught:
        open_warehouse("crm", people.url(), options=BigQueryOptions(key=SecretStr(key)))

    assert "KEY_FILE" in caught.value.hint
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_nobody_logged_in_says_how_to_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the Google client looks at: a folder without a login, and no machine of Google's to ask.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    with pytest.raises(WarehouseError, match="nobody is logged in") as caught:
        open_warehouse("crm", "bigquery://project/shop")

    assert "SYNCER_WAREHOUSES__CRM__KEY_FILE" in caught.value.hint
    assert "gcloud auth application-default login" in caught.value.hint


def service_account(server: BigQueryServer, name: str) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = {
        "type": "service_account",
        "client_email": f"{name}@project.iam.gserviceaccount.com",
        "private_key_id": name,
        "private_key": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{server.endpoint}/token",
    }
    return json.dumps(key)


def test_a_service_account_logs_in(people: BigQueryProject) -> None:
    with opened(people.url(storage=False), key=service_account(people.server, "reader")) as warehouse:
        assert warehouse.query("SELECT id FROM people", timeout=TIMEOUT).read_all().num_rows == 1


def test_a_service_account_that_was_deleted_is_told(people: BigQueryProject) -> None:
    people.server.revoke_logins()

    error = refusal(people.url(storage=False), "SELECT 1 AS a", key=service_account(people.server, "reader"))

    people.server.revoke_logins(revoked=False)
    assert "does not accept the login" in error.message
    assert "KEY_FILE" in error.hint


def test_a_login_that_is_unknown_is_told(people: BigQueryProject) -> None:
    people.control(unknown_login=True)

    error = refusal(people.url(), "SELECT 1 AS a")

    assert "does not accept the login" in error.message
    assert "gcloud auth application-default login" in error.hint


@pytest.mark.parametrize(
    ("denied", "named", "role"),
    [("jobs", "project project-", "roles/bigquery.jobUser"), ("tables", ".people", "roles/bigquery.dataViewer")],
)
def test_a_missing_permission_says_which_role_to_ask_for(
    people: BigQueryProject, denied: str, named: str, role: str
) -> None:
    people.control(denied=[denied])

    error = refusal(people.url(), "SELECT id FROM people")

    assert "access denied" in error.message
    assert named in error.message
    assert role in error.hint


def test_without_the_storage_api_rows_are_read_by_rest(people: BigQueryProject) -> None:
    people.control(denied=["storage"])
    with opened(people.url()) as warehouse:
        read = warehouse.query(MANY, timeout=TIMEOUT).read_all()
        probe = probed(warehouse)

    assert read.num_rows == 200_000
    assert "roles/bigquery.readSessionUser" in probe.note


@pytest.mark.parametrize(
    ("url", "sql", "named", "step"),
    [
        ({}, "SELECT * FROM poeple", "there is no table {project}:shop.poeple", "dataset.table"),
        ({}, "SELECT * FROM other.people", "there is no dataset {project}:other", "?location="),
        ({"location": "EU"}, "SELECT * FROM people", "{project}:shop in the location EU", "?location="),
        ({"dataset": "shp"}, "SELECT * FROM people", "there is no dataset {project}:shp", "__CRM__URL"),
    ],
)
def test_what_does_not_exist_is_named(
    people: BigQueryProject, url: dict[str, Any], sql: str, named: str, step: str
) -> None:
    error = refusal(people.url(**url), sql)

    assert named.format(project=people.name) in error.message
    assert step in error.hint


def test_a_dataset_elsewhere_is_read_where_it_is(bigquery: BigQueryServer) -> None:
    with bigquery.new_project(location="EU") as project:
        project.execute("CREATE TABLE people AS SELECT 1 AS id")
        for url in (project.url(), project.url(location="EU")):
            with opened(url) as warehouse:
                assert warehouse.query("SELECT * FROM people", timeout=TIMEOUT).read_all().num_rows == 1
        assert {job.location for job in project.jobs() if job.labels or job.statement_type == "SELECT"} == {"EU"}


def test_the_job_carries_label_limit_timeout_and_dataset(people: BigQueryProject) -> None:
    with opened(people.url(), sync="Größe.2", maximum_bytes_billed=20 << 20) as warehouse:
        warehouse.query("SELECT id FROM people", timeout=TIMEOUT).read_all()

    job = people.jobs()[0]
    assert job.job_id.startswith("syncer-")
    assert job.labels == {"syncer_sync": "gr__e_2"}
    assert job.maximum_bytes_billed == 20 << 20
    assert int(job.configuration.job_timeout_ms) == 65_000
    assert str(job.default_dataset) == f"{people.name}.shop"
    assert job.use_legacy_sql is False


def test_more_bytes_than_allowed_names_the_setting(people: BigQueryProject) -> None:
    error = refusal(people.url(), "SELECT id FROM people", maximum_bytes_billed=1000)

    assert "10,485,760 bytes" in error.message
    assert "SYNCER_WAREHOUSES__CRM__MAXIMUM_BYTES_BILLED" in error.hint


def test_a_forecast_tells_the_bytes_and_runs_nothing(people: BigQueryProject) -> None:
    people.execute("CREATE TABLE big AS SELECT i, i AS j FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS i")
    before = len(people.jobs())
    with opened(people.url()) as warehouse:
        assert isinstance(warehouse, ForecastingQueries)
        assert warehouse.forecast("SELECT * FROM big;") == "BigQuery will read 1.6 MB (a dry run's estimate)"
        assert warehouse.forecast("SELECT 1 AS a") == "BigQuery will read 0 bytes (a dry run's estimate)"
        warehouse.columns("SELECT * FROM big")
    with opened(people.url(), maximum_bytes_billed=10**10) as warehouse:
        assert isinstance(warehouse, ForecastingQueries)
        assert warehouse.forecast("SELECT * FROM big").endswith("(a dry run's estimate), of at most 10 GB allowed")
    assert len(people.jobs()) == before


def test_a_statement_that_writes_is_no_job(people: BigQueryProject) -> None:
    before = len(people.jobs())

    for sql in ("DELETE FROM people", "SELECT 1; SELECT 2", "CREATE TABLE x AS SELECT 1 AS a"):
        assert "one SELECT" in refusal(people.url(), sql).hint

    assert len(people.jobs()) == before


def test_columns_have_the_types_of_sql(people: BigQueryProject) -> None:
    sql = "SELECT id, [STRUCT(1.5 AS a, 'x' AS b)] AS c, RANGE<DATE> '[2024-01-01, UNBOUNDED)' AS r FROM people"
    with opened(people.url()) as warehouse:
        told = [(column.name, column.type) for column in warehouse.columns(sql)]

    assert told == [("id", "INT64"), ("c", "ARRAY<STRUCT<a FLOAT64, b STRING>>"), ("r", "RANGE<DATE>")]


def test_a_name_that_is_there_twice_is_refused(people: BigQueryProject) -> None:
    error = refusal(people.url(), "SELECT id, name AS id FROM people")

    assert "Duplicate column names" in error.message


@both
def test_a_result_that_ends_early_is_an_error(people: BigQueryProject, storage: bool) -> None:
    people.control(cut=True)

    error = refusal(people.url(storage=storage), MANY)

    assert "failed or was lost" in error.message
    assert "Nothing of the result was used" in error.hint


def test_a_connection_that_breaks_off_is_an_error_within_the_timeout(people: BigQueryProject) -> None:
    people.control(broken=True)
    started = time.monotonic()
    with opened(people.url(storage=False)) as warehouse, pytest.raises(WarehouseError) as caught:
        warehouse.query(MANY, timeout=timedelta(seconds=3)).read_all()

    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert time.monotonic() - started < 10


def test_a_stream_that_breaks_off_is_an_error(people: BigQueryProject) -> None:
    people.control(broken=True)

    error = refusal(people.url(), MANY)

    assert error.message.startswith("warehouse `crm`: ")
    assert "canary" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("how", ["unavailable", "reset", "removed", "exhausted"])
def test_a_stream_that_is_interrupted_goes_on_at_the_next_row(
    people: BigQueryProject, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(jobs, "_LONGEST_PAUSE_SECONDS", 0.01)
    people.control(interrupted=[how, how, how])

    with opened(people.url()) as warehouse:
        found = warehouse.query(MANY, timeout=TIMEOUT).read_all()

    assert found.num_rows == 200_000
    assert pc.count_distinct(found.column(0)).as_py() == 200_000


@pytest.mark.parametrize("how", ["quota", "internal"])
def test_a_stream_that_fails_for_good_is_an_error(people: BigQueryProject, how: str) -> None:
    people.control(interrupted=[how])

    assert "canary" not in "".join(traceback.format_exception(refusal(people.url(), MANY)))


def test_a_stream_is_resumed_until_the_deadline(people: BigQueryProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_LONGEST_PAUSE_SECONDS", 0.2)
    people.control(interrupted=["removed"] * 100)

    with opened(people.url()) as warehouse, pytest.raises(WarehouseError, match=r"was lost|over the timeout"):
        warehouse.query(MANY, timeout=timedelta(seconds=1.5)).read_all()


@pytest.mark.early
def test_a_server_that_goes_away_half_way_is_an_error() -> None:
    with bigquery_server() as server:
        url = f"bigquery://p/shop?endpoint={server.endpoint}&storage_endpoint=127.0.0.1:{server.storage_port}"
        with opened(url) as warehouse:
            result = warehouse.query(MANY.replace("200000", "5000000"), timeout=timedelta(seconds=8))
            result.read_next_batch()
            server.process.kill()

            with pytest.raises(WarehouseError, match="was lost") as caught:
                result.read_all()

    assert "Nothing of the result was used" in caught.value.hint


def test_nobody_there_says_where_and_does_not_wait_long() -> None:
    url = "bigquery://project/shop?endpoint=http://127.0.0.1:1"
    started = time.monotonic()

    error = refusal(url, "SELECT 1 AS a")

    assert "http://127.0.0.1:1" in error.message
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("reason", "message", "said", "line"),
    [
        ("invalidQuery", "Bad int64 value: canary", "a value cannot be cast to INT64", None),
        ("invalidQuery", "Invalid date: 'canary' at [2:3]", "a value cannot be cast to DATE", 2),
        ("invalidQuery", 'Could not cast literal "canary" to type DATE at [1:8]', "refuses the query", 1),
        ("invalidQuery", 'Syntax error: Expected ")" but got string literal "canary" at [3:1]', "Expected", 3),
        ("invalidQuery", "Unrecognized name: nmae; Did you mean name? at [2:3]", "nmae; Did you mean name?", 2),
        ("invalidQuery", "Division by zero: canary / 0", "division by zero", None),
        ("resourcesExceeded", "Resources exceeded: canary", "more than BigQuery gives one query", None),
        ("somethingNew", "canary", "an error (somethingNew)", None),
        ("canary reason", "canary", "crm", None),
        ("accessDenied", "Access Denied: BigQuery BigQuery: No OAuth token with Drive scope", "file in Drive", None),
        ("stopped", "Job execution was cancelled", "was cancelled", None),
    ],
)
def test_an_error_is_told_without_a_value(
    people: BigQueryProject, reason: str, message: str, said: str, line: int | None
) -> None:
    people.control(failing=[reason, message])

    error = refusal(people.url(), "SELECT id FROM people")

    assert said in error.message
    assert error.query_line == line
    assert "canary" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("granted", "can_write"),
    [([], False), (["bigquery.tables.getData"], False), (["bigquery.tables.updateData"], True)],
)
def test_a_probe_tells_whether_a_table_could_be_changed(
    people: BigQueryProject, granted: list[str], can_write: bool
) -> None:
    people.control(granted=granted)
    with opened(people.url()) as warehouse:
        probe = probed(warehouse)

    assert probe.can_write is can_write
    assert ("shop.people" in probe.note) is can_write


def test_a_probe_of_an_empty_dataset_does_not_guess(bigquery_project: BigQueryProject) -> None:
    with opened(bigquery_project.url()) as warehouse:
        assert probed(warehouse).can_write is None


def test_a_probe_tells_that_the_dataset_is_not_there(people: BigQueryProject) -> None:
    with opened(people.url("nowhere")) as warehouse, pytest.raises(WarehouseError, match="nowhere"):
        probed(warehouse)
