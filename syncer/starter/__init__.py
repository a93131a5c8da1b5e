"""The starter folder: example definitions, the sample data that they run on, and an example of `.env`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from syncer.model.errors import SettingsError
from syncer.starter.sample_data import sample_files

_ENVIRONMENT = """\
# Copy this file to `.env`, and remove the `#` before the settings you want to change. `.env` holds secrets: keep it out
# of git. Environment variables win over this file. To read a value from a file, add `_FILE` to its name, as in
# `SYNCER_WAREHOUSES__DEFAULT__URL_FILE=/run/secrets/warehouse`. `syncer docs settings` lists all settings.

# The warehouse to query. A folder: each CSV, Parquet and JSON file in it is a table.
# SYNCER_WAREHOUSES__DEFAULT__URL=duckdb:///sync_definitions/sample_data
# SYNCER_WAREHOUSES__DEFAULT__URL=postgresql://USER:PASSWORD@HOST/DATABASE

# The store to send to, and what identifies people there: id, email or id_or_email.
# SYNCER_STORES__DEFAULT__URL=sqlite:///.syncer/profiles.db
# SYNCER_STORES__DEFAULT__IDENTITY=id

# More connections, each with a name. A definition uses them with `warehouse: billing` or `store: crm`.
# SYNCER_WAREHOUSES__BILLING__URL=postgresql://USER:PASSWORD@HOST/DATABASE
# SYNCER_STORES__CRM__URL=postgresql://USER:PASSWORD@HOST/DATABASE

# The value of `{{ var('country') }}` in queries.
# SYNCER_VARS__COUNTRY=DE

# The folder of the definitions.
# SYNCER_DEFINITIONS_DIR=sync_definitions
# The folder of snapshots, run log and default store.
# SYNCER_STATE_DIR=.syncer
# The run log. Use PostgreSQL if several machines run syncs.
# SYNCER_DATABASE_URL=sqlite:///.syncer/runs.db

# The page and the API of `syncer serve`. Any address but 127.0.0.1 needs a password or a token.
# SYNCER_WEB__HOST=127.0.0.1
# SYNCER_WEB__PORT=8765
# SYNCER_WEB__PASSWORD=A LONG PASSWORD
# Who gets an alert when a run fails, is held or is late: https://github.com/caronc/apprise/wiki
# SYNCER_ALERTS__URLS=mailtos://USER:PASSWORD@HOST?to=ONCALL@EXAMPLE.COM
# How many syncs run at a time.
# SYNCER_POOL_SIZE=4
# The most seconds by which each sync is delayed, so that not all start at once.
# SYNCER_JITTER=60
# How many seconds a stopping service waits for its runs.
# SYNCER_GRACE=30
# How many days the run log keeps runs.
# SYNCER_KEEP_RUNS=90
# SYNCER_LOG_LEVEL=info
"""


def example_files() -> dict[Path, bytes]:
    """The example definitions and their sample data, by path within the definitions' folder."""
    definitions = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    return {
        **{Path(file.name): file.read_bytes() for file in sorted(definitions, key=lambda file: file.name)},
        **{Path("sample_data", name): content for name, content in sample_files().items()},
    }


def write_starter(folder: Path) -> list[Path]:
    """Write the starter files into *folder*, and create it if needed; returns their paths.

    Raises:
        SettingsError: some of the files exist, or cannot be written; then nothing was written.
    """
    files = {folder / "sync_definitions" / path: content for path, content in example_files().items()}
    files[folder / ".env.example"] = _ENVIRONMENT.encode()
    existing = [str(path) for path in files if path.exists()]
    if existing:
        raise SettingsError(
            f"no file was written, because these already exist: {', '.join(existing)}",
            hint="Name another folder: syncer init DIR",
        )
    made: list[Path] = []
    try:
        for path, content in files.items():
            _make_folder(path.parent, made)
            with path.open("xb") as file:
                made.append(path)
                file.write(content)
    except OSError as error:
        for mine in reversed(made):
            if mine.is_dir():
                mine.rmdir()
            else:
                mine.unlink()
        raise SettingsError(
            f"no file was written, because {path} cannot be: {error.strerror}",
            hint="Name another folder: syncer init DIR",
        ) from error
    return list(files)


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)
