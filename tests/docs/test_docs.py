from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from syncer.cli import app
from syncer.cli.exit_codes import Outcome, exit_code
from syncer.definitions import folder
from syncer.definitions.fields import FIELDS
from syncer.model.types import Counts, RunStatus
from syncer.settings.connections import StoreSettings, WarehouseSettings
from syncer.settings.service import SECTIONS, TokenSettings
from syncer.settings.settings import Settings

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()

#: What a run prints differently each time, and what stands for it.
VARYING = [(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"), (r"(?m) +\d+\.\d$", " SECONDS")]


def section(heading: str) -> str:
    """What stands below a heading, up to the next of its rank or a higher one."""
    rank = heading.split()[0]
    body = README.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"(?m)^#{{2,{len(rank)}}} ", body)[0]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def commands() -> Iterator[str]:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield from (f"{name} {part}" for part in getattr(command, "commands", {"": None}))


@pytest.mark.parametrize("command", [command.strip() for command in commands()])
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"`syncer {command}\b", section("## Commands"))


def test_every_option_is_in_the_readme() -> None:
    group = typer.main.get_command(app)
    found = {*group.commands.values()}  # type: ignore[attr-defined]
    found |= {inner for command in found for inner in getattr(command, "commands", {}).values()}
    options = {name for command in found for parameter in command.params for name in parameter.opts}

    assert options > {"--full", "--json"}
    assert not [name for name in options if name[:2] == "--" and not re.search(rf"[`[ ]{name}\b", README)]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_header_is_in_the_readme(field: str) -> None:
    assert re.search(rf"(?m)^\|[^|]*`{field}`[^|]*\|", section("## A sync definition"))


def test_every_setting_is_in_the_readme() -> None:
    names = {field.name for field in fields(Settings)} - {"environment", "warehouses", "stores", "vars", *SECTIONS}
    settings = {f"SYNCER_{name.upper()}" for name in names}
    settings |= {f"SYNCER_STORES__<NAME>__{name.upper()}" for name in StoreSettings.model_fields}
    settings |= {f"SYNCER_WAREHOUSES__<NAME>__{name.upper()}" for name in WarehouseSettings.model_fields}
    settings |= {"SYNCER_VARS__<NAME>"}
    for section_, model in SECTIONS.items():
        settings |= {f"SYNCER_{section_.upper()}__{name.upper()}" for name in model.model_fields if name != "tokens"}
    settings |= {f"SYNCER_WEB__TOKENS__<NAME>__{name.upper()}" for name in TokenSettings.model_fields}

    rows = re.findall(r"(?m)^\| ((?:`SYNCER_[^`]*`(?:, )?)+) \|", section("## Settings"))
    assert settings == {name for row in rows for name in re.findall("`([^`]*)`", row)}


def test_every_exit_code_count_and_status_is_in_the_readme() -> None:
    codes = {str(exit_code([outcome])) for outcome in Outcome}
    told = section("### Output for programs")

    assert codes <= set(re.findall(r"(?m)^\| (\d)", section("### Exit codes")))
    assert all(f"`{count.name}`" in told for count in fields(Counts))
    assert all(f"`{status}`" in told for status in RunStatus if status is not RunStatus.RUNNING)


def test_every_connection_has_a_row_in_the_readme() -> None:
    import connectors

    for schemes, heading in ((connectors.WAREHOUSES, "### Warehouses"), (connectors.STORES, "### Stores")):
        assert {
            scheme
            for scheme in schemes
            if f"| `{scheme}:///" in section(heading) or f"| `{scheme}://" in section(heading)
        } == {*schemes} - {"postgres"}


def test_every_dependency_is_in_the_readme() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    listed = re.findall(r'(?m)^    "([a-z0-9-]+)', project.split("\ndependencies = [")[1].split("\n]")[0])

    assert "duckdb" in listed
    assert not [name for name in listed if f"`{name}`" not in section("## Development")]


@pytest.mark.parametrize("number", range(len(blocks("sql"))))
def test_every_definition_in_the_readme_loads(tmp_path: Path, number: int) -> None:
    (tmp_path / "example.sql").write_text(blocks("sql")[number])

    loaded = folder.load(tmp_path, warehouses=["default"], stores=["default"])

    assert not loaded.errors
    assert [definition.name for definition in loaded.definitions] == ["example"]


def test_the_tour_prints_what_the_readme_shows(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "sync_definitions", tmp_path / "sync_definitions")
    python = shlex.quote(sys.executable)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8"}
    tour = README.split("\n## A sync definition")[0]

    for language, block in re.findall(r"(?ms)^```(sql|console)\n(.*?)^```$", tour):
        if language == "sql":
            (tmp_path / "sync_definitions/loyalty.sql").write_text(block)
            continue
        for shown in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, expected = shown.partition("\n")
            if "pytest" in command:
                continue
            command = command.removeprefix("pip install . && ")
            ran = subprocess.run(
                ["bash", "-c", re.sub(r"^syncer ", f"{python} -m syncer ", command)],
                cwd=tmp_path,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
            assert steady(ran.stdout) == steady(expected), command


def steady(text: str) -> str:
    for pattern, sign in VARYING:
        text = re.sub(pattern, sign, text)
    return text
