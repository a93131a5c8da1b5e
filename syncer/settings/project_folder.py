"""Where a project is: the nearest folder upwards with `syncer.toml` or `sync_definitions/`.

It imports nothing that takes time, as completion looks for a project at every press of the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DEFINITIONS = "sync_definitions"
_VARIABLE = "SYNCER_DEFINITIONS_DIR"
_IN_DOTENV = re.compile(rf"(?im)^\s*(?:export\s+)?{_VARIABLE}\s*=\s*\S")


def project_folder(start: Path, environment: Mapping[str, str]) -> Path | None:
    """The folder in which a command works that was called in *start*; None if there is no project.

    A folder that is not read is none. `SYNCER_DEFINITIONS_DIR` makes *start* a project, whatever is above it.
    """
    if any(value and name.upper() == _VARIABLE for name, value in environment.items()):
        return start
    return next((folder for folder in (start, *start.absolute().parents) if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    if (folder / "syncer.toml").is_file() or (folder / DEFINITIONS).is_dir():
        return True
    try:
        return _IN_DOTENV.search((folder / ".env").read_text(encoding="utf-8-sig")) is not None
    except (OSError, ValueError):
        return False
