"""Lists of people: each row is applied once, within a limit, and other syncs hear of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncer.model.types import Counts, Identity, Limit, Limits, ListAction, OnRemoved
from syncer.sync.progress import HeldError
from tests.sync.house import BY_EMAIL, BY_ID, MEMBERS_BY_EMAIL, TEAMS, House
from tests.workbench import PERSON, Workbench, table

DELETE = replace(BY_ID, action=ListAction.DELETE)
SUPPRESS = replace(BY_ID, action=ListAction.SUPPRESS)
UNSUPPRESS = replace(BY_ID, action=ListAction.UNSUPPRESS)


def anew(people: int) -> str:
    return (
        f"people whom another sync deleted, and whom this query still returns: {people}; the store makes them anew, "
        "unless they are on a list with `action: suppress`"
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(folder=tmp_path, store_url=f"sqlite:///{tmp_path}/people.db", identity=Identity.ID)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench(folder=tmp_path)
    bench.adjust(target=replace(PERSON, action=ListAction.DELETE))
    return bench


def ids(*numbers: int) -> Any:
    return table({"id": [*numbers]})


def deletions(bench: Workbench) -> list[str]:
    return [key for action, (key, *_) in bench.store.taken if action == "delete"]


def test_a_row_is_applied_once_and_again_only_if_it_comes_anew(bench: Workbench) -> None:
    assert bench.run(ids(1, 2)).counts == Counts(queried=2, added=2, accepted=2)
    assert bench.run(ids(1, 2)).counts == Counts(queried=2, unchanged=2)
    assert bench.run(ids(2)).counts == Counts(queried=1, unchanged=1, removed=1)
    assert deletions(bench) == ["1", "2"]

    bench.run(ids(1, 2))

    assert deletions(bench) == ["1", "2", "1"]


def test_an_empty_list_is_no_fault(bench: Workbench) -> None:
    bench.run(ids(1))

    assert bench.run(table({"id": []})).counts.removed == 1
    assert deletions(bench) == ["1"]


def test_other_columns_are_left_out_and_change_nothing(bench: Workbench) -> None:
    bench.run(table({"id": [1], "requested_at": ["monday"], "email": ["ann@example.com"]}))
    bench.run(table({"id": [1], "requested_at": ["tuesday"], "email": [None]}))

    assert deletions(bench) == ["1"]


def test_a_row_without_an_answer_is_applied_again(bench: Workbench) -> None:
    bench.lose_the_answer(ids(1))
    bench.run(ids(1))

    assert deletions(bench) == ["1", "1"]


def test_the_same_holds_for_an_incremental_query(bench: Workbench) -> None:
    bench.adjust(incremental=True)
    bench.run(ids(1))
    bench.run(ids(2))
    bench.run(ids(1, 2))

    assert deletions(bench) == ["1", "2"]


def test_where_people_are_not_counted_a_hundred_may_go(bench: Workbench) -> None:
    with pytest.raises(HeldError, match="101 people would be deleted, over the limit of 100 rows"):
        bench.run(ids(*range(101)))
    assert deletions(bench) == []

    bench.run(ids(*range(100)))
    assert len(deletions(bench)) == 100


def test_every_row_that_is_sent_counts_for_the_limit(bench: Workbench) -> None:
    bench.adjust(limits=Limits(deleted=Limit(count=2)))
    bench.run(ids(1, 2))
    bench.run(ids(1, 2, 3))

    with pytest.raises(HeldError, match="3 people would be deleted, over the limit of 2 rows"):
        bench.run(ids(1, 2, 3), full=True)
    with pytest.raises(HeldError, match="3 people"):
        bench.run(ids(4, 5, 6))
    bench.run(ids(4, 5, 6), allow_limits=True)

    assert deletions(bench) == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("action", [ListAction.SUPPRESS, ListAction.UNSUPPRESS])
def test_only_what_takes_people_away_is_limited(bench: Workbench, action: ListAction) -> None:
    bench.adjust(target=replace(PERSON, action=action), limits=Limits(deleted=Limit(count=1)))

    if action is ListAction.SUPPRESS:
        with pytest.raises(HeldError):
            bench.run(ids(1, 2))
    else:
        bench.run(ids(1, 2))


@pytest.mark.parametrize(
    ("people", "limit", "most"),
    [
        (100, None, 10),
        (1_500, None, 15),
        (1_500, Limit(share=0.1), 150),
        (20, Limit(share=0.1), 2),
        (20, Limit(count=4), 4),
    ],
)
def test_a_limit_is_a_share_of_the_people_in_the_store(
    house: House, people: int, limit: Limit | None, most: int
) -> None:
    house.sync("people", BY_ID, "id")
    house.sync("forgotten", DELETE, "id")
    house.edit("forgotten", limits=Limits(deleted=limit))
    house.put("people", *map(str, range(people)))
    house.put("forgotten", *map(str, range(most + 1)))
    house.run("people")

    with pytest.raises(HeldError, match=f"{most + 1} people would be deleted, over the limit of"):
        house.run("forgotten")

    house.put("forgotten", *map(str, range(most)))
    assert house.run("forgotten").counts.accepted == most


def test_the_first_list_of_a_new_store_is_limited_too(house: House) -> None:
    house.sync("forgotten", DELETE, "id")
    house.edit("forgotten", limits=Limits())
    house.put("forgotten", *map(str, range(11)))

    with pytest.raises(HeldError, match="11 people would be deleted, over the limit of 1% of the store's 0 people"):
        house.run("forgotten")


def test_what_others_sent_of_a_deleted_person_is_sent_again_where_it_is_still_returned(house: House) -> None:
    house.identity = Identity.ID_OR_EMAIL
    house.sync("people", BY_ID, "id email plan")
    house.sync("values", BY_EMAIL, "email ltv")
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team role")
    house.sync("forgotten", DELETE, "id")
    house.put("people", "1 a@x.com pro", "2 b@x.com free")
    house.put("values", "a@x.com 10", "b@x.com 20")
    house.put("teams", "red")
    house.put("members", "a@x.com red boss", "b@x.com red none")
    house.run("people", "values", "teams", "members")
    house.put("forgotten", "1")
    house.run("forgotten")
    assert house.person("1") is None
    assert house.person("a@x.com") is None

    assert anew(1) in house.run("people").notes
    assert anew(1) in house.run("values").notes
    assert not [note for note in house.run("members").notes if "another sync deleted" in note]

    assert house.attributes("1") == {"plan": "pro", "ltv": "10"}
    assert house.teams("1") == ["red"]
    again = house.run("people", "values", "members", "forgotten")
    assert (again.counts.accepted, again.notes) == (0, [])
    assert house.person("1") is not None


def test_a_sync_that_returns_them_no_more_says_nothing(house: House) -> None:
    house.sync("people", BY_ID, "id plan")
    house.sync("forgotten", DELETE, "id")
    house.put("people", "1 pro", "2 pro")
    house.run("people")
    house.put("forgotten", "1")
    house.put("people", "2 pro")
    house.run("forgotten")

    assert house.run("people").notes == []
    assert house.person("1") is None


def test_what_a_list_did_stands_whatever_other_syncs_remove(house: House) -> None:
    house.sync("people", BY_ID, "id plan", OnRemoved.DELETE)
    house.sync("forgotten", DELETE, "id")
    house.sync("refused", SUPPRESS, "id")
    house.sync("forgiven", UNSUPPRESS, "id")
    house.put("people", "1 pro", "2 pro")
    for name in ("forgotten", "refused", "forgiven"):
        house.put(name, "1")
        house.run(name)
    house.run("people")
    house.put("people", "2 pro")
    house.run("people")
    house.put("people", "1 pro", "2 pro")
    house.run("people")

    for name in ("forgotten", "refused", "forgiven"):
        assert house.run(name).counts == Counts(queried=1, unchanged=1)

    assert house.attributes("1") == {"plan": "pro"}


def test_a_suppressed_person_stays_out_until_they_are_unsuppressed(house: House) -> None:
    house.may_reject = True
    house.sync("people", BY_ID, "id plan")
    house.sync("refused", SUPPRESS, "id")
    house.sync("forgiven", UNSUPPRESS, "id")
    house.put("people", "1 pro", "2 pro")
    house.run("people")
    house.put("refused", "1")
    house.run("refused")

    assert house.run("people").counts.rejected == 1
    assert house.run("people").counts.rejected == 1
    assert house.person("1") is None

    house.put("forgiven", "1")
    house.run("forgiven")
    assert house.run("people").counts.rejected == 0
    assert house.attributes("1") == {"plan": "pro"}


def test_another_action_is_another_list(house: House) -> None:
    house.sync("people", BY_ID, "id")
    house.sync("forgotten", DELETE, "id")
    house.put("forgotten", "1")
    house.run("forgotten")

    house.edit("forgotten", target=SUPPRESS)
    progress = house.run("forgotten")
    house.put("people", "1")
    house.may_reject = True

    assert progress.counts.accepted == 1
    assert "this sync feeds people to suppress, by id now, and fed people to delete, by id before" in progress.notes[0]
    assert house.run("people").counts.rejected == 1


def test_a_store_that_was_put_back_gets_the_list_again(house: House, tmp_path: Path) -> None:
    house.sync("people", BY_ID, "id plan")
    house.sync("forgotten", DELETE, "id")
    house.put("people", "1 pro", "2 pro")
    house.run("people")
    shutil.copy(tmp_path / "people.db", tmp_path / "backup.db")
    house.put("forgotten", "1")
    house.run("forgotten")
    shutil.copy(tmp_path / "backup.db", tmp_path / "people.db")

    progress = house.run("forgotten")

    assert progress.counts.accepted == 1
    assert house.person("1") is None


def test_a_lost_run_log_applies_nothing_again(house: House, tmp_path: Path) -> None:
    house.sync("people", BY_ID, "id plan")
    house.sync("forgotten", DELETE, "id")
    house.put("forgotten", "1")
    house.run("forgotten")
    (tmp_path / "runs.db").unlink()
    house.put("people", "1 pro")
    house.run("people")

    progress = house.run("forgotten")

    assert (progress.counts.accepted, progress.notes) == (0, [])
    assert house.person("1") is not None


def test_a_plan_shows_what_the_store_has_and_what_becomes_of_it(house: House) -> None:
    house.sync("people", BY_ID, "id email plan")
    house.sync("forgotten", DELETE, "id")
    house.put("people", "1 a@x.com pro")
    house.run("people")
    house.put("forgotten", "1", "9")

    plan = house.plan("forgotten")

    assert plan.sample == [
        ("added", "1", '{"id":"1","email":"a@x.com","plan":"pro"}', '"deleted"'),
        ("added", "9", None, '"deleted"'),
    ]
    assert house.person("1") is not None
