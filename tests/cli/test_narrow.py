"""Tables on a terminal that is too narrow for them."""

from __future__ import annotations

import pytest

from syncer.cli import output
from tests.cli.conftest import Folder
from tests.cli.test_output import on_a_terminal

HEADINGS = ("started", "sync", "status", "by", "queried", "added", "changed", "removed", "rejected", "seconds", "")
RIGHT = HEADINGS[4:10]
RUNS = [
    (
        "2026-11-29 19:23:06Z",
        "customers",
        "failed",
        "manual",
        "2000",
        *"0000",
        "3.5",
        "the result has no row of this key",
    ),
    ("2026-11-29 19:22:47Z", "memberships", "success", "schedule", "1397", "1397", *"000", "0.7", ""),
]


@pytest.mark.parametrize("most", [120, 80, 60, 40])
def test_a_table_fits_and_breaks_no_word(capsys: pytest.CaptureFixture[str], most: int) -> None:
    output.print_narrow_table(HEADINGS, RUNS, RIGHT, most)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= most
    words = " ".join(lines).replace(",", "").split()
    for cell in [cell for run in RUNS for cell in run if cell != "0"]:
        assert set(cell.split()) <= set(words)


def test_the_numbers_of_a_narrow_table_are_one_column_without_zeros(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_narrow_table(HEADINGS, RUNS, RIGHT, 80)

    first, *_ = lines = capsys.readouterr().out.splitlines()
    assert first.split() == ["started", "sync", "status", "by", "counts"]
    assert "2000 queried" in " ".join(lines)
    assert "0 added" not in " ".join(lines).replace("2000 added", "")


def test_what_fits_in_no_way_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_narrow_table(("sync", "url"), [("a", "x" * 50), ("b", "y y")], (), 40)

    assert capsys.readouterr().out.splitlines() == ["sync  a", f"url   {'x' * 50}", "", "sync  b", "url   y y"]


def test_a_run_on_a_narrow_terminal_is_a_line_that_wraps(folder: Folder) -> None:
    _, wide = on_a_terminal(folder, "run", "customers", env={"COLUMNS": "80", "NO_COLOR": "1"})
    _, small = on_a_terminal(folder, "run", "customers", env={"COLUMNS": "42", "NO_COLOR": "1"})

    assert wide.splitlines()[0].startswith("customers  success  3 queried, 3 added, 3 accepted, ")
    first, *others = small.splitlines()
    assert first.startswith("customers  success  3 queried, ")
    assert others
    assert all(line.startswith(" " * 20) for line in others)
    assert all(len(line) <= 42 for line in small.splitlines())
