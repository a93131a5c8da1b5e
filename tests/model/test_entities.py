"""The table of entities: a new one has to be decided upon wherever it makes a difference, and nowhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncer.model.entities import Entity, PersonKey, Target

ROOT = Path(__file__).parents[2]

#: The modules that have to decide what an entity means to them.
DECIDING = {
    "connectors/customerio/checks.py",
    "connectors/customerio/items.py",
    "connectors/customerio/reading.py",
    "connectors/customerio/store.py",
    "connectors/sql_store/reading.py",
    "connectors/sql_store/staging.py",
    "connectors/sql_store/store.py",
    "syncer/model/entities.py",
    "syncer/snapshot/session.py",
    "syncer/sync/lookup.py",
    "syncer/web/api/explanations.py",
    "syncer/web/pages/wording.py",
}


def type_errors(folder: Path) -> set[str]:
    """What mypy finds in the packages below a folder, where it knows no types but theirs: that takes a fifth of the
    time, and has errors of its own."""
    options = ["--config-file=", "--cache-dir=cache", "--no-site-packages", "--ignore-missing-imports"]
    check = [sys.executable, "-m", "mypy", "-p", "syncer", "-p", "connectors", *options]
    ran = subprocess.run(check, cwd=folder, capture_output=True, text=True)
    return {line for line in ran.stdout.splitlines() if ": error:" in line}


@pytest.mark.early
def test_a_new_entity_fails_the_type_check_where_somebody_has_to_decide(tmp_path: Path) -> None:
    for package in ("syncer", "connectors"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = type_errors(tmp_path)
    table = tmp_path / "syncer/model/entities.py"
    member = '    EVENT = "event"\n'
    table.write_text(table.read_text().replace(member, f'{member}    LETTER = "letter"\n', 1))

    errors = type_errors(tmp_path) - before

    assert {line.partition(":")[0] for line in errors} == DECIDING
    assert all("assert_never" in line and "Entity.LETTER" in line for line in errors)


def test_nothing_looks_an_entity_up_in_a_mapping_of_its_own() -> None:
    sources = [*ROOT.glob("syncer/**/*.py"), *ROOT.glob("connectors/**/*.py")]

    lookups = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sources
        for line in path.read_text().splitlines()
        if re.search(r"Entity\.[A-Z]+\s*:", line) and not line.lstrip().startswith("case ")
    ]
    assert lookups == []


@pytest.mark.parametrize("entity", Entity)
def test_every_entity_has_its_own_place_and_a_key(entity: Entity) -> None:
    assert [other for other in Entity if other.traits.order == entity.traits.order] == [entity]
    assert entity.traits.identified_by


def test_the_person_of_a_key_that_names_none_is_an_error() -> None:
    assert Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL).person is PersonKey.EMAIL
    with pytest.raises(ValueError, match="names no person"):
        _ = Target(entity=Entity.COLLECTION).person
