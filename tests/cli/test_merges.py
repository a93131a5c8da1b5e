"""Merge syncs on the command line."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.cli.conftest import Folder

HEADER = "entity: merge\nkeep: {id: keep}\nmerge: {id: goes}"
PEOPLE = "SELECT id, plan, city FROM (VALUES {rows}) t (id, plan, city)"


def define_people(folder: Folder, **cities: str) -> None:
    """A sync of people by these ids, each in a city, or in none."""
    rows = ", ".join(f"('{id_}', 'plan of {id_}', nullif('{city}', ''))" for id_, city in cities.items())
    folder.define("people", PEOPLE.format(rows=rows))


def define_merges(folder: Folder, *pairs: tuple[str, str], more: str = "") -> None:
    """A merge sync, `merges`, of these pairs: whom to keep, who goes."""
    rows = ", ".join(f"('{keep}', '{goes}')" for keep, goes in pairs)
    folder.define("merges", f"SELECT keep, goes FROM (VALUES {rows}) t (keep, goes)", HEADER + more)


def people(folder: Folder) -> dict[str, Any]:
    """The attributes of everybody in the store."""
    url = f"sqlite:///{folder.path}/.syncer/profiles.db"
    with closing(open_store("default", url, identity=Identity.ID)) as store:
        found = {id_: store.show(Entity.PERSON, "id", id_) for id_ in "abcde"}
    return {id_: one["attributes"] for id_, one in found.items() if one}


@pytest.fixture
def merged(folder: Folder) -> Folder:
    """A folder whose people `a` and `b` are merged, of whom the query returns only `a` from then on."""
    define_people(folder, a="", b="Oslo", c="Rome")
    assert folder.syncer("run", "people").code == 0
    define_merges(folder, ("a", "b"))
    return folder


def test_a_plan_shows_the_pairs_and_the_run_merges_them_once(merged: Folder) -> None:
    planned, as_json = merged.syncer("plan", "merges"), merged.syncer("plan", "merges", "--json")
    ran, again = merged.syncer("run", "merges", "--json"), merged.syncer("run", "merges", "--json")

    assert planned.out.splitlines() == [
        "merges: 1 queried, 1 added, 0 changed, 0 removed, 0 unchanged",
        "",
        "  added: merged",
        '    [keep, goes] ["a","b"]',
        '      {"id":"b","plan":"plan of b","city":"Oslo"} → merged',
    ]
    assert [one["after"] for one in as_json.objects[0]["sample"]] == ["merged"]
    assert [ran.objects[0][name] for name in ("added", "accepted", "merged")] == [1, 1, 1]
    assert [again.objects[0][name] for name in ("unchanged", "accepted", "merged")] == [1, 0, 0]
    assert people(merged) == {"a": {"plan": "plan of a", "city": "Oslo"}, "c": {"plan": "plan of c", "city": "Rome"}}


@pytest.mark.parametrize("id_", ["a", "b"])
def test_either_person_is_explained_with_the_merge(merged: Folder, id_: str) -> None:
    assert merged.syncer("run", "merges").code == 0

    explained = merged.syncer("explain", "person", id_, "--json")
    shown = merged.syncer("explain", "person", id_)

    (merge,) = [one for one in explained.objects if one["sync"] == "merges"]
    assert (merge["key"], merge["done"], merge["last_sent"]["verdict"]) == ('["a","b"]', "merged", "accepted")
    assert 'merges ["a","b"]: merged by this list, once' in shown.out
    other = merged.syncer("explain", "person", "c", "--json")
    assert [one["sync"] for one in other.objects] == ["people"]


def test_a_rejected_pair_is_explained_with_either_person(merged: Folder) -> None:
    define_merges(merged, ("a", "gone"))
    merged.syncer("run", "merges")

    for id_ in ("a", "gone"):
        (merge,) = [one for one in merged.syncer("explain", "person", id_, "--json").objects if one["sync"] == "merges"]
        assert (merge["key"], merge["last_sent"]["verdict"]) == ('["a","gone"]', "rejected")
        assert merge["rejected"]["reason"]


def test_after_a_merge_other_syncs_look_again_and_say_whom_they_make_anew(merged: Folder) -> None:
    merged.syncer("run", "merges")

    ran = merged.syncer("run", "people")

    assert "people whom another sync deleted, and whom this query still returns: 1" in ran.out + ran.err
    assert people(merged)["a"] == {"plan": "plan of a"}
    assert merged.syncer("run", "people", "--json").objects[0]["accepted"] == 0


def test_whoever_left_the_query_with_the_merge_stays_gone(merged: Folder) -> None:
    merged.syncer("run", "merges")
    define_people(merged, a="Bern", c="Rome")

    assert merged.syncer("run", "--all").code == 0
    assert people(merged) == {"a": {"plan": "plan of a", "city": "Bern"}, "c": {"plan": "plan of c", "city": "Rome"}}


def test_more_merges_than_a_share_of_the_people_are_held(merged: Folder) -> None:
    define_merges(merged, *((f"k{i}", f"g{i}") for i in range(11)))

    held, let_through = merged.syncer("run", "merges"), merged.syncer("run", "merges", "--allow", "merged=11", "--json")

    assert held.code == 3
    assert "11 pairs of people would be merged, over the limit of 1% of the store's 3 people" in held.out + held.err
    assert (let_through.code, let_through.objects[0]["rejected"]) == (1, 11)


def test_each_pair_that_is_none_has_its_reason(merged: Folder) -> None:
    define_merges(merged, ("a", "a"), ("a", "nobody"), ("nobody", "c"), ("a", "b"))

    ran, rejected = merged.syncer("run", "merges", "--json"), merged.syncer("rejected", "merges", "--json")

    assert (ran.objects[0]["accepted"], ran.objects[0]["rejected"]) == (1, 3)
    assert {json.loads(row["key"])[1]: row["reason"] for row in rejected.objects} == {
        "a": "a person cannot be merged with themselves",
        "nobody": "the person to merge does not exist",
        "c": "the person to keep does not exist",
    }


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("entity: merge\nkeep: {id: keep}", "a sync of entity `merge` needs `merge`"),
        (HEADER + "\nperson: {id: keep}", "`person` does not belong to a sync of entity `merge`"),
        (HEADER + "\non_removed: delete", "`on_removed` does not belong to a sync with `entity: merge`"),
        (HEADER + "\nlimits: {deleted: 5}", "`limits.deleted` has no effect with `entity: merge`"),
        (HEADER + "\nlimits: {removed: 5}", "`limits.removed` has no effect with `entity: merge`"),
        ("entity: person\nperson: {id: keep}\nlimits: {merged: 5}", "`limits.merged` has no effect without `entity"),
        ("entity: merge\nkeep: {id: keep}\nmerge: {id: keep}", "`keep` is named twice as an identifier"),
        ("entity: merge\nkeep: {email: keep}\nmerge: {id: goes}", "cannot tell people apart by `email`"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_is_refused(folder: Folder, header: str, message: str) -> None:
    folder.define("merges", "SELECT 'a' AS keep, 'b' AS goes", header)

    checked = folder.syncer("validate", "merges")

    assert checked.code != 0
    assert message in checked.out + checked.err


def test_validate_names_who_makes_merged_people_anew(merged: Folder) -> None:
    checked = merged.syncer("validate", "--json")

    anew = (
        "`customers` and `people` make a merged person anew where the query still returns them: leave them out of it "
    )
    assert anew + "once they are merged" in [one.get("message") for one in checked.objects]


def test_the_pairs_of_duplicates_can_be_merged(folder: Folder) -> None:
    folder.define("people", "SELECT unnest(['a', 'b']) AS id, 'ann@example.com' AS email")
    folder.syncer("run", "people")
    pairs = folder.syncer("duplicates", "person", "--by", "email", "--json")
    folder.write("sync_definitions/sample_data/pairs.jsonl", pairs.out)
    query = "SELECT keep.cio_id AS keep, \"merge\".cio_id AS goes FROM 'sync_definitions/sample_data/pairs.jsonl'"
    folder.define("merges", query, "entity: merge\nkeep: {cio_id: keep}\nmerge: {cio_id: goes}")

    ran = folder.syncer("run", "merges", "--json")

    assert (ran.code, ran.objects[0].get("accepted")) == (0, 1), ran.err
    assert len(people(folder)) == 1


def test_new_writes_a_merge_sync(folder: Folder) -> None:
    made = folder.syncer(
        "new", "m", "--entity", "merge", "--keep", "id=user_id", "--merge", "cio_id=old", "--from", "t"
    )

    assert made.code == 0, made.err
    text = (folder.path / "sync_definitions/m.sql").read_text()
    assert (
        text == "/* sync\nentity: merge\nkeep: {id: user_id}\nmerge: {cio_id: old}\n*/\nSELECT user_id, old\nFROM t\n"
    )
