"""The DuckDB database in which a run works, and the SQL for the keys of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, assert_never

import duckdb

from syncer.model.protocols import KEPT, MOVED
from syncer.model.types import Entity, EventType, ListAction, PersonKey, Target
from syncer.snapshot.values import literal

_Result = TypeVar("_Result")
_Given = ParamSpec("_Given")
_Owner = TypeVar("_Owner", bound="_OfSession")


class _OfSession(Protocol):
    @property
    def session(self) -> Session: ...


#: DuckDBs for the next runs of this process: to start one takes 15 ms.
_idle: list[duckdb.DuckDBPyConnection] = []
_MOST_IDLE = 4
_OF_ONE_RUN = ("memory_limit", "temp_directory")
#: Of bytes, as DuckDB writes them.
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
#: The connections of runs, each to its DuckDB.
_at_work: dict[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection] = {}


def begun(config: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """The only connection to a DuckDB of no file, which another run may have used; to be given to `close` or `let_go`.

    *config* is the same for every run, but for `memory_limit` and `temp_directory`.
    """
    try:
        instance = _idle.pop()
        instance.execute("; ".join(f"SET {name} = {literal(config[name])}" for name in _OF_ONE_RUN))
    except (IndexError, duckdb.Error):
        # There is none, or it has written to its folder.
        instance = duckdb.connect(":memory:", config=dict(config))
    # Its temporary tables go with it.
    connection = instance.cursor()
    _at_work[connection] = instance
    return connection


def close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection, its DuckDB, and the file that this has open."""
    connection.close()
    if instance := _at_work.pop(connection, None):
        instance.close()


def let_go(connection: duckdb.DuckDBPyConnection, database: str, *, is_reusable: bool) -> None:
    """Close a connection and the file attached as *database*; if it is reusable, its DuckDB waits for the next run."""
    instance = _at_work.get(connection)
    if instance is not None and is_reusable and len(_idle) < _MOST_IDLE:
        connection.close()
        with suppress(duckdb.Error):
            instance.execute(f"DETACH {database}")
            del _at_work[connection]
            _idle.append(instance)
    close(connection)


def with_more_memory(connection: duckdb.DuckDBPyConnection, work: Callable[[], _Result]) -> _Result:
    """Do *work*; while DuckDB has too little memory for it, again with twice as much, up to the connection's part.

    What a run usually has is enough for most statements, and leaves room for other runs. Work that fails within a
    transaction has to be undone first.
    """
    while True:
        try:
            return work()
        except duckdb.OutOfMemoryException:
            if not _widen(connection):
                raise


def retried(
    method: Callable[Concatenate[_Owner, _Given], _Result],
) -> Callable[Concatenate[_Owner, _Given], _Result]:
    """A method that undoes what it did where it fails, and is done once more where DuckDB has too little memory."""

    @wraps(method)
    def with_room(owner: _Owner, /, *given: _Given.args, **named: _Given.kwargs) -> _Result:
        return with_more_memory(owner.session.connection, lambda: method(owner, *given, **named))

    return with_room


def _widen(connection: duckdb.DuckDBPyConnection) -> bool:
    """Double what DuckDB may use; False if it has all of its part."""
    try:
        ((part, shown),) = connection.execute("SELECT getvariable('part'), current_setting('memory_limit')").fetchall()
    except duckdb.Error:
        # A transaction that has failed answers no query.
        return False
    number, unit = shown.split()
    limit = int(float(number) * _UNITS[unit])
    if not part or limit > 0.9 * part:
        return False
    connection.execute(f"SET memory_limit = '{min(part, 2 * limit)}B'")
    return True


@dataclass(frozen=True, kw_only=True)
class Session:
    """One sync's connection: to the tables of its ledger, and to the temporary ones of a run's stages."""

    connection: duckdb.DuckDBPyConnection
    sync: str
    target: Target

    @cached_property
    def keys(self) -> list[str]:
        """The columns of the key, in every table: k1 to kn."""
        return [f"k{i + 1}" for i in range(len(self.target.key_columns))]

    @cached_property
    def k(self) -> str:
        """SQL for the columns of the key."""
        return ", ".join(self.keys)

    @cached_property
    def key_text(self) -> str:
        """SQL for a key as people see and type it: one column's text, or a JSON array of several."""
        return self.keys[0] if len(self.keys) == 1 else f"CAST(json_array({self.k}) AS VARCHAR)"

    def key_text_of(self, table: str) -> str:
        """The same of one table."""
        columns = self.keys_of(table)
        return columns if len(self.keys) == 1 else f"CAST(json_array({columns}) AS VARCHAR)"

    @property
    def may_be_blank(self) -> bool:
        """Whether a part of a key may be empty: in the JSON array that is a collection's key of several columns."""
        return self.target.collection is not None and len(self.keys) > 1

    def keys_of(self, table: str) -> str:
        """SQL for the columns of the key of one table."""
        return ", ".join(f"{table}.{key}" for key in self.keys)

    def same_keys(self, left: str, right: str) -> str:
        """SQL for whether the rows of two tables have the same key; not true where a part of it is NULL."""
        return " AND ".join(f"{left}.{key} = {right}.{key}" for key in self.keys)

    def is_key(self, key: tuple[str, ...]) -> str:
        """SQL for whether a row has this key."""
        return " AND ".join(f"{name} = {literal(value)}" for name, value in zip(self.keys, key, strict=True))

    def lacks_key(self, table: str) -> str:
        """SQL for whether a part of a row's key is NULL."""
        return " OR ".join(f"{table}.{key} IS NULL" for key in self.keys)

    @cached_property
    def entity(self) -> tuple[str, str, str]:
        """SQL for the `entity`, `kind` and `value` (see IDENTIFIERS) that name a row's own entity."""
        entity, kind, value = self.own_name
        return literal(entity), literal(kind), value

    @cached_property
    def own_name(self) -> tuple[str, str, str]:
        """The `entity` and `kind` (see IDENTIFIERS) of each row's own entity, and SQL for its `value`."""
        target = self.target
        match target.entity:
            case Entity.PERSON:
                kind = str(target.person_key)
            case Entity.OBJECT:
                kind = str(target.object_type)
            case Entity.RELATIONSHIP:
                kind = f"{target.person_key}:{target.object_type}"
            case Entity.COLLECTION:
                kind = str(target.collection)
            case Entity.MERGE:
                kind = f"{target.person_key}:{target.merged_key}"
            case Entity.DEVICE:
                kind = str(target.person_key)
            case Entity.EVENT:
                kind = target.events.label
            case _:
                assert_never(target.entity)
        return target.entity, kind, self.key_text

    @cached_property
    def names(self) -> list[tuple[str, str, str]]:
        """As `own_name`, and the same of the ends of a relationship, of a device's person, of a person who was merged
        with another, and of an identifier that may move.
        """
        named = [self.own_name]
        if self.target.entity.traits.links:
            named.append((Entity.PERSON, str(self.target.person_key), "k1"))
        if self.target.entity.traits.links and self.target.entity.traits.names_object:
            named.append((Entity.OBJECT, str(self.target.object_type), "k2"))
        if self.target.entity.traits.names_person:
            named.append((KEPT, str(self.target.person_key), "k1"))
        if self.target.key_may_move:
            named.append((MOVED, str(self.target.person_key), "k1"))
        return named

    def touched(self, removed: str) -> str:
        """SQL for whether a table of IDENTIFIERS names the row's entity, or an end of the relationship."""
        return " OR ".join(
            f"{value} IN (SELECT value FROM {removed} WHERE entity = {literal(entity)} AND kind = {literal(kind)})"
            for entity, kind, value in self.names
        )

    def execute(self, statement: str, parameters: Any = None) -> None:
        """Run a statement whose result nobody needs."""
        with_more_memory(self.connection, lambda: self.connection.execute(statement, parameters))

    def rows(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """All rows of a query that returns few."""
        return with_more_memory(self.connection, lambda: self.connection.execute(query, parameters).fetchall())

    def count(self, query: str, parameters: Any = None) -> int:
        """The one number of a query, or how many rows a statement changed."""
        return int(self.rows(query, parameters)[0][0])

    def any(self, query: str) -> bool:
        """Whether a query has a row."""
        return bool(self.rows(f"{query} LIMIT 1"))

    def any_of(self, *tables: str) -> bool:
        """Whether any of some tables has a row."""
        return self.any(" UNION ALL ".join(f"(SELECT 1 FROM {table} LIMIT 1)" for table in tables))

    def has_table(self, name: str) -> bool:
        """Whether the file has a table of this name."""
        # To ask `duckdb_tables()` takes as long as several statements.
        try:
            self.connection.table(name)
        except duckdb.CatalogException:
            return False
        return True

    def keys_in(self, database: str = "") -> int:
        """How many columns the key has in a snapshot that is open, or attached as *database*."""
        return self.count(
            "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'snapshot' "
            "AND database_name = coalesce(nullif(?, ''), current_database()) "
            "AND regexp_full_match(column_name, 'k[0-9]+')",
            [database],
        )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Make what the block does durable when it ends; undo it when it raises."""
        self.connection.execute("BEGIN")
        try:
            yield self
        except BaseException:
            with suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")


class Remembering:
    """The entries of a file's table `meta`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        #: What `meta` has, once it was read.
        self._remembered: dict[str, str] | None = None

    def _memory(self) -> dict[str, str]:
        """The entries of `meta`; an empty text for what is not among them."""
        if self._remembered is None:
            self._remembered = dict(self.session.rows("SELECT name, value FROM meta"))
        return defaultdict(str, self._remembered)

    def _remember(self, **values: str) -> None:
        """Replace entries of `meta`; part of the caller's transaction."""
        memory = dict(self._memory())
        if new := {name: value for name, value in values.items() if memory.get(name) != value}:
            self.session.execute("DELETE FROM meta WHERE list_contains(?, name)", [list(new)])
            self.session.execute("INSERT INTO meta SELECT unnest(?), unnest(?)", [list(new), list(new.values())])
            self._remembered = memory | new

    def forget_what_was_read(self) -> None:
        """Read `meta` again when it is asked for: it may be another one."""
        self._remembered = None

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with self.session.transaction() as session:
                yield session
        except BaseException:
            self.forget_what_was_read()
            raise

    def _format(self, session: Session) -> int:
        return int(self._memory()["format"] or 0) if session.has_table("meta") else 0


def signature_of(target: Target) -> str:
    """What must stay the same for acknowledged rows to mean the same things in the store."""
    if target.event is not None:
        # Whoever did it, the event is the same.
        return f"{target.entity}|||{target.event.label}|{','.join(target.key_columns)}"
    keys = ",".join(target.key_columns) if target.collection is not None else ""
    entity = target.entity if target.action is None else f"{target.entity}:{target.action}"
    second = target.merged_key or target.object_type
    parts = (entity, target.person_key, second, target.collection, keys)
    return "|".join("" if part is None else str(part) for part in parts)


def _event_type(label: str) -> EventType:
    """The events of a label: see `EventType.label`."""
    is_column = label.startswith("{") and label.endswith("}")
    return EventType(column=label[1:-1]) if is_column else EventType(name=label)


def target_of(signature: str, keys: int) -> Target:
    """A target of this signature, with so many columns of the key, which are called k1, k2, …"""
    entity, person_key, rest = signature.split("|", 2)
    named = rest.rpartition("|")[0]
    entity, _, action = entity.partition(":")
    second, collection = ("", named[1:]) if named.startswith("|") else (named.removesuffix("|"), "")
    is_merge, is_event = entity == Entity.MERGE, entity == Entity.EVENT
    return Target(
        entity=Entity(entity),
        person_key=PersonKey(person_key) if person_key else None,
        merged_key=PersonKey(second) if is_merge else None,
        object_type=(second or None) if not is_merge else None,
        collection=None if is_event else collection or None,
        event=_event_type(collection) if is_event else None,
        key_columns=tuple(f"k{i}" for i in range(1, keys + 1)),
        action=ListAction(action) if action else None,
    )
