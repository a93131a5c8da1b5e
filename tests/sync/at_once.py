"""Eight runs at once, first of all, in a process that has loaded nothing for them: `python -m tests.sync.at_once`.

It prints how each ended, and which modules of other packages a thread began to load without holding the lock for it.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from syncer.definitions import folder as definitions
from syncer.model.importing import importing
from syncer.model.types import Order, SyncDefinition, Trigger
from syncer.settings import settings, state_modes
from syncer.settings.settings import Settings
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.runner import Runner

OWN = {"syncer", "connectors", "tests", *sys.stdlib_module_names}


def main() -> None:
    """Run every sync of the folder, each in a thread of its own; *when* definitions are read: `first` or `with`."""
    folder, when, unlocked = Path(sys.argv[1]), sys.argv[2], set[str]()
    found = settings.load(folder, json.loads((folder / "environment.json").read_text()))
    state_modes.make_state_dir(found)
    log = RunLog(StateDatabase(found.database_url.get_secret_value()))
    runner = Runner(settings=found, run_log=log, now=lambda: datetime.now(UTC))
    names = sorted(path.stem for path in (folder / "sync_definitions").glob("*.sql"))
    known, barrier, lines = loaded(found) if when == "first" else {}, threading.Barrier(len(names)), list[str]()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "import" and threading.current_thread() is not threading.main_thread():
            module = str(arguments[0])
            held = importing._is_owned()  # type: ignore[attr-defined]
            if module not in sys.modules and module.partition(".")[0] not in OWN and not held:
                unlocked.add(module)

    def work(name: str) -> None:
        barrier.wait()
        definition = (known or loaded(found))[name]
        run = runner.run(definition, order=Order(trigger=Trigger.MANUAL))
        lines.append(f"{name} {run.status} {run.counts.accepted} {run.error or ''}")

    sys.addaudithook(watch)
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"runs": sorted(lines), "unlocked": sorted(unlocked)}))


def loaded(found: Settings) -> dict[str, SyncDefinition]:
    """The folder's definitions, by name."""
    made = definitions.load(found.definitions_dir, warehouses=list(found.warehouses), stores=list(found.stores))
    return {one.name: one for one in made.definitions}


if __name__ == "__main__":
    main()
