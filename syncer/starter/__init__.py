"""The starter folder: example definitions, the sample data that they run on, and an example of `.env`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from syncer.model.errors import SettingsError
from syncer.starter.sample_data import sample_files

_ENVIRONMENT = """\
# Copy this file to `.env` and take away the `#` before what you want to set. `.env` holds secrets: keep it out of git.
# Any of these can also be a variable of the environment, which wins. A name that ends in `_FILE` names a file with
# the value, such as SYNCER_WAREHOUSES__DEFAULT__URL_FILE=/run/secrets/warehouse.

# Where the queries run. A folder: each CSV, Parquet and JSON file in it is a table.
# SYNCER_WAREHOUSES__DEFAULT__URL=duckdb:///sync_definitions/sample_data
# SYNCER_WAREHOUSES__DEFAULT__URL=postgresql://USER:PASSWORD@HOST/DATABASE

# Where people, objects, relationships and collections go, and what tells people apart: id, email or id_or_email.
# SYNCER_STORES__DEFAULT__URL=sqlite:///.syncer/profiles.db
# SYNCER_STORES__DEFAULT__IDENTITY=id

# More connections have names of their own; a definition uses them by `warehouse: billing` or `store: crm`.
# SYNCER_WAREHOUSES__BILLING__URL=postgresql://USER:PASSWORD@HOST/DATABASE
# SYNCER_STORES__CRM__URL=postgresql://USER:PASSWORD@HOST/DATABASE

# For `{{ var('country') }}` in a query.
# SYNCER_VARS__COUNTRY=DE

# SYNCER_DEFINITIONS_DIR=sync_definitions
# SYNCER_STATE_DIR=.syncer
# The run log; PostgreSQL where several machines run syncs.
# SYNCER_DATABASE_URL=sqlite:///.syncer/runs.db

# The service, `syncer serve`. Where its page listens; on another address than 127.0.0.1 only with a password or token.
# SYNCER_WEB__HOST=127.0.0.1
# SYNCER_WEB__PORT=8765
# SYNCER_WEB__PASSWORD=A LONG PASSWORD
# Whom it tells when a run fails, is held or is late: https://github.com/caronc/apprise/wiki
# SYNCER_ALERTS__URLS=mailtos://USER:PASSWORD@HOST?to=ONCALL@EXAMPLE.COM
# Runs side by side; seconds by which runs are put off, and that they get to end; days for which they are remembered.
# SYNCER_POOL_SIZE=4
# SYNCER_JITTER=60
# SYNCER_GRACE=30
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
    """Write the starter files into *folder*, which is made where there is none; gives their paths.

    Raises:
        SettingsError: some of the files exist, or cannot be written; then nothing was written.
    """
    files = {folder / "sync_definitions" / path: content for path, content in example_files().items()}
    files[folder / ".env.example"] = _ENVIRONMENT.encode()
    existing = [str(path) for path in files if path.exists()]
    if existing:
        raise SettingsError(
            f"nothing was written, for these files exist already: {', '.join(existing)}",
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
            f"nothing was written, for {path} cannot be: {error.strerror}", hint="Name another folder: syncer init DIR"
        ) from error
    return list(files)


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)
