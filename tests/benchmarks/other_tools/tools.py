"""What each tool needs to bring the people of one database into another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psycopg

from tests.benchmarks import measuring
from tests.benchmarks.measuring import Cost
from tests.benchmarks.people import DELETING, QUERY
from tests.benchmarks.project import Project

#: What `pip` installs for them.
PACKAGES = (
    "dlt[postgres,sql-database]>=1.31",
    "adbc-driver-postgresql>=1.13",
    "pyarrow>=18",
    "drt-core[postgres]>=1.2",
)
_LOAD_WITH_DLT = Path(__file__).with_name("load_with_dlt.py")


class Tool(Protocol):
    """One way to do it."""

    @property
    def name(self) -> str:
        """For people."""

    def prepare(self) -> None:
        """Make what must be there before the first run."""

    def run(self) -> Cost:
        """Bring the store in line with the query, in a process of its own."""

    def stored(self) -> tuple[int, int]:
        """How many people the store has, and how many of them have changed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tool works."""

    #: Of its own: what it remembers.
    folder: Path
    #: Where the tools are installed.
    environment: Path
    warehouse: str
    store: str

    def run(self, command: Sequence[str], variables: Mapping[str, str]) -> Cost:
        """Run a program of the tools' Python."""
        settings = {"HOME": str(self.folder), "DO_NOT_TRACK": "true", **variables}
        python = self.environment / "bin/python"
        return measuring.run(command, folder=self.folder, settings=settings, python=str(python)).cost

    def count(self, table: str, plan: str = "plan") -> tuple[int, int]:
        """See `Tool.stored`."""
        with psycopg.connect(self.store) as connection:
            counts = f"count(*), count(*) FILTER (WHERE {plan} LIKE '%+')"
            ((people, changed),) = connection.execute(f"SELECT {counts} FROM {table}").fetchall()
            return people, changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncer:
    """This project, beside them."""

    place: Place
    name: str = "Syncer"

    def prepare(self) -> None:
        """See `Tool.prepare`."""
        self._project.define(DELETING)

    def run(self) -> Cost:
        """See `Tool.run`."""
        return self._project.command("run", "customers").cost

    def stored(self) -> tuple[int, int]:
        """See `Tool.stored`."""
        return self.place.count("people", "attributes ->> 'plan'")

    @property
    def _project(self) -> Project:
        settings = {
            "SYNCER_WAREHOUSES__DEFAULT__URL": self.place.warehouse,
            "SYNCER_STORES__DEFAULT__URL": self.place.store,
        }
        return Project(folder=self.place.folder, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlt:
    """dlt, in one of the ways of `load_with_dlt`; it has no removals without a column that names them."""

    place: Place
    name: str
    how: str

    def prepare(self) -> None:
        """See `Tool.prepare`."""

    def run(self) -> Cost:
        """See `Tool.run`."""
        variables = {
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            # Without its own columns it cannot merge what it read as Arrow.
            "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
            "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID": "true",
        }
        place = self.place
        urls = [_with_password(place.warehouse), _with_password(place.store)]
        return place.run([str(_LOAD_WITH_DLT), self.how, *urls, str(place.folder)], variables)

    def stored(self) -> tuple[int, int]:
        """See `Tool.stored`."""
        return self.place.count("dlt_people.customers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drt:
    """drt, which keeps the last result in the warehouse, and finds there what has changed and what has gone.

    Source: the descriptions in `drt.config.sync_options`, of drt-core 1.2.
    """

    place: Place
    name: str = "drt, mirror by diff"
    batch_rows: int = 10_000

    def prepare(self) -> None:
        """See `Tool.prepare`; the table must be there."""
        with psycopg.connect(self.place.store, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE customers (customer_id int PRIMARY KEY, first_name text, last_name text, "
                "email_domain text, city text, plan text, lifetime_value numeric, signed_up_at timestamptz, "
                "subscribed boolean, note text)"
            )
        # JSON is YAML too.
        self._write("drt_project.yml", {"name": "people", "profile": "warehouse"})
        self._write(".drt/profiles.yml", {"warehouse": {"type": "postgres", **_parts(self.place.warehouse)}})
        self._write(
            "syncs/customers.yml",
            {
                "name": "customers",
                "model": " ".join(QUERY.split()),
                "destination": {
                    "type": "postgres",
                    **_parts(self.place.store),
                    "table": "public.customers",
                    "upsert_key": ["customer_id"],
                },
                "sync": {
                    "mode": "mirror",
                    "mirror": {"strategy": "diff"},
                    "incremental_strategy": "diff",
                    "batch_size": self.batch_rows,
                },
            },
        )

    def run(self) -> Cost:
        """See `Tool.run`."""
        program = self.place.environment / "bin/drt"
        return self.place.run([str(program), "run", "--select", "customers"], {})

    def stored(self) -> tuple[int, int]:
        """See `Tool.stored`."""
        return self.place.count("customers")

    def _write(self, name: str, content: object) -> None:
        path = self.place.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        path.chmod(0o600)


def _with_password(url: str) -> str:
    """dlt does not take a URL without one."""
    return url.replace("postgres@", "postgres:none@", 1)


def _parts(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    login = {"user": parts.username, "password": "none"}
    return {"host": parts.hostname, "port": parts.port, "dbname": parts.path[1:], **login}
