"""The manual and the README say what is so, and their examples do what they show."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from syncer.cli.exit_codes import CODES, MEANINGS
from syncer.definitions import folder
from syncer.definitions.fields import FIELDS
from syncer.docs import topics
from syncer.docs.pages import anchor
from syncer.docs.topics import FOLDER, file_of
from syncer.model.types import RunStatus
from tests.cli import forked
from tests.docs import tables

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
FILES = [README, *sorted(FOLDER.glob("*.md"))]
TEXTS = {path.name: path.read_text() for path in FILES}

#: What a run prints differently each time, and what stands for it.
VARYING = [(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"), (r"(?m) +\d+\.\d$", " SECONDS")]

BLOCK = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
DEFINITIONS = [block for text in TEXTS.values() for language, block in BLOCK.findall(text) if language == "sql"]


@pytest.fixture(scope="module")
def parts() -> Iterator[Mapping[str, Callable[[], str]]]:
    with tables.parts() as made:
        yield made


@pytest.mark.parametrize("path", tables.pages(), ids=lambda path: path.name)
def test_the_generated_parts_are_up_to_date(path: Path, parts: Mapping[str, Callable[[], str]]) -> None:
    assert path.read_text() == tables.updated(path.read_text(), parts), "run `python -m tests.docs`"


def test_every_generated_part_is_on_a_page(parts: Mapping[str, Callable[[], str]]) -> None:
    assert all(any(f"<!-- generated: {part} -->" in text for text in TEXTS.values()) for part in parts)


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 250


def test_every_file_of_the_manual_is_a_topic_and_in_the_readme() -> None:
    files = {file_of(name) for name in topics.topics()}

    assert files == {path.name for path in FOLDER.glob("*.md")}
    assert all(f"](syncer/docs/{file})" in TEXTS["README.md"] for file in files)


def test_every_link_leads_somewhere() -> None:
    lost = []
    for path in FILES:
        for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[path.name]):
            if "://" in target:
                continue
            file, _, fragment = target.partition("#")
            aimed = (path.parent / file).resolve() if file else path
            if not aimed.exists() or (fragment and fragment not in anchors(aimed)):
                lost.append(f"{path.name}: {target}")

    assert lost == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page."""
    text = BLOCK.sub("", path.read_text())
    return {anchor(heading.replace("`", "")) for heading in re.findall(r"(?m)^#+ (.*)$", text)}


def test_every_topic_that_a_hint_names_exists() -> None:
    code = [path.read_text() for package in ("syncer", "connectors") for path in (REPOSITORY / package).rglob("*.py")]
    named = {name for text in code for name in re.findall(r"See `syncer docs ([^`]+)`", text)}

    assert len(named) > 3
    assert named <= topics.topics().keys()


def test_every_exit_code_field_and_status_is_in_the_manual() -> None:
    codes = {*CODES.values()}

    assert codes < MEANINGS.keys()
    assert all(f"| `{status}` |" in TEXTS["commands.md"] for status in RunStatus if status is not RunStatus.RUNNING)
    assert all(f"| `{field}` |" in TEXTS["writing-a-sync.md"] for field in FIELDS)


def test_every_connection_has_a_row_and_a_page() -> None:
    from syncer.settings import registry

    for schemes, page in ((registry.warehouses(), "warehouses.md"), (registry.stores(), "stores.md")):
        rows = "\n".join(re.findall(r"(?m)^\| `.*\]\(.*\.md\).*$", TEXTS[page]))
        assert {scheme for scheme in schemes if f"`{scheme}://" in rows} == {*schemes} - {"postgres", "*"}


def test_every_dependency_has_a_reason() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    listed = re.findall(r'(?m)^    "([a-z0-9-]+)', project.split("\ndependencies = [")[1].split("\n]")[0])

    assert "duckdb" in listed
    assert not [name for name in listed if f"`{name}`" not in TEXTS["decisions.md"].split("\n## Libraries\n")[1]]


@pytest.mark.parametrize("number", range(len(DEFINITIONS)))
def test_every_definition_loads(tmp_path: Path, number: int) -> None:
    (tmp_path / "example.sql").write_text(DEFINITIONS[number])

    loaded = folder.load(tmp_path, warehouses=["default"], stores=["default"])

    assert not loaded.errors
    assert [definition.name for definition in loaded.definitions] == ["example"]


def test_the_pages_with_console_examples_are_run_below() -> None:
    assert {name for name, text in TEXTS.items() if "```console" in text} == {"README.md", "first-steps.md"}


@pytest.mark.early
@pytest.mark.parametrize("page", ["README.md", "first-steps.md"])
def test_a_tour_prints_what_it_shows(tmp_path: Path, page: str) -> None:
    repository = here = tmp_path / "syncer"
    shutil.copytree(REPOSITORY / "sync_definitions", repository / "sync_definitions")
    before = contents(repository)
    for language, block in BLOCK.findall(TEXTS[page]):
        if language == "sql":
            (here / "sync_definitions/loyalty.sql").write_text(block)
        elif language == "sh":
            for command in block.splitlines():
                program, *words = shlex.split(command)
                if program == "cd":
                    here = (here / words[0]).resolve()
                elif program == "syncer":
                    printed(command, here)
        elif language == "console":
            for shown in re.split(r"(?m)^\$ ", block)[1:]:
                command, _, expected = shown.partition("\n")
                if "pytest" not in command:
                    assert steady(printed(command, here)) == steady(expected), command
    assert contents(repository) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder but for its state, which git ignores."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".syncer" not in path.parts]
    return {path: path.read_bytes() for path in files}


def printed(command: str, folder: Path) -> str:
    """What a line of a shell prints, with this Python's Syncer."""
    command = command.removeprefix("pip install . && ")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    program, *words = shlex.split(command)
    if program == "syncer":
        return forked.run(*words, folder=folder, environment=environment, in_one=True).out
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return ran.stdout


def steady(text: str) -> str:
    for pattern, sign in VARYING:
        text = re.sub(pattern, sign, text)
    return text
