"""The database of an SQL store: how it is reached, what it is when it is opened, and how its tables come to be."""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pyarrow as pa

from connectors.sql_store.dialect import SQLDialect
from connectors.sql_store.upgrades import FORMATS
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreError, StoreMadeMeanwhileError
from syncer.model.importing import importing
from syncer.model.types import Identity

#: By URL, the id that a store will have which no run of this process has made yet: its runs begin side by side.
_ids_of_new: dict[str, str] = {}
_ids_lock = threading.Lock()


class StoreDatabase(ABC):
    """The database of a store, which is only read until something is to be stored: then it is made, or upgraded."""

    dialect: ClassVar[SQLDialect]

    def __init__(self, named: ConnectionName, url: str, identity: Identity) -> None:
        """Connect, and look what is there; raises as `SQLStore` does."""
        self._named, self._label = named, named.label
        self._url, self.identity = url, identity
        self.store_id = ""
        #: The id that it would have had if this process had made it; empty where it was there when it was opened.
        self._promised_id = ""
        #: As `upgrades` counts them; 0 where there is no store yet.
        self._format = 0
        #: Whether the first batch lets it know people by more than before.
        self._will_grow = False
        self._open_connection(url)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def is_new(self) -> bool:
        """See `MadeLater.is_new`; another run may have made it since it was opened."""
        if self._format == 0:
            self._look_again()
        return self._format == 0

    def _open(self) -> None:
        """Look which store this is, and check that it is the configured one; a new one gets its id."""
        found = self._workspace()
        if found is None:
            with _ids_lock:
                # One that looks again keeps what it was promised: another run of this process may have made the store.
                self._promised_id = self._promised_id or _ids_of_new.setdefault(self._url, str(uuid.uuid4()))
            self.store_id = self._promised_id
            return
        recorded, self.store_id, number = found
        if number > FORMATS.newest:
            otherwise = "give this one another database"
            raise FORMATS.newer(number, what=self._label, error=StoreError, otherwise=otherwise)
        self._will_grow = recorded != self.identity
        if self._will_grow and self.identity not in Identity(recorded).grows_into:
            setting = self._named.setting
            raise StoreError(
                f"{self._label} has the identity `{recorded}`, but `{self.identity}` is configured",
                hint=f"Set {setting}__IDENTITY to `{recorded}`, or {setting}__URL to a new store: the identity of a "
                f"store cannot change, but for `{Identity.ID_OR_EMAIL}`, which may become "
                f"`{Identity.ID_EMAIL_OR_PHONE}`.",
            )
        self._format = number

    def _look_again(self) -> None:
        """Look which store this is by now; a closed one raises StoreError."""
        self._open()

    def _workspace(self) -> tuple[str, str, int] | None:
        """The recorded identity, store id and format; None in an empty database."""
        if not self._fetch(self.dialect.find_workspace):
            return None
        found = self._fetch("SELECT identity, store_id, version_num FROM workspace CROSS JOIN workspace_version")
        if len(found) != 1 or not str(found[0][2]).isdigit():
            raise StoreError(
                f"{self._label}: its tables `workspace` and `workspace_version` are not those of a profile store",
                hint=f"Check that {self._named.setting}__URL names a profile store, and no other program's database.",
            )
        identity, store_id, number = found[0]
        return identity, store_id, int(number)

    def _bring_up_to_date(self) -> None:
        """Create the tables in the newest format, upgrade them, or let them grow, if necessary; one process at a time.

        Where another process has made the store meanwhile, it is that one from now on.

        Raises:
            StoreMadeMeanwhileError: it is: the run remembers another id of the store, and calls its events by that.
        """
        if self._is_behind:
            self._look_again()
        if self._is_behind:
            self._make()
            with _ids_lock:
                _ids_of_new.pop(self._url, None)
            self._open()
        if self._promised_id not in ("", self.store_id):
            raise StoreMadeMeanwhileError(
                f"{self._label} was made by a run of another process while this run was under way; nothing was sent",
                hint="Run the sync again.",
            )

    @property
    def _is_behind(self) -> bool:
        return self._format < FORMATS.newest or self._will_grow

    def _make(self, *, keep: bool = True) -> None:
        """Create the tables, or upgrade them; without *keep*, only to find out whether that is possible."""
        with importing:
            import sqlalchemy as sa

        with importing:
            from connectors.sql_store import schema

            engine = sa.create_engine(self.dialect.engine, creator=self._connect, poolclass=sa.NullPool)
        with self._explained():
            try:
                workspace = {"identity": str(self.identity), "store_id": self.store_id}
                schema.bring_up_to_date(engine, self.dialect.lock, workspace, keep=keep)
            except sa.exc.DBAPIError as exc:
                raise (exc.orig or exc) from None

    def _try_to_make(self) -> None:
        """Raise StoreError if the store that does not exist cannot be made; changes nothing."""
        self._make(keep=False)

    @abstractmethod
    def close(self) -> None:
        """See `ProfileStore.close`."""

    @abstractmethod
    def _open_connection(self, url: str) -> None:
        """Connect for good; raises as `__init__` does."""

    @abstractmethod
    def _connect(self) -> Any:
        """A connection of the driver's."""

    @abstractmethod
    def _explained(self) -> AbstractContextManager[None]:
        """Turn the driver's errors into StoreErrors."""

    @abstractmethod
    def _transaction(self, *, commit: bool = True) -> AbstractContextManager[None]:
        """A transaction that no other writer is in; driver errors leave it as StoreError, and nothing stored."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[None]:
        """A transaction that sees one moment and holds no writer up."""

    @abstractmethod
    def _stage(self, rows: pa.Table) -> None:
        """Put *rows* into an empty temporary table `batch`."""

    def _stage_keys(self, rows: pa.Table) -> None:
        """Put rows into `batch` of which the attributes do not matter."""
        self._stage(rows)

    @abstractmethod
    def _execute(self, sql: str, **values: str | int) -> int:
        """Run one statement, in which `:name` stands for a value; returns how many rows it touched."""

    @abstractmethod
    def _fetch(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        """Run one query, in which `:name` stands for a value."""
