"""A package that is not ours adds a warehouse and a store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin"

DEFINITION = """\
/* sync
entity: person
person: {id: user_id}
*/
SELECT user_id, plan FROM people
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A working folder, and the packages beside our own."""

    path: Path
    packages: Path

    def syncer(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.packages),
            "SYNCER_WAREHOUSES__DEFAULT__URL": "acme:///people.json",
            "SYNCER_STORES__DEFAULT__URL": "acme:///store.json",
            "SYNCER_STORES__DEFAULT__PASSWORD_FILE": "password",
        } | {name: value for name, value in settings.items() if value}
        command = [sys.executable, "-m", "syncer", *words]
        return subprocess.run(command, cwd=self.path, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package is installed."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("packages")
    shutil.copytree(PACKAGE, source)
    words = ("--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--target", str(target))
    subprocess.run([sys.executable, "-m", "pip", "install", *words, str(source)], check=True)
    return target


@pytest.fixture
def world(tmp_path: Path, packages: Path) -> World:
    (tmp_path / "sync_definitions").mkdir()
    (tmp_path / "sync_definitions" / "plans.sql").write_text(DEFINITION)
    (tmp_path / "people.json").write_text(json.dumps([{"user_id": "ann", "plan": "free"}]))
    (tmp_path / "password").write_text("open sesame\n")
    return World(path=tmp_path, packages=packages)


def test_an_installed_package_adds_a_warehouse_and_a_store(world: World) -> None:
    first = world.syncer("run", "plans", "--json")
    (world.path / "people.json").write_text(json.dumps([{"user_id": "ann", "plan": "paid"}]))
    second = world.syncer("run", "plans", "--json")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(second.stdout)["changed"] == 1
    assert json.loads((world.path / "store.json").read_text()) == {"ann": {"plan": "paid"}}


def test_every_command_knows_its_connections(world: World) -> None:
    tested = world.syncer("connections", "--test", "--json")
    planned = world.syncer("plan", "plans", "--json")
    validated = world.syncer("validate", "--connect")

    found = [json.loads(line) for line in tested.stdout.splitlines()]
    assert [(one["kind"], one["reachable"], one["version"]) for one in found] == [
        ("warehouse", True, ""),
        ("store", True, ""),
    ]
    assert json.loads(planned.stdout)["added"] == 1
    assert (planned.returncode, validated.returncode) == (0, 0), planned.stderr + validated.stderr


def test_what_a_template_renders_is_checked_at_every_run(world: World) -> None:
    (world.path / "sync_definitions" / "plans.sql").write_text(DEFINITION + "{{ var('more', '') }}\n")
    first = world.syncer("run", "plans")
    second = world.syncer("run", "plans", SYNCER_VARS__MORE="; DELETE FROM people")

    assert (first.returncode, second.returncode) == (0, 2), first.stderr + second.stderr
    assert "this is a second statement" in second.stderr


def test_its_settings_are_checked_as_ours_are(world: World) -> None:
    wrong = world.syncer("list", SYNCER_STORES__DEFAULT__PASSWORT="hush", SYNCER_WAREHOUSES__DEFAULT__TOKEN="hush")

    assert wrong.returncode == 2
    assert (
        "SYNCER_STORES__DEFAULT__PASSWORT: is not a setting; did you mean SYNCER_STORES__DEFAULT__PASSWORD?"
        in wrong.stderr
    )
    assert "`token` is only for snowflake URLs" in wrong.stderr
    assert "hush" not in wrong.stderr


def test_a_package_that_cannot_be_loaded_is_named(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(world.packages, broken)
    (broken / "acme_connectors" / "__init__.py").write_text("import nothing_of_this_name\n")

    said = World(path=world.path, packages=broken).syncer("list")

    assert said.returncode == 2
    assert "the connector `acme` of the package `acme-connectors` cannot be loaded" in said.stderr
