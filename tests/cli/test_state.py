from __future__ import annotations

import pytest

from tests.cli.conftest import Folder


def test_rejected_shows_who_is_refused_and_why(folder: Folder) -> None:
    folder.people({"1": "free", "": "pro"})
    header = "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}"
    folder.define("members", "SELECT id, 't' AS team FROM people WHERE id = 1", header)
    folder.syncer("run", "--all")
    folder.syncer("run", "--all")

    (no_key,) = folder.syncer("rejected", "customers", "--json").objects
    (no_team,) = folder.syncer("rejected", "members", "--json").objects
    shown = folder.syncer("rejected", "members")

    fields = ["sync", "key", "reason", "attempts", "first_seen", "last_seen", "columns", "values", "acknowledged"]
    assert list(no_key) == fields
    assert (no_key["values"], no_key["acknowledged"]) == ({"id": None, "plan": "pro"}, None)
    assert (no_key["key"], no_key["reason"], no_key["attempts"]) == ("", "`id` is NULL", 2)
    assert (no_team["key"], no_team["attempts"]) == ('["1","t"]', 2)
    assert no_team["first_seen"] < no_team["last_seen"]
    assert shown.out.splitlines()[0].split() == ["key", "attempts", "first", "seen", "last", "seen", "reason"]
    assert shown.out.splitlines()[1].startswith('["1","t"]         2  ')


def test_the_run_log_speaks_of_a_sync_whose_file_is_broken_or_gone(folder: Folder) -> None:
    folder.people({"": "free"})
    folder.syncer("run", "customers")
    path = folder.define("customers", "SELECT 1", "entity: persn")

    broken = folder.syncer("rejected", "customers", "--json")
    path.unlink()
    gone = folder.syncer("rejected", "customers", "--json")
    runs = folder.syncer("runs", "customers", "--json")
    reset = folder.syncer("reset", "customers", "--yes")

    assert (broken.code, gone.code, runs.code, reset.code) == (0, 0, 0, 0)
    assert broken.objects == gone.objects != []
    assert [run["status"] for run in runs.objects] == ["warning"]


def test_runs_shows_the_newest_first(folder: Folder) -> None:
    folder.syncer("run", "customers")
    folder.define("customers", "SELECT nothing FROM people")
    folder.syncer("run", "customers")

    shown = folder.syncer("runs", "--limit", "1")
    runs = folder.syncer("runs", "customers", "--json").objects

    (row,) = shown.out.splitlines()[1:]
    assert " customers  failed  manual " in row
    assert row.endswith(runs[0]["error"])
    assert [run["status"] for run in runs] == ["failed", "success"]
    assert list(runs[1]["phases"]) == ["query", "compare", "journal", "send", "settle"]
    assert runs[1]["trigger"] == "manual"
    assert runs[0]["definition_hash"] != runs[1]["definition_hash"]


def test_a_paused_sync_is_listed_as_paused_until_it_is_resumed(folder: Folder) -> None:
    def paused() -> list[bool]:
        return [sync["paused"] for sync in folder.syncer("list", "--json").objects]

    folder.syncer("pause", "customers")
    folder.syncer("pause", "customers")
    while_paused, ran = paused(), folder.syncer("run", "customers")
    folder.syncer("resume", "customers")

    assert while_paused == [True]
    assert ran.code == 0
    assert paused() == [False]


def test_after_a_reset_every_row_is_sent_and_none_removed(folder: Folder) -> None:
    folder.define("customers", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\non_removed: delete")
    folder.syncer("run", "customers")
    folder.people({"1": "free", "2": "pro"})

    reset = folder.syncer("reset", "customers", "--yes")
    (run,) = folder.syncer("run", "customers", "--json").objects

    assert reset.code == 0
    assert "Nothing is removed from the store" in reset.out
    assert (run["added"], run["removed"], run["accepted"]) == (2, 0, 2)
    assert folder.syncer("show", "person", "3").code == 0


def test_a_reset_without_a_terminal_needs_yes(folder: Folder) -> None:
    folder.syncer("run", "customers")

    reset = folder.syncer("reset", "customers")

    assert reset.code == 2
    assert "Add --yes" in reset.err
    assert (folder.path / ".syncer/snapshots/customers.duckdb").exists()


@pytest.mark.parametrize("name", ["customers", "blocked_users"])
def test_a_damaged_snapshot_can_be_reset(folder: Folder, name: str) -> None:
    definition = folder.path / "sync_definitions/customers.sql"
    definition.rename(definition.with_name(f"{name}.sql"))
    folder.syncer("run", name)
    snapshot = folder.path / f".syncer/snapshots/{name}.duckdb"
    snapshot.write_bytes(b"\0" * 5000)

    reset = folder.syncer("reset", name, "--yes")
    ran = folder.syncer("run", name, "--json")

    assert reset.code == 0
    assert ran.objects[0]["added"] == 3


def test_every_command_about_syncs_takes_the_same_selectors(folder: Folder) -> None:
    header = "entity: person\nperson: {id: id}\ntags: [daily]"
    for name in ("first", "second"):
        folder.define(name, "SELECT id, plan FROM people", header)
    folder.people({"1": "free", "": "pro"})
    folder.syncer("run", "--all")

    def named(*words: str) -> list[str]:
        ran = folder.syncer(*words, "--json")
        assert ran.code in (0, 1), ran.err
        return sorted({found["sync"] for found in ran.objects})

    for command in ("list", "runs", "rejected", "verify", "pause", "cancel"):
        assert named(command, "tag:daily", "--exclude", "second") == ["first"], command
    assert named("reset", "--yes", "entity:person", "--exclude", "tag:daily") == ["customers"]
    assert named("reset", "--yes", "s*", "first") == ["first", "second"]


def test_pause_resume_and_reset_print_json(folder: Folder) -> None:
    folder.syncer("run", "customers")

    assert folder.syncer("pause", "customers", "--json").objects == [{"sync": "customers", "paused": True}]
    assert folder.syncer("resume", "customers", "--json").objects == [{"sync": "customers", "paused": False}]
    refused = folder.syncer("reset", "customers", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "cannot ask for confirmation with --json\n  Add --yes to skip the question." in refused.err
    reset = [folder.syncer("reset", "customers", "--yes", "--json").objects for _ in range(2)]
    assert reset == [[{"sync": "customers", "reset": True}], [{"sync": "customers", "reset": False}]]


def test_a_tag_that_a_broken_file_may_have_is_an_error_beside_what_is_done(folder: Folder) -> None:
    folder.define("tagged", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\ntags: [daily]")
    folder.define("broken", "SELECT 1", "entity: persn\ntags: [daily]")

    by_tag = folder.syncer("pause", "tag:daily", "--json")
    by_name = folder.syncer("pause", "broken", "--json")

    assert (by_tag.code, [found["sync"] for found in by_tag.objects]) == (2, ["tagged"])
    assert "sync_definitions/broken.sql:2:" in by_tag.err
    assert (by_name.code, by_name.objects) == (0, [{"sync": "broken", "paused": True}])
