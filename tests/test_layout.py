"""The import rules name every module there is, so that a new one cannot slip past them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

#: What connectors may know of syncer.
SEAMS = {"syncer.types", "syncer.errors", "syncer.interfaces"}
#: What may open connectors.
OPENERS = {"syncer.runner", "syncer.connections", "syncer.cli", "syncer.__main__"}
#: What opens connectors by way of those alone.
SERVICE = {"syncer.alerts", "syncer.metrics", "syncer.service", "syncer.web"}


def _modules() -> set[str]:
    found = {path.stem for path in (ROOT / "syncer").glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / "syncer").glob("*/__init__.py")}
    return {f"syncer.{name}" for name in found}


def test_connectors_are_kept_from_every_module_but_the_seams() -> None:
    assert set(CONTRACTS[0]["forbidden_modules"]) == _modules() - SEAMS - {"syncer.__main__"}


def test_every_module_but_the_runner_and_the_commands_is_kept_from_connectors() -> None:
    assert set(CONTRACTS[1]["source_modules"]) == _modules() - OPENERS - SERVICE
    assert set(CONTRACTS[2]["source_modules"]) == SERVICE


@pytest.mark.parametrize("path", sorted(ROOT.glob("syncer/**/*.py")) + sorted(ROOT.glob("connectors/**/*.py")))
def test_no_module_is_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350, f"what is {path.name} two of?"
