"""Forgetting one person: the rows about them go from a snapshot's file, and so do the bytes that such rows left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.types import Entity, PersonKey, Target
from syncer.snapshot import file, visitors
from syncer.snapshot.announced import NO_OTHERS, Announcement
from syncer.snapshot.cells import columns_of
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.identifiers import key_of, recorded
from syncer.snapshot.session import Session, target_of
from syncer.snapshot.tables import write_anew
from syncer.snapshot.values import literal
from syncer.snapshot.visitors import VISITOR

#: What a person is known by: kind of identifier to values; kinds that do not tell people apart are left out. VISITOR
#: has the visitors whom they claimed.
Names = Mapping[str, set[str]]
#: The names to look for in the snapshots of a store, by its id; None where the snapshot does not matter.
NamesOf = Callable[[str], Names | None]

#: The tables with rows about people, but for those that only a run has.
_TABLES = ("snapshot", "in_doubt", "left_behind", "unknown", "kept", "rejections", "left_rows", "absent_rows")
_DAMAGED = ".damaged-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFiles:
    """The files of a folder of snapshots."""

    #: Those of syncs, and those that were moved aside and can be read.
    readable: list[Path]
    damaged: list[Path]


def files_in(folder: Path) -> SnapshotFiles:
    """The files of snapshots, also those that were moved aside."""
    found = [*folder.glob("*.duckdb"), *folder.glob("*.duckdb.*-*[0-9]")]
    return SnapshotFiles(
        readable=sorted(path for path in found if _DAMAGED not in path.name),
        damaged=sorted(path for path in found if _DAMAGED in path.name),
    )


def other_names(path: Path, names_of: NamesOf) -> tuple[str, Names] | None:
    """The other identifiers that a snapshot has for a person, with the id of its store; None if there is nobody.

    Raises:
        RunInProgressError: a run or a plan has it open.
        SnapshotError: it cannot be read.
    """
    with _opened(path, names_of) as found:
        if found is None:
            return None
        session, store_id, names = found
        session.execute(f"CREATE OR REPLACE TEMP TABLE forgotten AS {_rows_named(session, names)}")
        more = {
            column.name: {
                str(value)
                for (value,) in session.rows(
                    f"SELECT DISTINCT {key_of(column.name, column.kind, column.physical)} "
                    f"FROM snapshot SEMI JOIN forgotten USING ({session.k})"
                )
                if value
            }
            for column in columns_of(session, "")
            if column.is_own and column.name in names
        }
        if visitors.are_in(session):
            query = f"SELECT DISTINCT {visitors.COLUMN} FROM snapshot SEMI JOIN forgotten USING ({session.k})"
            more[VISITOR] = {value for (value,) in session.rows(query) if value}
        return store_id, more


def forget(path: Path, names_of: NamesOf) -> int:
    """Take a person out of a snapshot; returns how many rows of it were about them. The file is written anew.

    Raises:
        RunInProgressError, SnapshotError: as `other_names`.
    """
    with _opened(path, names_of) as found:
        if found is None:
            return 0
        session, _, names = found
        sources = [_rows_named(session, names), *_rows_of_number(session, names)]
        session.execute(f"CREATE OR REPLACE TEMP TABLE forgotten AS {' UNION '.join(sources)}")
        with session.transaction():
            for table in (*_TABLES, *(name for name in ("held", "fetched") if session.has_table(name))):
                same = session.same_keys(table, "f")
                session.execute(f"DELETE FROM {table} USING forgotten f WHERE {same}")
        rows = session.count("SELECT count(*) FROM forgotten")
        write_anew(session, path.resolve())
        return rows


def is_in_plan(path: Path, names: Names) -> bool:
    """Whether the rows of a saved plan name a person, in a key or in another column; see `change_set.keep`."""
    with duckdb.connect() as connection:
        rows = connection.read_parquet(str(path))
        own = [column for column in rows.columns if column[:1] == "k" or column in ("who", "anonymous", "previous")]
        keys = [f"CAST({column} AS VARCHAR)" for column in own]
        told = [f"json_extract_string({side}, '$.\"{kind}\"')" for side in ("before", "after") for kind in names]
        which = " OR ".join(_is_among(value, set().union(*names.values())) for value in (*keys, *told))
        return bool(rows.filter(which).limit(1).fetchall())


def write_announcement(names: pa.Table, target: Target, path: Path, key: str) -> int:
    """Write the file of a RemovedSet, whose hashes have *key*, of a person with these names (IDENTIFIERS)."""
    with duckdb.connect() as connection:
        announcement = Announcement(Session(connection=connection, sync="", target=target), key, NO_OTHERS)
        announcement.add_table(names, str(Entity.PERSON))
        return announcement.write(path)


@contextmanager
def _opened(path: Path, names_of: NamesOf) -> Iterator[tuple[Session, str, Names] | None]:
    """A snapshot about people, locked and settled, with its store's id and the names to look for; None for another."""
    sync = path.name.partition(".duckdb")[0]
    with file.locked(path, sync=sync) as connection:
        session = Session(connection=connection, sync=sync, target=target_of("person|id|||", 1))
        meta = dict(session.rows("SELECT name, value FROM meta")) if session.has_table("meta") else {}
        names = names_of(meta.get("store_id", ""))
        if names is None or "target" not in meta:
            yield None
            return
        target = target_of(meta["target"], session.keys_in())
        if not target.keys_of_people and target.event is None:
            yield None
            return
        ledger = FileLedger(Session(connection=connection, sync=sync, target=target), path)
        with ledger.explaining():
            ledger.make_ready_as_it_is()
            yield ledger.session, meta["store_id"], names


def _rows_named(session: Session, names: Names) -> str:
    """SQL for the keys (k…) of rows that name a person, in the key or in another column."""
    if session.target.event is not None:
        # Of events, only what is to be tried again has who did it; the ids of others name nobody.
        people = set().union(*(values for kind, values in names.items() if kind != VISITOR))
        is_theirs = f"{_is_among('who', people)} OR {_is_among('anonymous', names.get(VISITOR, set()))}"
        return f"SELECT {session.k} FROM kept WHERE {is_theirs}"
    k, kinds = session.k, enumerate(session.target.keys_of_people, start=1)
    is_named = " OR ".join(_is_among(f"k{place}", names.get(kind, set())) for place, kind in kinds)
    parts = [f"SELECT {k} FROM {table} WHERE {is_named}" for table in _TABLES]
    for column in columns_of(session, ""):
        if column.is_own and column.name in names:
            is_theirs = _is_among(key_of(column.name, column.kind, column.physical), names[column.name])
            parts += [f"SELECT {k} FROM {table} WHERE {is_theirs}" for table in ("snapshot", "kept")]
    if visitors.are_in(session):
        is_theirs = _is_among(visitors.COLUMN, names.get(VISITOR, set()))
        parts += [f"SELECT {k} FROM {table} WHERE {is_theirs}" for table in ("snapshot", "kept")]
    if session.target.entity.traits.has_other_identifiers:
        for kind in (*recorded(session), VISITOR):
            is_theirs = _is_among(f"json_extract_string(attributes, '$.\"{kind}\"')", names.get(kind, set()))
            parts.append(f"SELECT {k} FROM left_rows WHERE {is_theirs}")
    return " UNION ".join(parts)


def _rows_of_number(session: Session, names: Names) -> list[str]:
    """The same of rows that went to them, by the store's own number, whatever their keys name now."""
    numbers = {value for value in names.get(PersonKey.CIO_ID, set()) if value.isdecimal()}
    if not numbers:
        return []
    which = f"WHERE person IN ({', '.join(sorted(numbers))})"
    return [f"SELECT {session.k} FROM {table} {which}" for table in ("snapshot", "left_behind")]


def _is_among(value: str, values: set[str]) -> str:
    return f"{value} IN ({', '.join(map(literal, sorted(values)))})" if values else "FALSE"
