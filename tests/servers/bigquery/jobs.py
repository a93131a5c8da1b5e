"""The jobs of the stand-in: dry runs, queries that run in threads of their own, and their results."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from tests.servers.bigquery.dialect import MACROS, Refused, Statement, invalid, position, understand
from tests.servers.bigquery.values import Type, as_arrow, type_of

#: What BigQuery bills at least for a query that reads a table.
#: https://cloud.google.com/bigquery/pricing#on_demand_pricing
LEAST_BYTES = 10 << 20
#: How long the answer to a new job waits for its end.
_QUICK_SECONDS = 0.05


@dataclass(kw_only=True)
class Faults:
    """What goes wrong in a project."""

    #: Of `jobs`, `tables` and `storage`: what answers that access is denied.
    denied: list[str] = field(default_factory=list)
    #: Permissions that the caller has on each table.
    granted: list[str] = field(default_factory=list)
    #: Whether the login is unknown.
    unknown_login: bool = False
    #: Whether results end after their first part as if that was all of it.
    cut: bool = False
    #: Whether each answer with rows breaks off.
    broken: bool = False
    #: How the next answers with rows by the Storage Read API are interrupted: see `_INTERRUPTIONS` there.
    interrupted: list[str] = field(default_factory=list)
    #: An error that jobs end with: a reason and a message.
    failing: tuple[str, str] | None = None


@dataclass(kw_only=True)
class Job:
    """A query that runs or has run."""

    id: str
    project: str
    location: str
    configuration: dict[str, Any]
    kind: str = ""
    bytes: int = 0
    types: list[Type] = field(default_factory=list)
    result: pa.Table | None = None
    error: Refused | None = None
    is_cancelled: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    cursor: Any = None

    @property
    def table(self) -> str:
        """Where its result is."""
        return "anon" + re.sub(r"\W", "", self.id)


class Jobs:
    """All jobs of all projects, over one DuckDB."""

    def __init__(self) -> None:
        self._database = duckdb.connect()
        self._database.execute(f"SET TimeZone = 'UTC'; SET threads = 2; {MACROS}")
        self._locations: dict[tuple[str, str], str] = {}
        self.jobs: dict[str, Job] = {}
        self.faults: dict[str, Faults] = {}

    def faults_of(self, project: str) -> Faults:
        """What goes wrong in *project*."""
        return self.faults.setdefault(project, Faults())

    def forget(self, project: str) -> None:
        """Let go of the results of *project*."""
        for job in [job for job in self.jobs.values() if job.project == project]:
            self.cancel(job)
            del self.jobs[job.id]

    def make_dataset(self, project: str, dataset: str, location: str) -> None:
        """Make a dataset, if it is not there."""
        self._locations[project, dataset] = location
        self._database.cursor().execute(f'CREATE SCHEMA IF NOT EXISTS "{project}.{dataset}"')

    def require_dataset(self, project: str, dataset: str, location: str | None) -> str:
        """Its location; not where a job runs that was told another one."""
        there = self._locations.get((project, dataset))
        if there is None or location not in (None, there):
            where = location or "US"
            raise Refused(404, "notFound", f"Not found: Dataset {project}:{dataset} was not found in location {where}")
        return there

    def tables(self, project: str, dataset: str) -> dict[str, int]:
        """The tables of a dataset, and how many bytes each has, roughly."""
        sql = "SELECT table_name, estimated_size * column_count * 8 FROM duckdb_tables() WHERE schema_name = ?"
        return dict(self._database.cursor().execute(sql, [f"{project}.{dataset}"]).fetchall())

    def submit(self, project: str, id_: str, location: str | None, configuration: dict[str, Any]) -> Job:
        """Analyse a query and, unless it is a dry run, start it. What is wrong with it is raised."""
        query = configuration["query"]
        dataset = (query.get("defaultDataset") or {}).get("datasetId", "")
        if "jobs" in self.faults_of(project).denied:
            said = "User does not have bigquery.jobs.create permission in project"
            raise Refused(403, "accessDenied", f"Access Denied: Project {project}: {said} {project}.")
        if not query.get("query"):
            raise Refused(400, "required", "Required parameter is missing: query")
        statement = understand(query["query"], project, dataset)
        job = Job(id=id_, project=project, location=location or "US", configuration=configuration)
        job.kind = statement.kind
        job.cursor = self._database.cursor()
        self._analyse(job, statement, location)
        if configuration.get("dryRun"):
            job.done.set()
            return job
        if id_ in self.jobs:
            raise Refused(409, "duplicate", f"Already Exists: Job {project}:US.{id_}")
        self.jobs[id_] = job
        threading.Thread(target=self._run, args=(job, statement), daemon=True).start()
        job.done.wait(_QUICK_SECONDS)
        return job

    def cancel(self, job: Job) -> None:
        """End it."""
        job.is_cancelled = True
        if not job.done.is_set():
            job.cursor.interrupt()

    def _analyse(self, job: Job, statement: Statement, location: str | None) -> None:
        for project, dataset, table in statement.tables:
            job.location = self.require_dataset(project, dataset, location)
            if "tables" in self.faults_of(job.project).denied:
                said = "User does not have permission to query table, or perhaps it does not exist."
                raise Refused(403, "accessDenied", f"Access Denied: Table {project}:{dataset}.{table}: {said}")
            known = self.tables(project, dataset)
            if table not in known:
                name = f"{project}:{dataset}.{table}"
                raise Refused(404, "notFound", f"Not found: Table {name} was not found in location {job.location}")
            job.bytes += known[table]
        text = job.configuration["query"]["query"]
        self._refuse_bad_literals(job, text)
        if statement.kind == "SELECT":
            try:
                relation = job.cursor.sql(statement.sql[0])
                job.types = [type_of(n, t) for n, t in zip(relation.columns, relation.types, strict=True)]
            except duckdb.Error as exc:
                raise _refusal(exc, text) from None

    def _refuse_bad_literals(self, job: Job, text: str) -> None:
        for literal in re.findall(r"CAST\('([^']*)' AS DATE\)", text):
            try:
                job.cursor.execute("SELECT CAST(? AS DATE)", [literal])
            except duckdb.Error:
                at = position(text, literal)
                raise invalid(f'Could not cast literal "{literal}" to type DATE', (at[0], at[1] - 1)) from None

    def _run(self, job: Job, statement: Statement) -> None:
        faults = self.faults_of(job.project)
        limit = job.configuration["query"].get("maximumBytesBilled")
        billed = max(job.bytes, LEAST_BYTES) if statement.tables else 0
        try:
            if limit is not None and int(limit) < billed:
                said = f"Query exceeded limit for bytes billed: {limit}. {billed} or higher required."
                raise Refused(400, "bytesBilledLimitExceeded", said)
            if faults.failing:
                raise Refused(400, *faults.failing)
            if statement.kind != "SELECT":
                for sql in statement.sql:
                    job.cursor.execute(sql)
            else:
                found = job.cursor.sql(statement.sql[0]).to_arrow_table()
                arrays = [as_arrow(column, type_) for column, type_ in zip(found.columns, job.types, strict=True)]
                job.result = pa.Table.from_arrays(arrays, [type_.name for type_ in job.types])
        except duckdb.InterruptException:
            job.error = Refused(400, "stopped", "Job execution was cancelled: User requested cancellation")
        except duckdb.Error as exc:
            job.error = _refusal(exc, job.configuration["query"]["query"])
        except Refused as exc:
            job.error = exc
        finally:
            job.done.set()


def _refusal(error: duckdb.Error, text: str) -> Refused:
    """DuckDB's error as BigQuery would word it."""
    said = str(error)
    if found := re.search(r'column "([^"]+)" not found', said):
        return invalid(f"Unrecognized name: {found[1]}", position(text, found[1]))
    if found := re.search(r"Could not convert string '([^']*)'", said):
        return invalid(f"Bad int64 value: {found[1]}")
    return invalid(f"Query error: {said}")
