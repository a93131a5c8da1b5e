"""What the lock file pins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text()


def test_every_dependency_is_locked_on_every_system() -> None:
    dependencies = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = set(re.findall(r"(?m)^([a-z0-9-]+)(?:\[[^\]]*\])?==", LOCK))

    assert {re.split(r"[\[>=<;]", one)[0] for one in dependencies} <= pinned
    # Time zones too: a slim image has none of its own.
    assert "tzdata" in pinned
    assert not [one for one in dependencies if ";" in one]


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK
