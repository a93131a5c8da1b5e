"""Machines that share a run log, a store and the places of snapshots: each has a working folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.cli.conftest import Folder
from tests.cli.forked import Result

PERSON = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}"
OBJECT = "entity: object\nobject: {type: team, id: id}\non_removed: delete\nlimits: {removed: 100%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Folder):
    """One machine."""

    variables: Mapping[str, str]

    def run(self, *words: str, **variables: str) -> Result:
        """A command."""
        return self.syncer(*words, env={**self.variables, **variables})

    def ran(self, sync: str, *words: str, **variables: str) -> dict[str, Any]:
        """What a run of one sync that ends well says."""
        found = self.run("run", sync, "--json", *words, **variables)
        assert found.code == 0, found.out + found.err
        (run,) = found.objects
        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """Two of them, and what they share."""

    path: Path
    run_log: str
    #: What the variable SYNCER_SNAPSHOTS_URL says, and the login.
    place: Mapping[str, str]

    def __getitem__(self, name: str) -> Machine:
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        variables = {
            "SYNCER_DATABASE_URL": self.run_log,
            "SYNCER_DEFINITIONS_DIR": str(self.path / "common/sync_definitions"),
            "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{self.path}/common/sync_definitions/sample_data",
            "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{self.path}/common/profiles.db",
        }
        return Machine(path=folder, variables={**variables, **self.place})

    @property
    def common(self) -> Folder:
        """Where the definitions and the warehouse are."""
        folder = self.path / "common"
        folder.mkdir(exist_ok=True)
        return Folder(path=folder)

    def stored(self, table: str = "people", column: str = "id") -> set[str]:
        """The identifiers in the store."""
        engine = sa.create_engine(f"sqlite:///{self.path}/common/profiles.db", poolclass=sa.NullPool)
        with engine.connect() as connection:
            return {value for (value,) in connection.execute(sa.text(f"SELECT {column} FROM {table}"))}

    def logged(self, query: str) -> list[Any]:
        """Rows of the run log."""
        engine = sa.create_engine(self.run_log.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]
