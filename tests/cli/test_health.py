"""What runs deliver, and what they say of the health of their sync, as commands show it."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Folder

NOTHING = {"added": 0, "changed": 0, "removed": 0, "resent": 0}
MEMBERS = "entity: relationship\nperson: {id: id}\nobject: {type: team, id: team}"


def run(folder: Folder, name: str, *words: str) -> dict[str, Any]:
    (ended,) = folder.syncer("run", name, "--json", *words).objects
    return ended


def health(folder: Folder, name: str) -> str:
    return str({each["sync"]: each["health"] for each in folder.syncer("list", "--json").objects}[name])


def test_a_sync_whose_rows_are_all_rejected_is_failing_until_one_arrives(folder: Folder) -> None:
    folder.define("members", "SELECT id, 'red' AS team FROM people", MEMBERS)
    assert health(folder, "members") == "new"

    first, second = run(folder, "members"), run(folder, "members")

    for ended in (first, second):
        assert ended["status"] == "warning"
        assert ended["planned"] == NOTHING | {"added": 3}
        assert ended["delivered"] == NOTHING
        assert ended["undelivered"] == {"rejected": 3, "absent": 0, "in_doubt": 0, "not_sent": 0}
        assert ended["quarantined"] == 0
    assert health(folder, "members") == "failing"
    assert folder.syncer("list").out.split("members")[1].split()[1] == "failing"

    folder.define("teams", "SELECT 'red' AS team", "entity: object\nobject: {type: team, id: team}")
    run(folder, "customers")
    run(folder, "teams")
    assert run(folder, "members")["delivered"] == NOTHING | {"added": 3}
    assert health(folder, "members") == "healthy"


def test_a_sync_whose_rejected_rows_are_all_acknowledged_does_not_fail(folder: Folder) -> None:
    folder.define("members", "SELECT id, 't' AS team FROM people", MEMBERS)
    folder.syncer("run", "customers")
    folder.syncer("run", "members")
    assert health(folder, "members") == "failing"

    folder.syncer("rejected", "members", "--acknowledge", "teams come next week")

    assert health(folder, "members") == "healthy"
    assert folder.syncer("run", "members").code == 0
    assert health(folder, "members") == "healthy"
    folder.syncer("rejected", "members", "--unacknowledge")
    assert folder.syncer("run", "members").code == 1
    assert health(folder, "members") == "degraded"


def test_one_bad_row_is_degraded_and_what_is_tolerated_is_not(folder: Folder) -> None:
    folder.people({"1": "free", "2": "pro", "x" * 200: "free"})

    for delivered in (2, 0):
        ended = run(folder, "customers")
        assert (ended["status"], ended["delivered"]["added"]) == ("warning", delivered)
        assert (ended["quarantined"], ended["undelivered"]["rejected"]) == (1, 0)
        assert health(folder, "customers") == "degraded"

    for most, code in (("1", 0), ("34%", 0), ("33%", 1), ("0", 1)):
        header = f"entity: person\nperson: {{id: id}}\ntolerate: {{rejected: {most}}}"
        folder.define("customers", "SELECT id, plan FROM people", header)
        result = folder.syncer("run", "customers", "--json")
        assert result.code == code
        assert (f"as many as `tolerate` allows ({most}" in result.err) == (code == 0)
        assert health(folder, "customers") == ("degraded" if code else "healthy")


def test_a_result_of_which_no_row_can_be_sent_is_failing(folder: Folder) -> None:
    folder.define("customers", "SELECT NULL::VARCHAR AS id, plan FROM people")

    assert run(folder, "customers")["quarantined"] == 3

    assert health(folder, "customers") == "failing"


def test_a_held_run_delivers_nothing(folder: Folder) -> None:
    folder.people({str(number): "free" for number in range(100)})
    folder.define("customers", "SELECT id, plan FROM people", "entity: person\nperson: {id: id}\non_removed: delete")
    run(folder, "customers")
    folder.people({"1": "free", "2": "pro"})

    ended = run(folder, "customers")

    assert (ended["status"], ended["removed"]) == ("held", 98)
    assert (ended["planned"], ended["delivered"]) == (NOTHING | {"changed": 1, "removed": 98}, NOTHING)
    assert ended["undelivered"] == {"rejected": 0, "absent": 0, "in_doubt": 0, "not_sent": 99}
    assert health(folder, "customers") == "held"
    assert folder.syncer("runs", "customers", "--json").objects[0]["delivered"] == NOTHING


def test_rows_that_left_and_stay_are_not_planned(folder: Folder) -> None:
    run(folder, "customers")
    folder.people({"1": "pro"})

    ended = run(folder, "customers", "--allow-limits")

    assert (ended["removed"], ended["planned"]) == (2, NOTHING | {"changed": 1})
    assert run(folder, "customers", "--full")["delivered"] == NOTHING | {"resent": 1}


def test_a_sync_that_failed_is_failing_and_one_that_is_disabled_is_paused(folder: Folder) -> None:
    folder.define("customers", "SELECT id, nothing FROM people")
    run(folder, "customers")
    assert health(folder, "customers") == "failing"

    folder.syncer("pause", "customers")
    assert health(folder, "customers") == "paused"
    folder.syncer("resume", "customers")
    folder.define("customers", "SELECT id FROM people", "entity: person\nperson: {id: id}\nenabled: false")
    assert health(folder, "customers") == "paused"
