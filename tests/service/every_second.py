"""`syncer serve`, but every sync is due every second, or every so many: oftener than a header may say."""

from __future__ import annotations

import dataclasses
import os
import sys
from datetime import timedelta

from syncer.cli import output, serve, signals
from syncer.cli.project import Project
from syncer.definitions import folder
from syncer.definitions.folder import Loaded
from syncer.model.types import Every


def main() -> None:
    """Serve until a signal comes; the first argument, if there is one, says how many seconds an interval has."""
    project = Project()
    settings = project.settings

    def load() -> Loaded:
        loaded = folder.load(settings.definitions_dir, warehouses=settings.warehouses, stores=settings.stores)
        interval = Every(interval=timedelta(seconds=int(sys.argv[1]) if len(sys.argv) > 1 else 1))
        often = tuple(dataclasses.replace(each, schedule=interval) for each in loaded.definitions)
        return dataclasses.replace(loaded, definitions=often)

    output.prepare()
    signals.install()
    try:
        code = serve.run(project, settings, load=load)
    except Exception as exc:
        output.print_exception(exc)
        code = 1
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
