"""`FAULTS.md` names tests that exist, and a test for every fault of its list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS / "FAULTS.md").read_text()
NAMED = re.findall(r"`([^`]+\.py)::(\w+)`", PAGE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "|---"))]


def functions(path: str) -> set[str]:
    found = ast.walk(ast.parse((TESTS / path).read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    known = {path: functions(path) for path, _ in NAMED if (TESTS / path).is_file()}

    assert [f"{path}::{name}" for path, name in NAMED if name not in known.get(path, ())] == []


def test_every_row_names_tests_or_says_that_there_is_none() -> None:
    assert [row for row in ROWS if not NAMED_IN_ROW.fullmatch(row)] == []


NAMED_IN_ROW = re.compile(r"\| [^|]+ \| (no test yet|`[^`|]+\.py::test_\w+`(<br>`[^`|]+\.py::test_\w+`)*) \|")


def test_every_number_of_the_list_of_faults_has_a_row() -> None:
    listed = PAGE.partition("## The list of faults")[2].partition("### Lessons")[0]

    assert {int(number) for number in re.findall(r"(?m)^\| (\d+)\. ", listed)} == set(range(1, 45))
