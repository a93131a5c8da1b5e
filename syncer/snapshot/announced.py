"""Sets of keyed hashes of the names of entities: how a run announces what it takes from other syncs, and reads theirs.

The people that are named are deleted, so a set has no identifier: only who knows its key can try one. MD5 in place of
SHA-256 takes half of the time, and all that a forger of it could gain is that rows are sent again.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.protocols import UNSET
from syncer.model.types import Entity, RemovedSet
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal

#: SQL for what stands between the parts of a name.
_BETWEEN = "chr(31)"
#: No kinds are known by others.
NO_OTHERS: Mapping[str, str] = {}


class Announcement:
    """The set of a run, in the temporary table `announced`: entity, kind, value (the hash of all three)."""

    def __init__(self, session: Session, key: str, also: Mapping[str, str]) -> None:
        """It is empty.

        Shapes:
            key: of the hashes.
            also: to the kinds of some objects and relationships, by which other kinds they are known too.
        """
        self._session, self._key, self._also = session, key, also
        session.execute("CREATE OR REPLACE TEMP TABLE announced (entity VARCHAR, kind VARCHAR, value UUID)")

    def add(self, query: str) -> None:
        """Add the names (IDENTIFIERS) that a query finds."""
        for old, new in ((None, None), *self._also.items()):
            named = f"SELECT entity, kind, value FROM ({query})"
            if old is not None and new is not None:
                named = f"SELECT entity, {literal(new)} AS kind, value FROM ({query}) WHERE kind = {literal(old)} "
                named += f"AND regexp_matches(entity, '{Entity.OBJECT}|{Entity.RELATIONSHIP}')"
            value = _hash(literal(self._key), "entity", "kind", "value")
            self._session.execute(f"INSERT INTO announced SELECT entity, kind, {value} FROM ({named})")

    def add_table(self, names: pa.Table, entity: str) -> None:
        """Add names that are in memory, as those of an *entity*."""
        self._session.connection.register("names", names)
        self.add(f"SELECT {literal(entity)} AS entity, kind, value FROM names")
        self._session.connection.unregister("names")

    def write(self, path: Path) -> int:
        """Write the file of a RemovedSet; returns how many names it has."""
        options = "(FORMAT parquet, COMPRESSION uncompressed)"
        query = f"COPY (SELECT DISTINCT entity, kind, value FROM announced) TO {literal(str(path))} {options}"
        rows = self._session.count(query)
        self._session.execute("DROP TABLE announced")
        return rows


def find_removed(
    session: Session,
    sets: Sequence[RemovedSet],
    source: str,
    *,
    names: Sequence[tuple[str, str, str]] = (),
    also: Mapping[str, str] = NO_OTHERS,
) -> set[tuple[str, str]] | None:
    """Make the temporary table `removed` (IDENTIFIERS) of those names of some rows that are in *sets*.

    Shapes:
        source: SQL for the rows.
        names: as `Session.names`; without any, every name by which a row of the snapshot can be removed.
        also: as Announcement has it.
        returns: each `entity` and `kind` that a set has; None where a file cannot be read.
    """
    session.execute("CREATE OR REPLACE TEMP TABLE removed (entity VARCHAR, kind VARCHAR, value VARCHAR)")
    _, kind, value = session.own_name
    names = names or [*session.names, (UNSET[session.target.entity], kind, value)]
    present = set[tuple[str, str]]()
    try:
        for key, same in groupby(sorted(sets, key=lambda one: one.key), key=lambda one: one.key):
            hashes = f"({_read([*same])})"
            present.update(known := session.rows(f"SELECT DISTINCT entity, kind FROM {hashes}"))
            for entity, own, value in names:
                for kind in {own, also.get(own, own) if _is_of_object(entity) else own}:
                    if (entity, kind) in known:
                        found = _hash(literal(f"{key}{entity}\x1f{kind}\x1f"), value)
                        session.execute(
                            f"INSERT INTO removed SELECT DISTINCT {literal(entity)}, {literal(own)}, {value} "
                            f"FROM ({source}) WHERE {found} IN (SELECT value FROM {hashes} "
                            f"WHERE entity = {literal(entity)} AND kind = {literal(kind)})"
                        )
    except duckdb.Error:
        return None
    return present


def _is_of_object(entity: str) -> bool:
    return Entity.OBJECT in entity or Entity.RELATIONSHIP in entity


def _hash(start: str, *parts: str) -> str:
    """SQL for the hash of a name: *start*, then the rest of its parts."""
    first, *others = parts
    text = ", ".join([start, first, *(f"{_BETWEEN}, {part}" for part in others)])
    return f"CAST(md5_number(concat({text})) AS UUID)"


def _read(sets: Sequence[RemovedSet]) -> str:
    """SQL for the rows of sets: entity, kind, value."""
    parts = []
    for counts_unset in (True, False):
        # Brackets keep DuckDB from taking a sign in a path for a pattern.
        paths = [literal(glob.escape(str(one.path))) for one in sets if one.counts_unset is counts_unset]
        if paths:
            which = "" if counts_unset else f" WHERE entity NOT IN ({', '.join(map(literal, UNSET.values()))})"
            parts.append(f"SELECT entity, kind, value FROM read_parquet([{', '.join(paths)}]){which}")
    return " UNION ALL ".join(parts)
