"""What no command may tell of when the warehouse refuses a query: a value of the environment that the query holds."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from syncer.queries.faults import HIDDEN
from tests.acceptance.commands import Project
from tests.queries.test_faults import SHAPES, SHAPES_OF

PERSON = "entity: person\nperson: {id: id}"

#: The file's line of a query's first.
FIRST_LINE = 5


@pytest.fixture(params=["duckdb", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path, product: str, request: pytest.FixtureRequest) -> Project:
    """A folder whose queries hold the canary, each in its own place."""
    project = Project(path=tmp_path, environment={"NAME": "canary", "SYNCER_QUERY_VARIABLES": "NAME"})
    project.table("people", "id,plan", "1,free")
    if product == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE people AS SELECT 1 AS id, 'free' AS plan")
    for name, sql in (SHAPES | SHAPES_OF[product]).items():
        # Else it would be an error of the file.
        if name != "not closed":
            project.define(name.replace(" ", "_"), PERSON, sql)
    return project


@pytest.mark.early
def test_no_command_tells_of_a_value_that_stands_in_a_query(project: Project) -> None:
    checked = project.syncer("validate", "--connect", "--json")
    ran = project.syncer("run", "--all", "--json")
    planned = project.syncer("plan", "*")
    history = project.syncer("runs", "--json", "--limit", "100")

    assert (checked.code, ran.code, planned.code) == (2, 1, 1)
    for ended in (checked, ran, planned, history):
        assert HIDDEN in ended.out + ended.err
        assert "canary" not in (ended.out + ended.err).casefold()
    written = [path for path in project.path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"canary" in path.read_bytes().lower()]
    runs = {run["sync"]: run for run in history.objects}
    assert {run["status"] for run in runs.values()} == {"failed"}
    for sync, run in runs.items():
        line = FIRST_LINE + (sync in ("column", "syntax_error"))
        assert run["error"].startswith(f"sync_definitions/{sync}.sql:{line}: warehouse `default`: ")
        for told in (ran.err, planned.err):
            assert f"error: {sync}: {run['error']}\n" in told


def test_a_query_cannot_read_what_no_setting_names(project: Project) -> None:
    project.environment["SYNCER_WEB__PASSWORD"] = "canary-password"
    project.define("theft", PERSON, "SELECT id,\n'{{ env_var(\"SYNCER_WEB__PASSWORD\") }}' AS plan FROM people")
    project.define("other", PERSON, 'SELECT id,\n\'{{ env_var("REGION", "eu") }}\' AS plan FROM people')

    checked = project.syncer("validate", "theft", "other")
    planned, ran = project.syncer("plan", "theft"), project.syncer("run", "other")

    assert (checked.code, planned.code, ran.code) == (2, 2, 2)
    assert f"other.sql:{FIRST_LINE + 1}: error: queries may not read the variable `REGION`" in checked.out
    assert "Add `REGION` to `SYNCER_QUERY_VARIABLES`" in checked.out
    assert "it is a setting of Syncer" in planned.err
    assert "canary" not in "".join(ended.out + ended.err for ended in (checked, planned, ran))
    project.environment["SYNCER_QUERY_VARIABLES"] = "NAME,REG*"
    assert project.syncer("validate", "other").code == 0


def test_a_query_whose_lines_jinja_moved_is_told_at_its_first(project: Project) -> None:
    columns = "{% for name in ['a', 'b'] %}\n    {{ name }} AS {{ name }}_again,\n{% endfor %}"
    project.define("moved", PERSON, f"SELECT\n{columns}\n    plam\nFROM people")

    ran, checked = project.syncer("run", "moved"), project.syncer("validate", "moved", "--connect")

    assert (ran.code, checked.code) == (1, 2)
    assert f"error: moved: sync_definitions/moved.sql:{FIRST_LINE}: warehouse `default`: " in ran.err
    assert f"sync_definitions/moved.sql:{FIRST_LINE}: error: warehouse `default`: " in checked.out
