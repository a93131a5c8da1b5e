"""Lists of people on the command line."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from syncer.model.types import Identity
from syncer.settings.registry import open_store
from tests.cli.conftest import Folder

HEADER = "entity: person\nperson: {id: id}\naction: {action}"


def request(folder: Folder, *ids: str, action: str = "delete", more: str = "") -> None:
    """Define a list, `forgotten`, of these people."""
    rows = ", ".join(f"('{id_}', 'monday')" for id_ in ids)
    header = HEADER.replace("{action}", action) + more
    folder.define("forgotten", f"SELECT id, asked FROM (VALUES {rows}) t (id, asked)", header)


def people(folder: Folder) -> list[str]:
    """Who is in the store."""
    with closing(open_store("default", f"sqlite:///{folder.path}/.syncer/profiles.db", identity=Identity.ID)) as store:
        return [id_ for id_ in "123" if store.show("person", "id", id_)]  # type: ignore[arg-type]


def test_a_plan_of_a_list_shows_whom_it_deletes_and_the_run_does_it_once(folder: Folder) -> None:
    folder.syncer("run", "customers")
    request(folder, "2", "9")

    planned = folder.syncer("plan", "forgotten")
    as_json = folder.syncer("plan", "forgotten", "--json")
    ran = folder.syncer("run", "forgotten", "--json")
    again = folder.syncer("run", "forgotten", "--json")

    assert planned.out.splitlines() == [
        "forgotten: 2 queried, 2 added, 0 changed, 0 removed, 0 unchanged",
        "",
        "  added: deleted",
        "    id 2",
        '      {"id":"2","plan":"pro"} → deleted',
        "    id 9",
    ]
    assert as_json.objects[0]["sample"] == [
        {"change": "added", "key": "2", "before": {"id": "2", "plan": "pro"}, "after": "deleted"},
        {"change": "added", "key": "9", "before": None, "after": "deleted"},
    ]
    assert (ran.code, ran.objects[0]["added"], ran.objects[0]["accepted"]) == (0, 2, 2)
    assert (again.code, again.objects[0]["unchanged"], again.objects[0]["accepted"]) == (0, 2, 0)
    assert people(folder) == ["1", "3"]


def test_who_is_still_returned_is_made_anew_and_the_run_says_so(folder: Folder) -> None:
    folder.syncer("run", "customers")
    request(folder, "2")

    ran = folder.syncer("run", "--all")

    assert ran.code == 0
    assert "people whom another sync deleted, and whom this query still returns: 1" in ran.out + ran.err
    assert people(folder) == ["1", "2", "3"]


def test_who_is_suppressed_is_rejected_with_what_to_do(folder: Folder) -> None:
    folder.syncer("run", "customers")
    request(folder, "2", action="suppress")

    ran = folder.syncer("run", "--all")
    rejected = folder.syncer("rejected", "customers", "--json")
    planned = folder.syncer("plan", "customers", "--json")

    assert ran.code == 1
    (row,) = rejected.objects
    assert row["key"] == "2"
    assert row["reason"].startswith("the person's id is suppressed in this store")
    assert [one["key"] for one in planned.objects[0]["would_reject"]] == ["2"]
    assert people(folder) == ["1", "3"]

    request(folder, "2", action="unsuppress")
    assert folder.syncer("run", "--all").code == 0
    assert people(folder) == ["1", "2", "3"]


def test_a_long_list_is_held_until_it_is_let_through(folder: Folder) -> None:
    request(folder, *map(str, range(11)))

    held = folder.syncer("run", "forgotten")
    planned = folder.syncer("plan", "forgotten", "--json")
    let_through = folder.syncer("run", "forgotten", "--allow", "deleted=11")

    assert (held.code, planned.code, let_through.code) == (3, 3, 0)
    reason = "11 people would be deleted, over the limit of 1% of the store's 0 people"
    assert reason in held.out + held.err
    assert planned.objects[0]["held"] == [reason]


def test_an_approved_plan_of_a_list_is_sent(folder: Folder) -> None:
    folder.syncer("run", "customers")
    request(folder, "1", "2", more="\nlimits: {deleted: 1}")

    (plan,) = folder.syncer("plan", "forgotten", "--save", "--json").objects
    ran = folder.syncer("run", "forgotten", "--plan", plan["plan_id"])

    assert ran.code == 0, ran.err
    assert people(folder) == ["3"]


def test_validate_warns_of_what_a_list_does_not_do(folder: Folder) -> None:
    request(folder, "1")

    checked = folder.syncer("validate", "--json")

    messages = [json.loads(line)["message"] for line in checked.out.splitlines() if '"warning"' in line]
    assert messages == [
        "`customers` makes a deleted person anew where the query still returns them: leave them out of it, or write "
        "`action: suppress`",
        "a list sends no attributes, and leaves out `asked`",
    ]


def test_a_share_needs_a_store_that_counts_its_people(folder: Folder) -> None:
    request(folder, "1", more="\nstore: crm\nlimits: {deleted: 1%}")
    folder.write(
        "syncer.toml",
        '[stores.crm]\nurl = "customerio://us"\nsite_id = "s"\napi_key = "k"\n',
    )

    checked = folder.syncer("validate", "forgotten")

    assert checked.code == 2
    assert "store `crm` cannot count its people, so `deleted` cannot be a share of them" in checked.out + checked.err


def test_what_a_list_did_is_explained(folder: Folder) -> None:
    folder.syncer("run", "customers")
    request(folder, "2")
    folder.syncer("run", "forgotten")

    explained = folder.syncer("explain", "person", "2")
    verified = folder.syncer("verify", "forgotten")

    assert "forgotten 2: deleted by this list, once" in explained.out.splitlines()
    assert verified.code == 0
    assert "`forgotten` is a list" in verified.out + verified.err


@pytest.mark.parametrize("shown", ["2", "3"])
def test_a_list_feeds_nobody(folder: Folder, shown: str) -> None:
    folder.syncer("run", "customers")
    request(folder, "2")
    folder.syncer("run", "forgotten")

    found = folder.syncer("show", "person", shown, "--json")

    assert found.objects[0]["syncs"] == ["customers"]
