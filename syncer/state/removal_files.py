"""Where the files of `removal_sets` are: beside an SQLite database, or in parts in one that several machines share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from syncer.model.errors import StateDatabaseError
from syncer.model.temporary_folders import temporary_folder
from syncer.state.database import StateDatabase
from syncer.state.schema import removal_parts, removal_sets

#: Bytes of a part.
_PART = 1 << 20
#: Seconds after which a file that no set names is that of a run that died.
_SPARE_SECONDS = 86_400


@contextmanager
def made(database: StateDatabase, set_id: str) -> Iterator[Path]:
    """Where to write the file of a set, which the block is to `keep`; if it fails, the file goes.

    Raises:
        StateDatabaseError: there is no place for it.
    """
    folder = database.removals_folder
    try:
        if folder is None:
            with temporary_folder() as temporary:
                yield temporary / _name(set_id)
            return
        folder.mkdir(mode=0o770, exist_ok=True)
        try:
            yield folder / _name(set_id)
        except BaseException:
            (folder / _name(set_id)).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise StateDatabaseError(
            f"what is to be removed cannot be recorded: {exc.strerror}: {folder or exc.filename}",
            hint="Free some space there, or correct the folder's mode, and run the sync again: nothing was sent.",
        ) from exc


def keep(connection: sa.Connection, path: Path, set_id: str) -> None:
    """Make a set's file durable; part of the caller's transaction where the database holds it."""
    with path.open("rb") as file:
        if connection.dialect.name == "postgresql":
            for number, part in enumerate(iter(lambda: file.read(_PART), b"")):
                connection.execute(removal_parts.insert().values(id=set_id, number=number, bytes=part))
            return
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def found(database: StateDatabase, set_ids: Sequence[str]) -> Iterator[Mapping[str, Path]]:
    """The files of sets, by id, while the block runs; without those that are gone."""
    folder, paths = database.removals_folder, dict[str, Path]()
    with ExitStack() as stack:
        for set_id in set_ids:
            if folder is not None and (folder / _name(set_id)).exists():
                paths[set_id] = folder / _name(set_id)
        if missing := [set_id for set_id in set_ids if set_id not in paths]:
            temporary = stack.enter_context(temporary_folder())
            with database.reading() as connection:
                for set_id in missing:
                    if _fetch_parts(connection, set_id, temporary / _name(set_id)):
                        paths[set_id] = temporary / _name(set_id)
        yield paths


def delete_spare(database: StateDatabase) -> None:
    """Delete the files that no set names."""
    folder = database.removals_folder
    if folder is None or not folder.exists():
        return
    limit = time.time() - _SPARE_SECONDS
    # Listed before the sets, of which each is recorded after its file was written.
    files = [*folder.glob(_name("*"))]
    with database.reading() as connection:
        named = {_name(set_id) for set_id in connection.execute(sa.select(removal_sets.c.id)).scalars()}
    for path in files:
        with suppress(FileNotFoundError):
            if path.name not in named and path.stat().st_mtime < limit:
                path.unlink()


def _fetch_parts(connection: sa.Connection, set_id: str, path: Path) -> bool:
    """Write a set's file from the database; False where it has none of it."""
    query = sa.select(removal_parts.c.bytes).where(removal_parts.c.id == set_id)
    number = 0
    with path.open("wb") as file:
        while part := connection.execute(query.where(removal_parts.c.number == number)).scalar_one_or_none():
            file.write(part)
            number += 1
    return number > 0


def _name(set_id: str) -> str:
    return f"{set_id}.parquet"
