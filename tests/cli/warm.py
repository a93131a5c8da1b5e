"""What the first command of a process takes longest for, done once in the server that commands are forked from.

It runs no query: DuckDB and Arrow would start threads, which no fork copies.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from syncer.definitions import folder
from syncer.model.types import Order, RunStatus, Trigger
from syncer.settings import registry, settings, state_modes
from syncer.starter import write_starter
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog


def _record_runs(path: Path) -> None:
    write_starter(path)
    found = settings.load(path, {})
    state_modes.make_state_dir(found)
    with closing(StateDatabase(found.database_url.get_secret_value())) as database:
        log = RunLog(database)
        loaded = folder.load(found.definitions_dir, warehouses=found.warehouses, stores=found.stores)
        for definition in loaded.definitions:
            now = datetime.now(UTC)
            log.interrupt_open(definition.name, now, promised="")
            run = log.start(definition.name, Order(trigger=Trigger.MANUAL), definition.hash, now)
            log.finish(run, RunStatus.SUCCESS, datetime.now(UTC))
            log.recent(definition.name, 1)


# To find the connectors, a file of each installed package is read.
registry.warehouses()
registry.stores()
with tempfile.TemporaryDirectory() as name:
    _record_runs(Path(name))
