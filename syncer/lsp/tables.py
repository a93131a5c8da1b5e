"""The tables of a warehouse as its catalog lists them, kept for the editor and read where nobody waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlglot import exp
from sqlglot.dialects.dialect import NormalizationStrategy

from syncer.model.errors import SyncerError, WarehouseError
from syncer.model.protocols import Warehouse
from syncer.model.select_statement import dialect_of
from syncer.settings import registry
from syncer.settings.registry import WarehouseSettings

log = logging.getLogger(__name__)

#: Seconds for which the names of tables are good, and after which a warehouse that failed is tried again.
_GOOD_FOR = 600.0
_TRY_AGAIN = 60.0

_LISTING_TIMEOUT = timedelta(minutes=1)
#: Columns of a catalog beyond which an editor knows no more.
_MOST_COLUMNS = 300_000

#: The type of a column that the warehouse does not tell.
_UNKNOWN = "unknown type"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table."""

    name: str
    #: The warehouse's own word for it; empty while it is not known.
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view."""

    schema: str
    name: str
    #: Whether a query may leave the schema out.
    is_default: bool
    columns: tuple[TableColumn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What is known of a warehouse."""

    tables: tuple[Table, ...] = ()
    #: Whether that is all, as it was a short time ago.
    is_whole: bool = False

    def find(self, name: Sequence[str]) -> Table | None:
        """The table of a name with or without its schema, in any letter case."""
        folded = [part.casefold() for part in name[-2:]]
        for table in self.tables:
            if table.name.casefold() == folded[-1] and (
                table.is_default if len(folded) == 1 else table.schema.casefold() == folded[0]
            ):
                return table
        return None


@dataclass(slots=True)
class _Known:
    tables: Tables = field(default_factory=Tables)
    #: By the monotonic clock, in seconds: when its names are to be read again, and before when nothing is.
    due: float = 0.0
    not_before: float = 0.0
    is_being_read: bool = False


class TableCache:
    """Reads each warehouse's catalog on a thread of its own, which may hang without harm."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._lock = threading.Lock()

    def tables(
        self, name: str, settings: WarehouseSettings, *, dialect: str, read: Iterable[Sequence[str]] = ()
    ) -> Tables:
        """What is known now; begins to read what is missing or old.

        Shapes:
            read: the names of the tables that a query reads, whose columns' types are wanted.
        """
        key = (name, settings.url.get_secret_value())
        with self._lock:
            known = self._known.setdefault(key, _Known())
            found = (known.tables.find(table) for table in read)
            untyped = {table for table in found if table and not all(column.type for column in table.columns)}
            now = self._clock()
            is_due = now >= known.due
            if not known.is_being_read and now >= known.not_before and (is_due or untyped):
                known.is_being_read = True
                work = (name, settings, dialect, known, is_due, untyped)
                threading.Thread(target=self._read, args=work, name="syncer-tables", daemon=True).start()
            return known.tables

    def _read(
        self,
        name: str,
        settings: WarehouseSettings,
        dialect: str,
        known: _Known,
        is_due: bool,
        untyped: Collection[Table],
    ) -> None:
        tables, not_before, due = known.tables, 0.0, known.due
        try:
            with closing(settings.open(name)) as warehouse:
                if is_due:
                    tables, due = listed(warehouse, settings), self._clock() + _GOOD_FOR
                types = {table: _described(warehouse, table, dialect) for table in untyped}
            tables = replace(tables, tables=tuple(types.get(table, table) for table in tables.tables))
        except Exception as exc:
            not_before = self._clock() + _TRY_AGAIN
            # A driver's own text may hold anything.
            reason = exc.message if isinstance(exc, SyncerError) else type(exc).__name__
            log.warning("no tables of the warehouse `%s` are offered: %s", name, reason)
        finally:
            with self._lock:
                known.tables, known.due, known.not_before, known.is_being_read = tables, due, not_before, False


def listed(warehouse: Warehouse, settings: WarehouseSettings) -> Tables:
    """The tables that the catalog lists.

    Raises:
        WarehouseError: it cannot be read.
    """
    url = settings.url.get_secret_value()
    connector = registry.connector_of(url, registry.warehouses())
    assert connector is not None
    found: dict[tuple[str, str, bool], list[TableColumn]] = {}
    rows = 0
    for batch in warehouse.query(connector.listing_of(url), timeout=_LISTING_TIMEOUT):
        for schema, table, column, kind, is_default in zip(*(part.to_pylist() for part in batch.columns), strict=True):
            columns = found.setdefault((schema, table, bool(int(is_default))), [])
            columns.append(TableColumn(name=column, type=kind or ""))
        rows += batch.num_rows
        if rows > _MOST_COLUMNS:
            break
    return Tables(
        tables=tuple(
            Table(schema=schema, name=name, is_default=is_default, columns=tuple(columns))
            for (schema, name, is_default), columns in found.items()
        ),
        is_whole=True,
    )


def _described(warehouse: Warehouse, table: Table, dialect: str) -> Table:
    """*table* with the types of its columns, for which the warehouse may look into its rows."""
    name = ".".join(_quoted(part, dialect) for part in (table.schema, table.name))
    try:
        found = warehouse.columns(f"SELECT * FROM {name}")
    except WarehouseError:
        return replace(table, columns=tuple(replace(column, type=_UNKNOWN) for column in table.columns))
    columns = tuple(TableColumn(name=column.written or column.name, type=column.type or _UNKNOWN) for column in found)
    return replace(table, columns=columns)


def spelled(name: str, dialect: str) -> str:
    """A name of the catalog as a query writes it: bare where it can be, in lower case if the case does not count."""
    reader = dialect_of(dialect)
    strategy = reader.normalization_strategy
    is_exact = reader.case_sensitive(name) and strategy is not NormalizationStrategy.CASE_SENSITIVE
    if is_exact or not exp.SAFE_IDENTIFIER_RE.match(name):
        return _quoted(name, dialect)
    return name.lower() if strategy is NormalizationStrategy.UPPERCASE else name


def _quoted(name: str, dialect: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect=dialect_of(dialect))
