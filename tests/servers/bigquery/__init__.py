"""A stand-in for BigQuery on 127.0.0.1: its REST API and its Storage Read API, over DuckDB.

The unmodified Google client talks to it. Projects are made by being named; datasets by `client.create_dataset`.
What it answers is an imitation: `tests/connectors/warehouses/test_bigquery.py` lists what it cannot show.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

_END_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BigQueryServer:
    """A running stand-in."""

    port: int
    storage_port: int
    process: subprocess.Popen[str]
    _numbers: Iterator[int]

    @property
    def endpoint(self) -> str:
        """Of the REST API."""
        return f"http://127.0.0.1:{self.port}"

    def revoke_logins(self, *, revoked: bool = True) -> None:
        """Let every service account be unknown, or known again."""
        self.control("POST", "token", json.dumps({"unknown_login": revoked}).encode())

    def control(self, method: str, project: str, body: bytes | None = None) -> None:
        """Ask for what is no part of BigQuery."""
        urlopen(Request(f"{self.endpoint}/control/{project}", data=body, method=method)).close()

    @contextmanager
    def new_project(self, *, location: str = "US") -> Iterator[BigQueryProject]:
        """A project of its own with an empty dataset `shop`."""
        name = f"project-{next(self._numbers)}"
        client = bigquery.Client(project=name, credentials=_anonymous(), client_options={"api_endpoint": self.endpoint})
        dataset = bigquery.Dataset(f"{name}.shop")
        dataset.location = location
        client.create_dataset(dataset)
        project = BigQueryProject(name=name, server=self, client=client)
        yield project
        self.control("DELETE", name)
        client.close()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class BigQueryProject:
    """A project on the stand-in."""

    name: str
    server: BigQueryServer
    client: bigquery.Client

    def url(self, dataset: str = "shop", *, storage: bool = True, **parameters: str) -> str:
        """Where to connect; without *storage* only by REST."""
        all_ = {"endpoint": self.server.endpoint, **parameters}
        if storage:
            all_["storage_endpoint"] = f"127.0.0.1:{self.server.storage_port}"
        return f"bigquery://{self.name}/{dataset}?" + "&".join(f"{name}={value}" for name, value in all_.items())

    def execute(self, sql: str) -> None:
        """Run a statement."""
        config = bigquery.QueryJobConfig(default_dataset=f"{self.name}.shop")
        self.client.query(sql, job_config=config).result()

    def jobs(self) -> list[Any]:
        """The jobs of the project, the newest first; dry runs are none."""
        return list(self.client.list_jobs())

    def running(self) -> int:
        """How many jobs run now."""
        return len(list(self.client.list_jobs(state_filter="running")))

    def control(self, **faults: Any) -> None:
        """Set what goes wrong in this project from now on; see `Faults`."""
        self.server.control("POST", self.name, json.dumps(faults).encode())


def _anonymous() -> AnonymousCredentials:
    return AnonymousCredentials()  # type: ignore[no-untyped-call]


@contextmanager
def bigquery_server() -> Iterator[BigQueryServer]:
    """Start a stand-in in a process of its own; it is gone afterwards."""
    command = [sys.executable, "-m", "tests.servers.bigquery"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            # It prints its ports when it answers.
            port, storage_port = json.loads(process.stdout.readline())
            yield BigQueryServer(port=port, storage_port=storage_port, process=process, _numbers=count(1))
        finally:
            process.kill()
            process.wait(timeout=_END_SECONDS)
