"""`syncer explain`."""

from __future__ import annotations

from typing import Any

from syncer.snapshot import file
from tests.cli.conftest import Folder

FIELDS = [
    "sync", "key", "in_result", "since_run", "last_sent", "rejected", "in_doubt", "attributes", "now", "busy", "done"
]  # fmt: skip
MEMBER = "entity: relationship\nperson: {id: person}\nobject: {type: team, id: team}"


def test_each_sync_that_had_something_to_do_with_a_person_is_one_object(folder: Folder) -> None:
    folder.define("vips", "SELECT 1 AS id, 'gold' AS plan, 12345678901234567890.5 AS fee")
    folder.define("others", "SELECT 2 AS id, 'gold' AS plan")
    folder.define("members", "SELECT * FROM (VALUES (1, 't1', 'admin')) t (person, team, role)", MEMBER)
    assert folder.syncer("run", "--all").code == 1

    explained = folder.syncer("explain", "person", "1", "--json")

    assert explained.code == 0
    assert [list(one) for one in explained.objects] == [FIELDS] * 3
    customers, members, vips = explained.objects
    assert (customers["sync"], customers["key"], customers["in_result"]) == ("customers", "1", True)
    assert customers["attributes"] == [
        {"attribute": "plan", "sent": "free", "stored": "gold", "stands": False, "held_back_for": []}
    ]
    assert (members["key"], members["rejected"]["reason"]) == ('["1","t1"]', "the object does not exist yet")
    assert members["last_sent"]["verdict"] == "rejected"
    assert list(vips["last_sent"]) == ["values", "at", "run_id", "verdict", "reason"]
    assert '"fee": 12345678901234567890.5' in explained.out
    assert explained.err == "Other syncs that write such entities, and never sent this one: 1.\n"


def test_a_sync_of_events_does_not_count_as_one_that_never_sent_a_person(folder: Folder) -> None:
    header = "entity: event\nperson: {id: id}\nevent: {name: seen, id: view, time: seen_at}\nstart: all"
    folder.define("views", "SELECT 1 AS id, 'v1' AS view, TIMESTAMP '2026-01-01' AS seen_at", header)
    assert folder.syncer("run", "--all").code == 0

    explained = folder.syncer("explain", "person", "1", "--json")

    assert [one["sync"] for one in explained.objects] == ["customers"]
    assert explained.err == ""


def test_what_became_of_a_row_is_a_sentence_for_people(folder: Folder) -> None:
    folder.define("vips", "SELECT 1 AS id, 'gold' AS plan")
    assert folder.syncer("run", "--all").code == 0

    shown = folder.syncer("explain", "person", "1", "--sync", "customers")

    assert shown.code == 0
    assert "customers 1: delivered, but the store has other values of `plan`\n" in shown.out
    assert '  plan: "free", the store has "gold"\n' in shown.out


def test_the_warehouse_says_what_it_has_now(folder: Folder) -> None:
    folder.define("mails", "SELECT ' Ann@Example.com ' AS email, 1 AS score", "entity: person\nperson: {email: email}")
    folder.define("twice", "SELECT * FROM (VALUES (1, 'a'), (1, 'b')) t (id, x)")
    assert folder.syncer("run", "customers").code == 0
    folder.people({"1": "pro", "3": "free"})

    def now(*words: str) -> dict[str, Any]:
        (found,) = folder.syncer("explain", "person", *words, "--now", "--json").objects
        return dict(found["now"])

    assert now("1") == {
        "in_result": True, "values": {"plan": "pro"}, "differs": ["plan"], "reason": None, "error": None
    }  # fmt: skip
    assert (now("2")["in_result"], now("3")["differs"]) == (False, [])
    assert now("1", "--sync", "twice")["reason"] == "rows that differ share this key"
    assert now("ann@example.com", "--by", "email", "--sync", "mails")["values"] == {"score": 1}
    shown = folder.syncer("explain", "person", "1", "--now")
    assert '  now in the query\'s result, and the next run sends `plan`\n  now plan: "pro"\n' in shown.out
    assert not [*(folder.path / ".syncer/snapshots").glob("*.now*")]


def test_a_warehouse_that_does_not_answer_says_why(folder: Folder) -> None:
    assert folder.syncer("run", "customers").code == 0
    folder.define("customers", "SELECT id, plan, nonsense FROM people")

    (found,) = folder.syncer("explain", "person", "1", "--now", "--json").objects

    assert "nonsense" in found["now"]["error"]


def test_nobody_knows_it(folder: Folder) -> None:
    assert folder.syncer("run", "--all").code == 0

    everybody = folder.syncer("explain", "person", "9")
    named = folder.syncer("explain", "person", "9", "--sync", "customers", "--json")
    wrong = folder.syncer("explain", "person", "9", "--sync", "costumers")

    assert (everybody.code, named.code, wrong.code) == (1, 1, 2)
    assert "No sync knows it" in everybody.out
    assert [one["in_result"] for one in named.objects] == [False]
    assert "No sync knows it" in named.err
    assert "Did you mean `customers`?" in wrong.err


def test_a_snapshot_in_use_is_busy(folder: Folder) -> None:
    assert folder.syncer("run", "--all").code == 0

    with file.locked(folder.path / ".syncer/snapshots/customers.duckdb", sync="customers"):
        as_json = folder.syncer("explain", "person", "1", "--json")
        shown = folder.syncer("explain", "person", "1")

    assert (as_json.code, shown.code) == (4, 4)
    assert [(one["sync"], one["busy"]) for one in as_json.objects] == [("customers", True)]
    assert "customers: a run or a plan has the snapshot open now; try again when it has ended" in shown.out
