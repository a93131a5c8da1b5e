"""Sets of removals for tests: announced from names in clear, and read back by who knows the names."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
from pyarrow import parquet

from syncer.model.protocols import IDENTIFIERS, UNSET
from syncer.model.types import Entity, PersonKey, Removed, Target
from syncer.snapshot.announced import Announcement
from syncer.snapshot.session import Session
from syncer.sync.coordination import Coordination

#: Entity, kind, value.
Name = tuple[str, str, str]

_PEOPLE = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))

#: What `announce` was given.
_known: set[Name] = set()


class Looks(Protocol):
    """Part of Coordination."""

    def removed_since(self, seq: int) -> AbstractContextManager[Removed]: ...


def people(*ids: str) -> list[Name]:
    """Names of people by id."""
    return [("person", "id", value) for value in ids]


def announce(coordination: Coordination, names: Iterable[Name]) -> None:
    """As a run announces that it removes these."""
    _known.update(names := list(names))
    coordination.announce(
        partial(
            _write, pa.Table.from_pylist([dict(zip(IDENTIFIERS.names, n, strict=True)) for n in names], IDENTIFIERS)
        )
    )


def look(coordination: Looks, seq: int, among: Iterable[Name] = ()) -> tuple[list[Name], int]:
    """What others removed since a number, of the names that were announced or are *among* others; the newest number."""
    with coordination.removed_since(seq) as removed:
        found = {name for one in removed.sets for name in names_in(one.path, one.key, among, unset=one.counts_unset)}
        return sorted(found), removed.newest


def is_incomplete(coordination: Looks, seq: int) -> bool:
    with coordination.removed_since(seq) as removed:
        return removed.is_incomplete


def names_in(path: Path, key: str, among: Iterable[Name] = (), *, unset: bool = True) -> list[Name]:
    """The names in a set's file, of those that were announced here, or are *among* others."""
    rows = {row["value"] for row in parquet.read_table(path).to_pylist()}
    found = [name for name in {*_known, *among} if hashed(key, name) in rows]
    return sorted(name for name in found if unset or name[0] not in UNSET.values())


def hashed(key: str, name: Name) -> uuid.UUID:
    """What a set has in the place of a name."""
    return uuid.UUID(bytes=hashlib.md5((key + "\x1f".join(name)).encode(), usedforsecurity=False).digest()[::-1])


def _write(names: pa.Table, path: Path, key: str) -> int:
    with duckdb.connect() as connection:
        announcement = Announcement(Session(connection=connection, sync="", target=_PEOPLE), key, {})
        connection.register("named", names)
        announcement.add("SELECT * FROM named")
        return announcement.write(path)
