from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.model import errors


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.WELL], 0),
        ([Outcome.WELL, Outcome.ROWS_REJECTED], 1),
        ([Outcome.ROWS_REJECTED, Outcome.IN_PROGRESS], 4),
        ([Outcome.IN_PROGRESS, Outcome.HELD, Outcome.ROWS_REJECTED], 3),
        ([Outcome.HELD, Outcome.FAILED], 1),
        ([Outcome.FAILED, Outcome.UNUSABLE, Outcome.HELD], 2),
    ],
)
def test_of_several_outcomes_the_worst_gives_the_exit_code(outcomes: list[Outcome], code: int) -> None:
    assert CODES[max(outcomes)] == code


def kinds_of(error: type[errors.SyncerError]) -> Iterator[type[errors.SyncerError]]:
    yield error
    for kind in error.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from kinds_of(kind)


@pytest.mark.parametrize("kind", list(kinds_of(errors.SyncerError)))
def test_each_error_s_exit_code_is_the_documented_one(kind: type[errors.SyncerError]) -> None:
    documented = re.search(rf"^\W*{kind.__name__} .*?(?:exit (\d))?$", errors.__doc__ or "", re.MULTILINE)
    assert documented is not None

    assert CODES[outcome_of(kind.__new__(kind))] == int(documented[1] or 1)
