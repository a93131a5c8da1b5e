"""What `syncer init` writes: examples with the sample data that they run on, or a project for one's own warehouse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from syncer.model.errors import SettingsError
from syncer.settings import registry

#: What git is to leave out: state, and secrets.
_IGNORED = (".syncer/", ".env")

_SETTINGS = """# The settings of this project; `syncer docs settings` lists all of them.
# Secrets belong into `.env`, which git ignores, or into environment variables.
"""


def example_files() -> dict[Path, bytes]:
    """The example definitions and their sample data, by path within the definitions' folder."""
    packaged = resources.files(__name__)
    files = {Path(file.name): file for file in packaged.iterdir() if file.name.endswith(".sql")}
    files |= {Path("sample_data", file.name): file for file in packaged.joinpath("sample_data").iterdir()}
    return {path: files[path].read_bytes() for path in sorted(files)}


def write_starter(folder: Path) -> list[Path]:
    """Write the examples into *folder*, and create it if needed; returns the paths of what was written.

    A `.gitignore` that exists gets what it lacks.

    Raises:
        SettingsError: some of the other files exist, or cannot be written; then nothing was written.
    """
    return _write(folder, {Path("sync_definitions", path): content for path, content in example_files().items()})


def write_project(folder: Path, url: str) -> list[Path]:
    """Write a project for the warehouse at *url* into *folder*, without a sync; as `write_starter`.

    A URL with a secret goes into `.env`, which only its owner may read, and every other one into `syncer.toml`.

    Raises:
        SettingsError: as `write_starter`, or *url* is none.
    """
    try:
        url = registry.checked(url)
    except ValueError as error:
        raise SettingsError(f"--warehouse: {error}", hint="`syncer docs warehouses` lists the URLs.") from None
    if registry.shown(url) == url:
        text = f"{_SETTINGS}\n[warehouses.default]\nurl = {json.dumps(url, ensure_ascii=False)}\n"
        return _write(folder, {Path("syncer.toml"): text.encode()}, folders=("sync_definitions",))
    quoted = url.replace("\\", r"\\").replace("'", r"\'")
    secret = f"SYNCER_WAREHOUSES__DEFAULT__URL='{quoted}'\n"
    files = {Path("syncer.toml"): _SETTINGS.encode(), Path(".env"): secret.encode()}
    return _write(folder, files, folders=("sync_definitions",))


def _write(folder: Path, contents: Mapping[Path, bytes], *, folders: tuple[str, ...] = ()) -> list[Path]:
    files = {folder / path: content for path, content in contents.items()}
    files[folder / ".env.example"] = resources.files(__name__).joinpath("env.example").read_bytes()
    existing = [str(path) for path in files if path.exists()]
    if existing:
        raise SettingsError(
            f"no file was written, because these already exist: {', '.join(existing)}",
            hint="Name another folder: syncer init DIR",
        )
    made: list[Path] = []
    path = folder
    try:
        for path in (folder / name for name in folders):
            _make_folder(path, made)
        for path, content in files.items():
            _make_folder(path.parent, made)
            path.touch(mode=0o600 if path.name == ".env" else 0o666, exist_ok=False)
            made.append(path)
            path.write_bytes(content)
        path = folder / ".gitignore"
        _ignore(path)
    except (OSError, UnicodeDecodeError) as error:
        for own in reversed(made):
            if own.is_dir():
                own.rmdir()
            else:
                own.unlink()
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(
            f"no file was written, because {path} cannot be: {why}", hint="Name another folder: syncer init DIR"
        ) from error
    return [*files, path]


def _ignore(path: Path) -> None:
    """Let a `.gitignore` name what git is to leave out."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    missing = [line for line in _IGNORED if line not in text.splitlines()]
    if missing:
        path.write_text(f"{text}{chr(10) if text and not text.endswith(chr(10)) else ''}{chr(10).join(missing)}\n")


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)
