from __future__ import annotations

import pytest

from syncer.cli.exit_codes import Outcome, exit_code


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([Outcome.WELL], 0),
        ([Outcome.WELL, Outcome.ROWS_REJECTED], 1),
        ([Outcome.ROWS_REJECTED, Outcome.IN_PROGRESS], 4),
        ([Outcome.IN_PROGRESS, Outcome.HELD, Outcome.ROWS_REJECTED], 3),
        ([Outcome.HELD, Outcome.FAILED], 1),
        ([Outcome.FAILED, Outcome.UNUSABLE, Outcome.HELD], 2),
    ],
)
def test_of_several_outcomes_the_worst_gives_the_exit_code(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(outcomes) == exit_code(reversed(outcomes)) == code
