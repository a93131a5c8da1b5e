from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Folder


def test_init_writes_a_folder_that_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Folder(path=tmp_path_factory.mktemp("work"))

    written = folder.syncer("init", "shop")
    ran = Folder(path=folder.path / "shop").syncer("run", "tag:b2b", "--exclude", "memberships", "--json")
    again = folder.syncer("init", "shop")

    assert written.code == 0
    assert "shop/sync_definitions/customers.sql" in written.out.splitlines()
    assert written.out.splitlines()[-1] == "  cd shop && syncer run --all"
    assert [run["sync"] for run in ran.objects] == ["accounts"]
    assert again.code == 2
    assert "no file was written" in again.err


def test_validate_shows_every_error_with_its_line(folder: Folder) -> None:
    folder.define("bad", "SELECT 1", "entity: person\npersn: {id: id}")
    folder.define("two", "SELECT 1;\nSELECT 2")

    checked = folder.syncer("validate")
    as_json = folder.syncer("validate", "--json")

    assert checked.code == as_json.code == 2
    assert "Did you mean `person`?" in checked.out
    assert "sync_definitions/two.sql:6: error: this is a second statement" in checked.out
    assert checked.out.splitlines()[-1].startswith("3 definitions, ")
    assert {finding["file"] for finding in as_json.objects} == {"sync_definitions/bad.sql", "sync_definitions/two.sql"}
    assert list(as_json.objects[0]) == ["file", "line", "level", "message", "hint"]
    assert as_json.err == checked.out.splitlines()[-1] + "\n"


def test_validate_of_a_selection_leaves_other_files_alone(folder: Folder) -> None:
    folder.define("bad", "SELECT 1", "entity: persn")

    checked = folder.syncer("validate", "customers")

    assert (checked.code, checked.out) == (0, "1 definition, 0 errors, 0 warnings\n")


def test_validate_warns_of_attributes_that_two_syncs_write(folder: Folder) -> None:
    folder.define("others", "SELECT id, plan FROM people")

    checked = folder.syncer("validate")

    assert checked.code == 0
    assert "warning: `customers` and `others` write the same attributes of people" in checked.out
    assert "3 definitions" not in checked.out


def test_validate_asks_for_a_limit_where_each_person_costs_money(folder: Folder) -> None:
    store = "SYNCER_STORES__DEFAULT__"
    customerio = {f"{store}URL": "customerio://us", f"{store}SITE_ID": "s", f"{store}API_KEY": "k"}

    checked = folder.syncer("validate", env=customerio)

    assert checked.code == 0
    assert "warning: a wrong join could add any number of people, and this store charges for each" in checked.out
    assert "warning" not in folder.syncer("validate").out.replace("0 warnings", "")


def test_validate_connect_asks_the_warehouse_for_the_columns(folder: Folder) -> None:
    folder.define("gone", "SELECT * FROM nothing")
    folder.define("misspelt", "SELECT * FROM people", "entity: person\nperson: {id: idd}")
    folder.define("others", "SELECT * FROM people")

    offline = folder.syncer("validate")
    connected = folder.syncer("validate", "--connect", "--json")

    assert offline.code == 0
    assert connected.code == 2
    found = {(finding["file"].rpartition("/")[2], finding["line"]): finding for finding in connected.objects}
    assert found["misspelt.sql", 3]["hint"] == "Did you mean `id`?"
    assert found["gone.sql", 5]["level"] == "error"
    assert [finding["level"] for finding in found.values()].count("warning") == 2


def test_list_shows_the_schedule_and_the_last_end(folder: Folder) -> None:
    header = "entity: person\nperson: {id: id}\nschedule: "
    folder.define("nightly", "SELECT id FROM people", header + '{cron: "0 6 * * *"}\ntimezone: Europe/Berlin')
    folder.define("byhand", "SELECT id FROM people", header + "manual")
    folder.define("off", "SELECT id FROM people", header + "every 5 minutes\nenabled: false")
    folder.define("bad", "SELECT 1", "entity: persn")
    before = folder.syncer("list")
    folder.syncer("run", "customers")

    syncs = {sync["sync"]: sync for sync in folder.syncer("list", "--json").objects}

    assert before.code == 2
    assert "error: sync_definitions/bad.sql:2:" in before.err
    lines = {line.split()[0]: line for line in before.out.splitlines()}
    assert lines["customers"].endswith("  every 1 hour                        due")
    assert lines["off"].endswith("  every 5 minutes                     not enabled")
    assert list(syncs) == ["byhand", "customers", "nightly", "off"]
    assert syncs["customers"]["last_status"] == "success"
    assert syncs["customers"]["next_run"] > syncs["customers"]["last_run"]
    assert (syncs["byhand"]["schedule"], syncs["byhand"]["next_run"]) == ("manual", None)
    assert syncs["nightly"]["schedule"] == "0 6 * * *"
    assert syncs["nightly"]["next_run"].endswith(("T04:00:00+00:00", "T05:00:00+00:00"))
    assert syncs["off"]["next_run"] is None


def test_schema_is_the_headers_json_schema(folder: Folder) -> None:
    printed = folder.syncer("schema")

    schema = json.loads(printed.out)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "on_removed" in schema["properties"]
    assert folder.syncer("schema", "header").out == printed.out


def test_schema_attributes_is_that_of_the_file(folder: Folder) -> None:
    schema = json.loads(folder.syncer("schema", "attributes").out)

    assert {*schema["additionalProperties"]["properties"]} == {"from", "type", "normalise"}
    assert folder.syncer("schema", "attributes.yml").code == 2


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SYNCER_DEFINITIONS_DIR": "nowhere"}, "there is no folder of sync definitions at nowhere"),
        ({"SYNCER_STAT_DIR": "x", "SYNCER_VAR": "y"}, "error: SYNCER_STAT_DIR: is not a setting; did you mean"),
        ({"SYNCER_STATE_DIR": "sync_definitions/customers.sql"}, "is not a folder"),
        ({"SYNCER_DATABASE_URL": "mysql://root:hunter2@localhost/x"}, "SYNCER_DATABASE_URL"),
    ],
)
def test_settings_that_cannot_be_used_end_with_2(folder: Folder, env: dict[str, str], message: str) -> None:
    ran = folder.syncer("run", "customers", env=env)

    assert ran.code == 2
    assert message in ran.err
    assert "hunter2" not in ran.err


def test_all_problems_of_the_settings_are_reported_together(folder: Folder) -> None:
    ran = folder.syncer("list", env={"SYNCER_STAT_DIR": "x", "SYNCER_VAR": "y"})

    assert ran.code == 2
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == ["error", "error"]


@pytest.mark.parametrize("name", ["what?x", "a?b=c&d", "100%25", "a#b", "st*r[1]"])
def test_a_working_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    project = Folder(path=tmp_path / name)
    project.people({"1": "free"})
    project.define("customers", "SELECT id, plan FROM people")
    home = {"HOME": str(tmp_path / "home")}

    first, second = (project.syncer("run", "--all", "--json", env=home).objects[0] for _ in range(2))

    assert (first["status"], first["accepted"], second["status"], second["unchanged"]) == ("success", 1, "success", 1)
    kept = [*tmp_path.rglob("customers.duckdb")]
    assert len(kept) == 1
    assert kept[0].is_relative_to(tmp_path / ("home" if "?" in name else name))
    assert kept[0].parent.stat().st_mode & 0o077 == 0
