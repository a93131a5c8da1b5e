"""The exit codes that scripts rely on."""

from __future__ import annotations

import enum

from syncer.model.errors import DefinitionError, RunInProgressError, SelectionError, ServiceRunningError, SettingsError

FAILED = 1
UNUSABLE = 2
IN_PROGRESS = 4

#: What each code means, for the manual.
MEANINGS = {
    0: "success",
    FAILED: "a run failed; rows are rejected; `show`, `explain`, `duplicates` found nothing, or `verify` a difference",
    UNUSABLE: "the command line, a setting or a definition has an error",
    3: "a limit, or a wrong clock, held a run",
    IN_PROGRESS: "the sync is already running, or another service uses the state folder",
    130: "ended by SIGINT",
    143: "ended by SIGTERM",
}


class Outcome(enum.IntEnum):
    """How one sync of a command ended. The command exits with the code of the greatest."""

    WELL = 0
    ROWS_REJECTED = 1
    IN_PROGRESS = 2
    HELD = 3
    FAILED = 4
    UNUSABLE = 5


CODES = {
    Outcome.WELL: 0,
    Outcome.ROWS_REJECTED: FAILED,
    Outcome.IN_PROGRESS: IN_PROGRESS,
    Outcome.HELD: 3,
    Outcome.FAILED: FAILED,
    Outcome.UNUSABLE: UNUSABLE,
}


def outcome_of(error: Exception) -> Outcome:
    """How a sync ended that raised *error*."""
    if isinstance(error, SettingsError | DefinitionError | SelectionError):
        return Outcome.UNUSABLE
    return Outcome.IN_PROGRESS if isinstance(error, RunInProgressError | ServiceRunningError) else Outcome.FAILED
