"""A module is one thing, and a package is an idea that one line says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("syncer/**/*.py"), *ROOT.glob("connectors/**/*.py")])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350, f"what is {path.name} two of?"


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_package_says_in_one_line_what_it_is(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""

    assert said.partition("\n")[0].endswith(".")
