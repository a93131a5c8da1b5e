"""Every error that Syncer raises on purpose; each branch answers "what happens next?".

SyncerError                    a message for people, and a hint with the next step
├─ SettingsError               the process does not start                                  exit 2
├─ DefinitionError             that file is left out, the others go on                     exit 2
├─ SelectionError              the words on the command line name nothing                  exit 2
├─ RunInProgressError          another process runs this sync                              exit 4
│  └─ StoreMadeMeanwhileError  another process made the store while the run asked          exit 4
├─ ServiceRunningError         another service uses this state folder                      exit 4
├─ SnapshotError               state that cannot be read; never taken for "no rows"
├─ PlaceError                  snapshots cannot be kept or read where several machines share them
│  └─ ObjectGoneError          an object of a snapshot is not there
├─ QueryResultError            the result cannot be used; nothing was sent
└─ ConnectionFailedError       a database refused or cannot be reached
   ├─ WarehouseError           the query failed or was cut off; nothing of its result is used
   │  └─ WarehouseRefusesError the warehouse cannot do what the sync asks as it is defined
   ├─ StoreError               the store failed; what it did not answer for is in doubt
   │  └─ StoreRefusesError     the store can never take this sync as it is defined
   └─ StateDatabaseError       the run log cannot be used; what was being written is not written
      └─ UnusableValueError    the run log can contain no such value

The exit code of all others is 1.

No message holds a secret, a row, or an identifier's value.
"""

from __future__ import annotations

from pathlib import Path


class SyncerError(Exception):
    """Something a person can act on: what happened, and what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        #: One sentence, what is wrong and where.
        self.message = message
        #: The next step, or empty.
        self.hint = hint


class SettingsError(SyncerError):
    """The settings cannot be used; `message` lists every problem, a line each."""


class DefinitionError(SyncerError):
    """A sync definition cannot be used."""

    def __init__(self, message: str, *, path: Path, line: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        #: Counted from 1.
        self.line = line

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class SelectionError(SyncerError):
    """What was selected on the command line does not exist."""


class RunInProgressError(SyncerError):
    """Another process holds this sync's snapshot, or has taken it since."""


class StoreMadeMeanwhileError(RunInProgressError):
    """Another process made the store while the run asked its warehouse; nothing was sent."""


def overtaken(sync: str) -> RunInProgressError:
    """The error of a run of a sync that another run has taken since."""
    return RunInProgressError(
        f"another run of `{sync}`, perhaps from another machine, began before this one ended",
        hint="It sends what this one had no answer for.",
    )


class ServiceRunningError(SyncerError):
    """Another service uses this state folder."""


class SnapshotError(SyncerError):
    """A sync's snapshot cannot be read or written."""


class PlaceError(SyncerError):
    """Where shared snapshots are kept cannot be reached, read or written; what was being written may not be there."""


class ObjectGoneError(PlaceError):
    """There is no object of this name; the place itself answers."""


class QueryResultError(SyncerError):
    """The query's result does not fit its definition; nothing was sent."""


class ConnectionFailedError(SyncerError):
    """A connection failed; `message` names it and never holds its secret."""


class WarehouseError(ConnectionFailedError):
    """The query failed or was cut off; no part of its result may be used."""

    def __init__(
        self, message: str, *, hint: str = "", query_line: int | None = None, query_column: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        #: The line of the query, as it was sent, that is to blame, and the place in it; counted from 1.
        self.query_line, self.query_column = query_line, query_column


class StoreError(ConnectionFailedError):
    """The store failed; rows without a verdict are in doubt."""


class StoreRefusesError(StoreError):
    """The store cannot take this sync as it is defined; nothing was sent."""

    def __init__(self, message: str, *, hint: str = "", field: str = "entity") -> None:
        super().__init__(message, hint=hint)
        #: The header's field that it refuses.
        self.field = field


class WarehouseRefusesError(WarehouseError):
    """The warehouse cannot do what the sync asks as it is defined; nothing was asked."""

    def __init__(self, message: str, *, hint: str = "", field: str = "snapshot") -> None:
        super().__init__(message, hint=hint)
        #: The header's field that it refuses.
        self.field = field


class StateDatabaseError(ConnectionFailedError):
    """The state database cannot be used; what was being written is not written."""


class UnusableValueError(StateDatabaseError):
    """The state database can contain no such value, whoever writes or looks for it."""
