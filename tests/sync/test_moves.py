"""People who are known by another email than before: the store moves them, with all that it has of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.errors import StoreError
from syncer.model.types import (
    DeviceFields,
    Entity,
    EventRules,
    EventType,
    Identity,
    Limit,
    Limits,
    ListAction,
    OnNull,
    OnRemoved,
    PersonKey,
    Platform,
    Start,
    Target,
)
from syncer.snapshot.ledger import Asked
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.progress import HeldError
from tests.sync.house import BY_EMAIL, BY_ID, MEMBERS_BY_EMAIL, TEAMS, House
from tests.sync.test_phones import rejected

MOVES = replace(BY_EMAIL, names_previous=True)
DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.EMAIL, key_columns=("email", "token"))
EVENTS = Target(entity=Entity.EVENT, person_key=PersonKey.EMAIL, event=EventType(name="paid"), key_columns=("order",))
NOTE = "people who have another email, count as added, and keep what the store has of them: {}"
#: The store's own failure, which leaves what it did.
LOST = StoreError("the answer was lost")


class Losing:
    """A store that does what it is told, row by row, of whose answers none arrives after so many."""

    def __init__(self, inner: Any, answers: int, before: Callable[[], object]) -> None:
        self._inner, self._answers, self._before, self.batch_rows = inner, answers, before, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        self._before()
        found = self._inner.apply(target, batch, create=create)
        self._answers -= 1
        if self._answers < 0:
            raise LOST
        return found


@dataclass
class MovingHouse(House):
    """A house whose people, in the sync `people`, are known by email; `-` is no former one."""

    #: How many answers of the store arrive in the next run; None for all.
    answers: int | None = None
    #: Is called once, before the next batch.
    before_sending: Callable[[], object] | None = None
    #: Whether each query was asked for its whole result.
    asked_whole: list[bool] = field(default_factory=list)

    def people(self, on_removed: OnRemoved = OnRemoved.DELETE, columns: str = "email old plan", **of: Any) -> None:
        """Define the sync."""
        self.sync("people", MOVES, columns, on_removed, previous_column="old", **of)

    def wrapped(self, inner: Any) -> Any:
        if (self.answers is None and self.before_sending is None) or not hasattr(inner, "apply"):
            return inner
        answers, before = self.answers, self.before_sending
        self.answers = self.before_sending = None
        return Losing(inner, 1_000 if answers is None else answers, before or (lambda: None))

    def asked(self, name: str, snapshot: Snapshot) -> Asked | None:
        if not self.syncs[name].incremental:
            return None
        known = snapshot.known
        is_whole = known.last_sync_time == 0 or known.has_quarantined
        self.asked_whole.append(is_whole)
        return Asked(at=self.now, is_whole=is_whole)

    def known(self, name: str = "people") -> list[str]:
        """The keys of the snapshot, as far as they are not in doubt."""
        with closing(self.store()) as store, self.opened(name, store) as snapshot:
            rows = snapshot.ledger.session.rows("SELECT k1 FROM snapshot ANTI JOIN in_doubt USING (k1) ORDER BY 1")
        return [key for (key,) in rows]

    def number(self, email: str) -> int | None:
        found = self.person(email)
        return None if found is None else int(found["person_id"])


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/people.db"


@pytest.fixture
def house(store_url: str, tmp_path: Path) -> MovingHouse:
    return MovingHouse(folder=tmp_path, store_url=store_url, identity=Identity.EMAIL, may_reject=True)


@pytest.mark.parametrize("on_removed", OnRemoved)
@pytest.mark.parametrize("identity", [Identity.EMAIL, Identity.ID_OR_EMAIL])
def test_who_has_another_email_keeps_what_every_sync_sent(
    store_url: str, tmp_path: Path, identity: Identity, on_removed: OnRemoved
) -> None:
    house = MovingHouse(folder=tmp_path, store_url=store_url, identity=identity)
    house.people(on_removed)
    house.sync("tiers", BY_EMAIL, "email tier", on_removed)
    house.sync("teams", TEAMS, "team")
    house.sync("members", MEMBERS_BY_EMAIL, "email team", on_removed)
    of_devices = OnRemoved.DELETE if on_removed is OnRemoved.CLEAR else on_removed
    house.sync("devices", DEVICES, "email token", of_devices, device=DeviceFields(platform=Platform.IOS))
    rules = EventRules(person_column="email", time_column="at", start=Start.ALL)
    house.sync("orders", EVENTS, "order email at", event_rules=rules)
    house.put("teams", "red")
    house.put("people", "ann@x.com - pro", "bob@x.com - free")
    for name, value in (("tiers", "gold"), ("members", "red"), ("devices", "t1")):
        house.put(name, f"ann@x.com {value}")
    house.put("orders", "o1 ann@x.com 2026-01-01")
    house.run()
    before = house.person("ann@x.com")
    assert before is not None

    house.put("people", "Anna@x.com ANN@x.com max", "bob@x.com - free")
    for name, value in (("tiers", "gold"), ("members", "red"), ("devices", "t1")):
        house.put(name, f"anna@x.com {value}")
    plan, counts = house.plan("people"), house.run("people").counts
    moved = house.person("anna@x.com")
    house.run()

    assert (plan.counts.added, plan.counts.removed) == (counts.added, counts.removed) == (1, 0)
    assert plan.notes == [NOTE.format(1)]
    assert [row for row in plan.sample if row[0] == "added"] == [
        ("added", "anna@x.com", None, '{"plan":"max","person.previous":"ann@x.com"}')
    ]
    assert moved is not None
    same = ("person_id", "created_at", "relationships", "devices", "events")
    assert {name: moved[name] for name in same} == {name: before[name] for name in same}
    assert moved["attributes"] == {"plan": "max", "tier": "gold"}
    assert house.person("ann@x.com") is None
    after = house.person("anna@x.com")
    assert after is not None
    assert after["attributes"] == {"plan": "max", "tier": "gold"}
    assert [len(after[name]) for name in ("relationships", "devices", "events")] == [1, 1, 1]
    assert (house.known(), house.known("tiers")) == (["anna@x.com", "bob@x.com"], ["anna@x.com"])
    for name in house.syncs:
        again = house.run(name).counts
        assert (again.accepted, again.added, again.changed, again.removed) == (0, 0, 0, 0)


def test_a_former_email_alone_changes_nothing(house: MovingHouse) -> None:
    house.people()
    house.put("people", "ann@x.com ann@x.com pro", "bob@x.com - free", "cyd@x.com gone@x.com free")
    assert house.run().counts.accepted == 3

    for rows in (
        ["ann@x.com - pro", "bob@x.com gone@x.com free", "cyd@x.com gone@x.com free"],
        ["ann@x.com bob@x.com pro", "bob@x.com BOB@x.com free", "cyd@x.com - free"],
    ):
        house.put("people", *rows)
        counts = house.run().counts
        assert (counts.unchanged, counts.accepted, counts.rejected) == (3, 0, 0)

    assert house.attributes("ann@x.com") == {"plan": "pro"}


def test_a_move_counts_for_no_limit_of_removals(house: MovingHouse) -> None:
    house.people()
    house.edit("people", limits=Limits(removed=Limit(count=0)))
    house.put("people", *(f"p{number}@x.com - pro" for number in range(30)))
    house.run()

    house.put("people", *(f"q{number}@x.com p{number}@x.com pro" for number in range(30)))
    counts = house.run().counts

    assert (counts.added, counts.removed, counts.accepted) == (30, 0, 30)
    house.put("people", *(f"q{number}@x.com p{number}@x.com pro" for number in range(29)))
    with pytest.raises(HeldError):
        house.run()


def test_where_both_exist_the_row_is_applied_as_ever(house: MovingHouse) -> None:
    house.people()
    house.sync("tiers", BY_EMAIL, "email tier")
    house.put("people", "ann@x.com - pro")
    house.put("tiers", "anna@x.com gold")
    house.run()
    numbers = house.number("ann@x.com"), house.number("anna@x.com")

    house.put("people", "anna@x.com ann@x.com max")
    plan, counts = house.plan("people"), house.run("people").counts

    assert (counts.added, counts.removed, counts.accepted) == (1, 1, 2)
    assert plan.notes == []
    assert all("person.previous" not in (after or "") for *_, after in plan.sample)
    assert (house.number("ann@x.com"), house.number("anna@x.com")) == (None, numbers[1])
    assert house.attributes("anna@x.com") == {"plan": "max", "tier": "gold"}


def test_who_gets_the_new_email_while_the_run_goes_on_keeps_it(house: MovingHouse) -> None:
    """What the comparison found is not so any more: nobody moves, and the next run removes as ever."""
    house.people()
    house.sync("tiers", BY_EMAIL, "email tier")
    house.put("people", "ann@x.com - pro")
    house.run()
    house.put("people", "anna@x.com ann@x.com max")
    house.put("tiers", "anna@x.com gold")

    house.before_sending = lambda: house.run("tiers")
    number = house.number("ann@x.com")
    first = house.run("people").counts

    assert (first.added, first.removed, first.accepted) == (1, 0, 1)
    assert house.number("ann@x.com") == number
    assert house.attributes("anna@x.com") == {"plan": "max", "tier": "gold"}
    second = house.run("people").counts
    assert (second.removed, second.accepted, house.person("ann@x.com")) == (1, 1, None)
    assert house.attributes("anna@x.com") == {"plan": "max", "tier": "gold"}


@pytest.mark.parametrize("incremental", [False, True])
def test_an_email_that_the_result_has_moves_nobody(house: MovingHouse, incremental: bool) -> None:
    """A chain, a swap, and an address that somebody else has now: all are applied as ever."""
    house.people(OnRemoved.KEEP if incremental else OnRemoved.DELETE, incremental=incremental)
    house.put("people", "a@x.com - a", "c@x.com - c", "e@x.com - e", "f@x.com - f", "g@x.com - g")
    house.run()
    numbers = {letter: house.number(f"{letter}@x.com") for letter in "acefg"}

    house.put(
        "people",
        "b@x.com a@x.com a", "a@x.com c@x.com c",
        "e@x.com f@x.com f", "f@x.com e@x.com e",
        "h@x.com g@x.com g", "g@x.com - new",
    )  # fmt: skip
    counts = house.run().counts

    assert (counts.rejected, counts.removed) == (0, 0 if incremental else 1)
    assert [house.number(f"{letter}@x.com") for letter in "aefg"] == [numbers[letter] for letter in "aefg"]
    assert {letter: house.attributes(f"{letter}@x.com") for letter in "abefgh"} == {
        letter: {"plan": plan} for letter, plan in zip("abefgh", ["c", "a", "f", "e", "new", "g"], strict=True)
    }
    assert house.run().counts.accepted == 0


def test_several_rows_that_name_one_former_email_are_rejected_and_their_person_stays(house: MovingHouse) -> None:
    house.people()
    house.put("people", "ann@x.com - pro", "bob@x.com - free")
    house.run()
    number = house.number("ann@x.com")

    house.put("people", "anna@x.com ann@x.com a", "bob@x.com - free", "hanna@x.com Ann@x.com b")
    counts = house.run().counts

    reason = "several rows have this `old`"
    assert rejected(house, "people") == {"anna@x.com": reason, "hanna@x.com": reason}
    assert (counts.rejected, counts.removed, counts.accepted) == (2, 0, 0)
    assert house.number("ann@x.com") == number

    house.put("people", "anna@x.com ann@x.com a", "bob@x.com - free", "hanna@x.com - b")
    assert house.run().counts.accepted == 2
    assert (house.number("anna@x.com"), house.number("ann@x.com")) == (number, None)


def test_whoever_is_moved_may_be_named_by_a_later_row(house: MovingHouse) -> None:
    """The row that moved them is known: that another one names the same moves nobody, and is no fault."""
    house.people()
    house.put("people", "ann@x.com - pro")
    house.run()
    house.put("people", "anna@x.com ann@x.com pro")
    house.run()

    house.put("people", "anna@x.com ann@x.com max", "hanna@x.com ann@x.com b")
    counts = house.run().counts

    assert (counts.added, counts.changed, counts.accepted) == (1, 1, 2)


def test_a_former_email_that_is_too_long_is_a_rejection_and_removes_nobody(house: MovingHouse) -> None:
    house.people()
    house.put("people", "ann@x.com - pro")
    house.run()

    house.put("people", f"anna@x.com {'a' * 151} pro")

    assert house.run().counts.rejected == 1
    assert rejected(house, "people") == {"anna@x.com": "`old` is longer than 150 bytes"}


def test_a_refused_row_moves_nobody_and_removes_nobody(house: MovingHouse) -> None:
    house.people()
    house.sync("forgotten", replace(BY_EMAIL, action=ListAction.SUPPRESS), "email")
    house.put("people", "ann@x.com - pro")
    house.put("forgotten", "anna@x.com")
    house.run()
    number = house.number("ann@x.com")

    house.put("people", "anna@x.com ann@x.com pro")
    for _ in range(2):
        counts = house.run("people").counts
        assert (counts.rejected, counts.removed, counts.accepted) == (1, 0, 0)
        assert house.number("ann@x.com") == number

    house.put("people", "ann@x.com - pro")
    assert house.run("people").counts.rejected == 0
    assert house.number("ann@x.com") == number


@pytest.mark.parametrize("answers", [0, 1, 2, 3])
@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("takes_back", [False, True])
def test_a_run_whose_answers_are_lost_is_made_good(
    house: MovingHouse, answers: int, incremental: bool, takes_back: bool
) -> None:
    """The store has moved people of whom the snapshot does not know it; so may the former emails be others' by then."""
    house.people(OnRemoved.KEEP if incremental else OnRemoved.DELETE, incremental=incremental)
    house.put("people", "ann@x.com - a", "bob@x.com - b", "cyd@x.com - c")
    house.run()
    numbers = [house.number(f"{name}@x.com") for name in ("ann", "bob", "cyd")]

    house.put("people", "ann2@x.com ann@x.com a", "bob2@x.com bob@x.com b", "cyd2@x.com cyd@x.com c")
    house.answers = answers
    if answers < 3:
        with pytest.raises(StoreError):
            house.run()
    else:
        house.run()
    if takes_back:
        # Others have the former emails, with the same values.
        house.put("people", *house_rows(), "ann@x.com - a", "bob@x.com - b", "cyd@x.com - c")
    house.run()

    assert house.run().counts.accepted == 0
    if takes_back:
        assert all(house.attributes(f"{name}@x.com") == {"plan": name[0]} for name in ("ann", "bob", "cyd"))
        assert all(house.attributes(f"{name}2@x.com") == {"plan": name[0]} for name in ("ann", "bob", "cyd"))
        return
    assert [house.number(f"{name}2@x.com") for name in ("ann", "bob", "cyd")] == numbers
    assert [house.person(f"{name}@x.com") for name in ("ann", "bob", "cyd")] == [None] * 3
    assert house.known() == ["ann2@x.com", "bob2@x.com", "cyd2@x.com"]


def house_rows() -> list[str]:
    return ["ann2@x.com ann@x.com a", "bob2@x.com bob@x.com b", "cyd2@x.com cyd@x.com c"]


def test_of_an_incremental_result_only_what_it_returns_moves(house: MovingHouse) -> None:
    house.people(OnRemoved.KEEP, incremental=True)
    house.put("people", "ann@x.com - a", "bob@x.com - b")
    house.run()
    number = house.number("ann@x.com")

    house.put("people", "anna@x.com ann@x.com a2")
    counts = house.run().counts

    assert (counts.added, counts.accepted, house.number("anna@x.com")) == (1, 1, number)
    assert house.known() == ["anna@x.com", "bob@x.com"]
    house.put("people")
    assert (house.run().counts.accepted, house.person("ann@x.com")) == (0, None)
    house.put("people", "ann@x.com - a")
    assert house.run().counts.accepted == 1
    assert house.attributes("ann@x.com") == {"plan": "a"}


def test_an_incremental_query_is_asked_again_for_who_could_not_move(house: MovingHouse) -> None:
    house.people(OnRemoved.KEEP, incremental=True)
    house.sync("forgotten", replace(BY_EMAIL, action=ListAction.SUPPRESS), "email")
    house.sync("remembered", replace(BY_EMAIL, action=ListAction.UNSUPPRESS), "email")
    house.put("people", "ann@x.com - a")
    house.put("forgotten", "anna@x.com")
    house.run("people", "forgotten")
    number = house.number("ann@x.com")
    house.put("people", "anna@x.com ann@x.com a")
    assert house.run("people").counts.rejected == 1

    house.put("remembered", "anna@x.com")
    house.run("remembered")
    house.run("people")

    assert house.asked_whole[-1] is True
    assert (house.number("anna@x.com"), house.person("ann@x.com")) == (number, None)


def test_one_row_may_be_sent_that_moves(house: MovingHouse) -> None:
    house.people()
    house.put("people", "ann@x.com - a", "bob@x.com - b")
    house.run()
    number = house.number("ann@x.com")

    house.put("people", "anna@x.com ann@x.com a")
    progress = house.run("people", only=("anna@x.com",))

    assert (progress.counts.accepted, house.number("anna@x.com")) == (1, number)
    assert house.known() == ["anna@x.com", "bob@x.com"]
    counts = house.run().counts
    assert (counts.removed, counts.accepted) == (1, 1)


def test_without_create_who_is_there_moves(house: MovingHouse) -> None:
    house.sync("all", BY_EMAIL, "email tier")
    house.people(OnRemoved.CLEAR, create=False)
    house.put("all", "ann@x.com gold")
    house.put("people", "ann@x.com - a", "bob@x.com - b")
    house.run()
    number = house.number("ann@x.com")

    house.put("people", "anna@x.com ann@x.com a", "bobby@x.com bob@x.com b")
    plan, counts = house.plan("people"), house.run("people").counts

    assert [key for key, _ in plan.would_reject] == ["bobby@x.com"]
    assert (counts.accepted, counts.absent, house.number("anna@x.com")) == (1, 1, number)


def test_what_null_keeps_stays_with_who_moves(house: MovingHouse) -> None:
    house.people(OnRemoved.CLEAR, on_null=OnNull.KEEP)
    house.put("people", "ann@x.com - a")
    house.run()

    house.put("people", "anna@x.com ann@x.com -")
    house.run()

    assert house.attributes("anna@x.com") == {"plan": "a"}
    house.put("people")
    house.run()
    assert house.attributes("anna@x.com") == {}


def test_a_sync_by_id_learns_that_an_email_has_moved(store_url: str, tmp_path: Path) -> None:
    house = MovingHouse(folder=tmp_path, store_url=store_url)
    house.sync("ids", BY_ID, "id email")
    house.people()
    house.put("ids", "1 ann@x.com")
    house.put("people", "ann@x.com - a")
    house.run()

    house.put("people", "anna@x.com ann@x.com a")
    house.put("ids", "1 anna@x.com")
    house.run("people", "ids")

    found = house.person("1")
    assert found is not None
    assert (found["email"], found["attributes"]) == ("anna@x.com", {"plan": "a"})
    assert house.person("ann@x.com") is None


def test_other_identifiers_move_along(store_url: str, tmp_path: Path) -> None:
    house = MovingHouse(folder=tmp_path, store_url=store_url, identity=Identity.ID_EMAIL_OR_PHONE)
    house.people(columns="email old id phone plan")
    house.put("people", "ann@x.com - 1 +4915110000001 a", "bob@x.com - 2 +4915110000002 b")
    house.run()
    numbers = [house.number(f"{name}@x.com") for name in ("ann", "bob")]

    house.put("people", "anna@x.com ann@x.com 1 +4915110000001 a", "bobby@x.com bob@x.com 2 +4915110000003 b")
    counts = house.run().counts

    assert (counts.removed, counts.accepted) == (0, 2)
    assert [house.number(f"{name}@x.com") for name in ("anna", "bobby")] == numbers
    found = house.person("2")
    assert found is not None
    assert (found["email"], found["phone"]) == ("bobby@x.com", "+4915110000003")
    assert house.run().counts.accepted == 0
