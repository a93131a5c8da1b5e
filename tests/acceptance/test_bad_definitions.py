"""What an analyst is told of a definition that cannot be used, and that it stops no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import held

PERSON = "entity: person\nperson: {id: id}"
QUERY = "SELECT id, plan FROM people"


def text(header: str = PERSON, query: str = QUERY) -> str:
    return f"/* sync\n{header}\n*/\n{query}\n"


def bomb(levels: int) -> str:
    lines = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(["l0: &l0 [x, x]", *lines, PERSON])


#: A definition to the line and the words that it is told by; the file's name is the sync's.
MISTAKES: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "the file is empty"),
    "blank": (" \r\n\n", 1, "the file is empty"),
    "no_header": (QUERY, 1, "the header is missing"),
    "not_first": (f"\n{text()}", 1, "the header is missing"),
    "not_closed": (f"/* sync\n{PERSON}\n{QUERY}", 1, "the header is not closed"),
    "no_query": (text(query="-- SELECT 1\n/* none */ ;"), 4, "there is no query"),
    "utf_16": (text().encode("utf-16"), 1, "not UTF-8"),
    "latin_1": (text(f"{PERSON}\nowner: Zoë").encode("latin-1"), 4, "not UTF-8"),
    "huge": (text(query=f"SELECT '{'x' * 1_000_000}' AS id"), 1, "over 1 MB"),
    "unknown": (text(f"{PERSON}\nshedule: every day"), 4, "`shedule` is unknown"),
    "repeated": (text(f"{PERSON}\nentity: object"), 4, "`entity` is repeated"),
    "bomb": (text(bomb(9)), 2, "aliases"),
    "deep": (text(f"{PERSON}\ntags: {'[' * 3000}{']' * 3000}"), 4, "nested too deeply"),
    "norway": (text(f"{PERSON}\nenabled: no"), 4, "expected `true` or `false`"),
    "sexagesimal": (text(f"{PERSON}\ntimeout: 22:22"), 4, "`timeout`"),
    "traversal": (text(f"{PERSON}\nname: ../../etc/passwd"), 4, "`name`"),
    "warehouse": (text(f"{PERSON}\nwarehouse: defualt"), 4, "no warehouse is called `defualt`"),
    "store": (text(f"{PERSON}\nstore: defualt"), 4, "no store is called `defualt`"),
    "too_often": (text(f"{PERSON}\nschedule: every 59 seconds"), 4, "the shortest is 1 minute"),
    "cron": (text(f"{PERSON}\nschedule: {{cron: '61 * * * *'}}"), 4, "not a cron expression"),
    "waits_for_none": (text(f"{PERSON}\ndepends_on: [good, godo]"), 4, "`godo`"),
    "incremental": (text(f"{PERSON}\non_removed: delete", f"{QUERY}\nWHERE 1 < {{{{ last_sync_time }}}}"), 4, "`keep`"),
    "misspelled": (text(query=f"{QUERY}\nWHERE id > {{{{ last_sync_tme }}}}"), 6, "`last_sync_tme` is unknown"),
    "no_value": (text(query=f"{QUERY}\nWHERE id > {{{{ var('nowhere') }}}}"), 6, "`var('nowhere')` has no value"),
    "python": (text(query=f"{QUERY}\n-- {{{{ ''.__class__.__mro__ }}}}"), 6, "a query cannot use"),
    "endless": (text(query=f"{QUERY} {'{% for i in range(9999) %}' * 3}x{'{% endfor %}' * 3}"), 5, "take too long"),
    "not_jinja": (text(query=f"{QUERY}\n{{% if %}}"), 6, "the template cannot be read"),
    "two": (text(query=f"{QUERY};\nSELECT 2 AS id"), 6, "a second statement"),
    "not_ended": (text(query=f"{QUERY} WHERE plan = 'x"), 5, "not closed"),
    "deletes": (text(query="DELETE FROM people"), 5, "does not begin with `DELETE`"),
    "deletes_within": (text(query="WITH d AS (DELETE FROM people RETURNING id) SELECT id FROM d"), 5, "DELETE"),
    "creates": (text(query="CREATE TABLE other AS SELECT 1 AS id"), 5, "does not begin with `CREATE`"),
    "into": (text(query="SELECT id INTO other FROM people"), 5, "INTO"),
    "locks": (text(query=f"{QUERY} FOR UPDATE"), 5, "locks rows"),
    "copies": (text(query="COPY people TO 'people.csv'"), 5, "does not begin with `COPY`"),
}  # fmt: skip

#: A mistake to what was probably meant.
MEANT = {
    "unknown": "schedule",
    "warehouse": "default",
    "store": "default",
    "waits_for_none": "good",
    "misspelled": "last_sync_time",
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A folder with a table of two people; no test may make a command tell of their plans."""
    project = Project(path=tmp_path)
    project.table("people", "id,plan", "1,canary-a", "2,canary-b")
    yield project
    assert "canary" not in project.told()


def people(project: Project) -> set[str]:
    return set(held(f"sqlite:///{project.path}/.syncer/profiles.db").people)


def test_each_mistake_is_told_at_its_line_and_keeps_no_other_sync_from_running(project: Project) -> None:
    for name, (content, _, _) in MISTAKES.items():
        project.write(f"sync_definitions/{name}.sql", content)
    project.define("good", PERSON, f"{QUERY} WHERE id = 1")
    other_system = text(query="SELECT id,\nplan FROM people\nWHERE id = 2 -- ;\n;;").replace("\n", "\r\n")
    project.write("sync_definitions/of_another_system.sql", f"\ufeff{other_system}")

    checked = project.syncer("validate", "--json")
    ran = project.syncer("run", "--all", "--json")

    assert (checked.code, ran.code) == (2, 2)
    errors = [finding for finding in checked.objects if finding["level"] == "error"]
    told = {Path(finding["file"]).stem: finding for finding in errors}
    assert told.keys() == MISTAKES.keys()
    for name, (_, line, words) in MISTAKES.items():
        assert told[name]["line"] == line, told[name]
        assert words in told[name]["message"]
        assert f"sync_definitions/{name}.sql:{line}: {told[name]['message']}" in ran.err
    assert len([finding for finding in errors if not finding["hint"]]) < 4
    for name, meant in MEANT.items():
        assert f"Did you mean `{meant}`?" in told[name]["hint"]
    statuses = {run["sync"]: run["status"] for run in ran.objects}
    assert {sync for sync, status in statuses.items() if status == "success"} == {"good", "of_another_system"}
    assert set(statuses.values()) == {"success", "failed"}
    assert people(project) == {"1", "2"}
    assert not (project.path / "people.csv").exists()
    for run in project.syncer("runs", "--json", "--limit", "100").objects:
        assert run["error"] is None or run["error"].startswith(f"sync_definitions/{run['sync']}.sql:")
    assert project.syncer("run", "good", "--json").code == 0


def test_names_that_differ_by_letter_case_only_stand_in_each_other_s_way(project: Project) -> None:
    project.define("good", PERSON, QUERY)
    project.define("sub/good", PERSON, QUERY)
    project.define("GOOD", PERSON, QUERY)
    project.define("third", PERSON, QUERY)

    ran = project.syncer("run", "--all", "--json")

    assert ran.code == 2
    assert [run["sync"] for run in ran.objects] == ["third"]
    for path in ("good", "sub/good", "GOOD"):
        assert f"error: sync_definitions/{path}.sql:1: the name" in ran.err
    assert project.syncer("run", "good").code == 2


def test_nothing_is_read_from_outside_of_the_folder(project: Project) -> None:
    outside = project.write("elsewhere/secret.sql", text())
    definitions = project.path / "sync_definitions"
    (definitions / "link.sql").symlink_to(outside)
    (definitions / "folder").symlink_to(outside.parent)
    (definitions / "round").symlink_to(definitions)
    (definitions / "dangling.sql").symlink_to(definitions / "nowhere.sql")
    (definitions / "folder.sql").mkdir()
    os.mkfifo(definitions / "pipe.sql")
    project.define(".hidden", PERSON, QUERY)
    project.define("good", PERSON, QUERY)

    ran = project.syncer("run", "--all", "--json")

    assert ran.code == 2
    assert [run["sync"] for run in ran.objects] == ["good"]
    told = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 4
    for path, words in (
        ("link.sql", "outside the folder"),
        ("folder", "outside the folder"),
        ("dangling.sql", "cannot be read"),
        ("pipe.sql", "not a regular file"),
    ):
        assert [line for line in told if line.startswith(f"error: sync_definitions/{path}:1: ") and words in line]


#: A header and query to the line that the warehouse's answer is told at, the words, and the exit code of the run.
UNFIT: dict[str, tuple[str, str, int, str, int]] = {
    "no_such_key": ("entity: person\nperson: {id: user_id}", QUERY, 3, "the result has no column `user_id`", 2),
    "no_such_attribute": (f"{PERSON}\nattributes: {{tariff: plam}}", QUERY, 4, "the result has no column `plam`", 2),
    "no_such_exclusion": (f"{PERSON}\nexclude: [plam]", QUERY, 4, "the result has no column `plam`", 2),
    "twice": (PERSON, "SELECT id, id FROM people", 5, "two columns `id`", 2),
    "one_for_both": (
        "entity: relationship\nperson: {id: id}\nobject: {type: plan, id: ID}", QUERY, 4, "named twice", 2,
    ),
    "its_own_name": (PERSON, "SELECT id, 1 AS cio_id FROM people", 2, "`cio_id` is the store's own", 2),
    "no_such_table": (PERSON, "SELECT id FROM peeple", 5, "peeple", 1),
    "no_such_column": (PERSON, "SELECT id,\n  plam FROM people", 6, "plam", 1),
    "no_sql": (PERSON, "SELECT id FROM people WHERE", 5, "syntax error", 1),
}  # fmt: skip


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, project: Project) -> str:
    """Either warehouse, with the same two people."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE people AS SELECT n AS id, 'canary' AS plan FROM generate_series(1, 2) n")
    return str(request.param)


@pytest.mark.usefixtures("warehouse")
def test_what_only_the_warehouse_can_see_is_told_when_it_is_asked(project: Project) -> None:
    for name, (header, query, *_) in UNFIT.items():
        project.define(name, header, query)
    project.define("good", PERSON, QUERY)

    unasked = project.syncer("validate", "--json")
    asked = project.syncer("validate", "--connect", "--json")
    ran = project.syncer("run", "--all", "--json")

    assert not [finding for finding in unasked.objects if finding["level"] == "error"]
    assert (unasked.code, asked.code, ran.code) == (0, 2, 2)
    told = {Path(finding["file"]).stem: finding for finding in asked.objects if finding["level"] == "error"}
    runs = {run["sync"]: run for run in ran.objects}
    assert told.keys() == UNFIT.keys()
    for name, (_, _, line, words, _) in UNFIT.items():
        assert (told[name]["line"], words in told[name]["message"]) == (line, True), told[name]
        assert runs[name]["status"] == "failed"
        assert runs[name]["error"] == f"sync_definitions/{name}.sql:{line}: {told[name]['message']}"
        assert f"error: {name}: {runs[name]['error']}\n" in ran.err
        assert (runs[name]["queried"], runs[name]["accepted"]) == (0, 0)
    for name in ("no_such_attribute", "no_such_exclusion"):
        assert "Did you mean `plan`?" in told[name]["hint"]
    assert runs["good"]["status"] == "success"
    assert people(project) == {"1", "2"}
    for name in ("no_such_key", "no_such_table"):
        assert project.syncer("run", name).code == UNFIT[name][-1]


def test_a_result_without_columns_is_told(project: Project, postgres_url: str) -> None:
    project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"] = postgres_url
    project.define("nothing", PERSON, "SELECT")

    checked, ran = project.syncer("validate", "--connect"), project.syncer("run", "nothing")

    assert (checked.code, ran.code) == (2, 1)
    assert "sync_definitions/nothing.sql:5: error: warehouse `default`: the query returns no columns" in checked.out
    assert "the query returns no columns" in ran.err
