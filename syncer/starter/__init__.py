"""The starter folder: example definitions, the sample data that they run on, and an example of `.env`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from syncer.model.errors import SettingsError


def example_files() -> dict[Path, bytes]:
    """The example definitions and their sample data, by path within the definitions' folder."""
    packaged = resources.files(__name__)
    files = {Path(file.name): file for file in packaged.iterdir() if file.name.endswith(".sql")}
    files |= {Path("sample_data", file.name): file for file in packaged.joinpath("sample_data").iterdir()}
    return {path: files[path].read_bytes() for path in sorted(files)}


def write_starter(folder: Path) -> list[Path]:
    """Write the starter files into *folder*, and create it if needed; returns their paths.

    Raises:
        SettingsError: some of the files exist, or cannot be written; then nothing was written.
    """
    files = {folder / "sync_definitions" / path: content for path, content in example_files().items()}
    files[folder / ".env.example"] = resources.files(__name__).joinpath("env.example").read_bytes()
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
        for own in reversed(made):
            if own.is_dir():
                own.rmdir()
            else:
                own.unlink()
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
