"""People who claim the visitor that they were: a person sync with `anonymous`."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_visitors import HEADER as VIEWED
from tests.acceptance.test_visitors import VIEWS, Site, view

HEADER_BY_NUMBER = VIEWED.replace("id: user_id", "cio_id: user_id")
CLAIMS = """
entity: person
person: {id: user_id, anonymous: visitor_id}
"""
USERS = "SELECT user_id, visitor_id, plan FROM users"

User = tuple[str, str, str]


class Shop(Site):
    """The same with a table of users, and a sync of them that claims visitors."""

    header_of_users = CLAIMS
    query_of_users = USERS

    def define_users(self, more: str = "") -> None:
        self.project.define("users", f"{self.header_of_users}{more}", self.query_of_users)

    def users(self, *rows: User, words: tuple[str, ...] = (), code: int = 0) -> dict[str, Any]:
        """Let the table have these rows, and run the sync."""
        self.project.table("users", "user_id,visitor_id,plan", *(",".join(row) for row in rows))
        ended = self.project.syncer("run", "users", "--json", *words)
        assert ended.code == code, (ended.code, ended.err)
        (run,) = ended.objects
        return run

    def visitors(self) -> dict[str, str]:
        """Each visitor's person."""
        return dict(self.fetch("SELECT v.anonymous_id, p.id FROM visitors v JOIN people p USING (person_id)"))

    def shown(self, who: str) -> dict[str, Any]:
        (shown,) = self.project.syncer("show", "person", who, "--json").objects
        content: dict[str, Any] = shown["content"]
        return content

    def reasons(self) -> dict[str, str]:
        return {row["key"]: row["reason"] for row in self.project.syncer("rejected", "users", "--json").objects}


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    store = f"sqlite:///{tmp_path}/profiles.db"
    if request.param == "postgresql":
        store = str(request.getfixturevalue("postgres_url"))
    return made(tmp_path, store)


@pytest.fixture
def local(tmp_path: Path) -> Shop:
    return made(tmp_path, f"sqlite:///{tmp_path}/profiles.db")


def made(path: Path, store: str) -> Shop:
    shop = Shop(path=path, store=store, name="viewed", header=VIEWED, query=VIEWS)
    shop.define_users()
    return shop


@pytest.mark.parametrize("early", [False, True], ids=["late", "early"])
def test_claimed_late_or_early_the_events_are_the_persons(shop: Shop, early: bool) -> None:
    shop.write(view(1, "", "v1"), view(2, "", "v2"), view(3, "bob", "v1"))
    if not early:
        shop.run()

    run = shop.users(("ann", "v1", "pro"), ("bob", "", "free"))
    shop.run()

    assert (run["added"], run["accepted"]) == (2, 2)
    assert shop.viewed() == [("w1", "ann", "v1"), ("w2", None, "v2"), ("w3", "bob", None)]
    shown = shop.shown("ann")
    assert (shown["anonymous_ids"], shown["attributes"]) == (["v1"], {"plan": "pro"})
    assert [one["data"]["view_id"] for one in shown["events"]] == ["w1"]
    assert shop.shown("bob")["anonymous_ids"] == []
    assert shop.users(("ann", "v1", "pro"), ("bob", "", "free"))["accepted"] == 0


def test_another_visitor_is_a_change_and_none_is_nothing(shop: Shop) -> None:
    shop.write(view(1, "", "v1"), view(2, "", "v2"))
    shop.run()
    shop.users(("ann", "", "pro"), ("bob", "", "free"))

    first = shop.users(("ann", "v1", "pro"), ("bob", "", "free"))
    second = shop.users(("ann", " v2 ", "pro"), ("bob", "", "free"))
    none = shop.users(("ann", "", "pro"), ("bob", "", "free"))

    assert [(run["changed"], run["accepted"], run["rejected"]) for run in (first, second)] == [(1, 1, 0)] * 2
    assert none["rejected"] == 0
    assert shop.visitors() == {"v1": "ann", "v2": "ann"}
    assert shop.viewed() == [("w1", "ann", "v1"), ("w2", "ann", "v2")]
    assert shop.shown("ann")["attributes"] == {"plan": "pro"}


def test_a_plan_shows_the_visitor_and_holds_for_none_that_is_missing(local: Shop) -> None:
    many = [(f"u{n}", f"v{n}", "pro") for n in range(40)]
    local.users(*many)
    local.project.table("users", "user_id,visitor_id,plan", *(f"u{n},,pro" for n in range(40)))

    (plan,) = local.project.syncer("plan", "users", "--json").objects

    assert plan["changed"] == 40
    assert plan["sample"][0]["before"] == {"plan": "pro", "person.anonymous": "v0"}
    # Nothing is unset by it.
    ran = local.project.syncer("run", "users", "--json")
    assert (ran.code, ran.objects[0]["accepted"]) == (0, 40)
    assert len(local.visitors()) == 40


def test_what_became_of_a_claim_is_explained(local: Shop) -> None:
    local.users(("ann", "v1", "pro"), ("bob", "v1", "pro"), ("cleo", "", "pro"), code=1)

    def explained(who: str) -> tuple[str, dict[str, bool]]:
        (row,) = local.project.syncer("explain", "person", who, "--json").objects
        said = local.project.syncer("explain", "person", who).out.splitlines()[0]
        return said.partition(": ")[2], {one["attribute"]: one["stands"] for one in row["attributes"]}

    stands = "delivered, and the store has these values"
    assert explained("ann") == (stands, {"plan": True, "person.anonymous": True})
    assert explained("bob") == ("rejected: another person has this visitor", {})
    assert explained("cleo") == (stands, {"plan": True})
    with closing(sqlite3.connect(local.store.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM visitors")
        connection.commit()
    assert explained("ann")[0] == "delivered, but the store has other values of `person.anonymous`"


def test_a_forgotten_person_leaves_no_visitor_in_any_file(local: Shop) -> None:
    """Neither claims that were accepted, rejected or planned, nor events that wait, have them."""
    local.header = HEADER_BY_NUMBER
    local.query = f"{VIEWS} WHERE {{{{ last_event_time }}}} >= 0"
    local.define()
    users = [("ann", "visitor-one", "pro"), ("bob", "visitor-one", "pro"), ("cleo", "visitor-cleo", "pro")]
    local.users(*users, code=1)
    local.users(("ann", "visitor-two", "pro"), *users[1:], code=1)
    local.users(*users[1:], code=1)
    local.users(("ann", "visitor-three", "pro"), *users[1:], code=1)
    local.project.table("users", "user_id,visitor_id,plan", "ann,visitor-four,pro")
    assert local.project.syncer("plan", "users", "--save").code == 0
    # They wait for a person; what they say of the visitor is theirs all the same.
    local.write(view(1, "999", "visitor-one"), view(2, "", "visitor-two"), view(3, "", "visitor-cleo"))
    local.run(code=1)
    sought = [f"visitor-{one}".encode() for one in ("one", "two", "three", "four", "cleo")]

    def found() -> set[bytes]:
        state = local.project.path / ".syncer"
        files = [*state.rglob("*"), *Path(local.store.removeprefix("sqlite:///")).parent.glob("profiles.db*")]
        data = b"".join(path.read_bytes() for path in files if path.is_file())
        return {one for one in sought if one in data}

    assert found() == {*sought}

    forgotten = local.project.syncer("forget", "person", "--id", "ann")

    assert forgotten.code == 0, forgotten.err
    assert found() == {b"visitor-cleo"}
    assert local.visitors() == {"visitor-cleo": "cleo"}


def test_a_visitor_of_somebody_else_is_a_rejection_until_they_are_free(shop: Shop) -> None:
    shop.write(view(1, "", "v1"))
    shop.run()
    shop.define_users("on_removed: delete\nlimits: {removed: 100%, empty: allow}")
    shop.users(("ann", "v1", "pro"))

    shop.project.table("users", "user_id,visitor_id,plan", "ann,v1,pro", "bob,v1,free", "cleo,v3,free")
    (plan,) = shop.project.syncer("plan", "users", "--json").objects
    assert plan["would_reject"] == [{"key": "bob", "reason": "another person has this visitor"}]
    run = shop.users(("ann", "v1", "pro"), ("bob", "v1", "free"), ("cleo", "v3", "free"), code=1)

    assert (run["accepted"], run["rejected"]) == (1, 1)
    assert shop.reasons() == {"bob": "another person has this visitor"}
    assert shop.visitors() == {"v1": "ann", "v3": "cleo"}
    assert shop.users(("bob", "v1", "free"), ("cleo", "v3", "free"))["rejected"] == 0
    # Who was deleted took what they did along.
    assert (shop.visitors(), shop.viewed()) == ({"v1": "bob", "v3": "cleo"}, [])


def test_each_bad_visitor_has_its_reason(local: Shop) -> None:
    run = local.users(("ann", "v" * 151, "pro"), ("bob", "v" * 150, "pro"), ("cleo", "  ", "pro"), code=1)

    assert (run["accepted"], run["rejected"]) == (2, 1)
    assert local.reasons() == {"ann": "`visitor_id` is longer than 150 bytes"}
    assert local.visitors() == {"v" * 150: "bob"}


def test_a_visitor_may_be_a_number_and_no_json(local: Shop) -> None:
    local.write()
    local.query_of_users = "SELECT 'ann' AS user_id, 7 AS visitor_id"
    local.define_users()
    assert local.project.syncer("run", "users").code == 0
    assert local.visitors() == {"7": "ann"}

    local.query_of_users = "SELECT 'ann' AS user_id, CAST('{}' AS JSON) AS visitor_id"
    local.define_users()
    ended = local.project.syncer("run", "users")

    assert ended.code == 1
    assert "column `visitor_id` is of the kind json, which is no visitor's id" in ended.err


def test_a_header_that_gains_a_visitor_claims_and_one_that_loses_it_unsets_nothing(shop: Shop) -> None:
    shop.write(view(1, "", "v1"))
    shop.run()
    shop.header_of_users, rest = "entity: person\nperson: {id: user_id}\n", "on_removed: clear\nexclude: [visitor_id]"
    shop.define_users(rest)
    shop.users(("ann", "v1", "pro"))
    shop.header_of_users = CLAIMS
    shop.define_users("on_removed: clear")

    gained = shop.users(("ann", "v1", "pro"))

    assert (gained["changed"], shop.visitors()) == (1, {"v1": "ann"})
    assert shop.viewed() == [("w1", "ann", "v1")]
    shop.header_of_users = "entity: person\nperson: {id: user_id}\n"
    shop.define_users(rest)
    lost = shop.users(("ann", "v1", "pro"))
    assert (lost["changed"], lost["accepted"]) == (0, 0)
    assert (shop.visitors(), shop.shown("ann")["attributes"]) == ({"v1": "ann"}, {"plan": "pro"})
    # The column may become an attribute, of any name.
    shop.define_users("attributes: {person.anonymous: visitor_id, plan: plan}")
    assert shop.users(("ann", "v1", "pro"))["accepted"] == 1
    assert shop.shown("ann")["attributes"] == {"plan": "pro", "person.anonymous": "v1"}


def test_an_incremental_query_claims_too(shop: Shop) -> None:
    shop.write(view(1, "", "v1"), view(2, "", "v2"))
    shop.run()
    shop.query_of_users = f"{USERS} WHERE {{{{ last_sync_time }}}} >= 0"
    shop.define_users()
    shop.users(("ann", "v1", "pro"), ("bob", "v1", "pro"), code=1)
    assert shop.reasons() == {"bob": "another person has this visitor"}

    assert shop.users(("bob", "v2", "pro"))["accepted"] == 1

    assert shop.viewed() == [("w1", "ann", "v1"), ("w2", "bob", "v2")]


def test_sent_again_in_full_or_after_a_loss_a_claim_is_the_same(shop: Shop) -> None:
    shop.write(view(1, "", "v1"), view(2, "", "v2"))
    shop.run()
    users = [("ann", "v1", "pro"), ("bob", "v2", "free")]
    shop.users(*users)

    assert shop.users(*users, words=("--full",))["accepted"] == 2
    shutil.rmtree(shop.project.path / ".syncer")
    shop.users(*users)
    shop.run()

    assert (shop.visitors(), shop.count()) == ({"v1": "ann", "v2": "bob"}, (2, 2))
    assert shop.viewed() == [("w1", "ann", "v1"), ("w2", "bob", "v2")]


def test_whatever_dies_a_claimed_visitor_has_no_event_that_is_nobodys(shop: Shop) -> None:
    """After each kill, and between two processes that claim and that send events."""
    chance, people = random.Random(0), 3_000
    rows = [view(n, "", f"v{n % people}", hours=-200) for n in range(2 * people)]
    shop.write(*rows)
    shop.run()
    begun = time.monotonic()
    shop.users(("u0", "v0", "pro"))
    seconds, killed, number = time.monotonic() - begun + 0.5, 0, 1
    while killed < 3:
        number = min(people, number + 900)
        users = [f"u{n},v{n},pro{killed}" for n in range(number)]
        shop.project.table("users", "user_id,visitor_id,plan", *users)
        rows += [view(len(rows) + n, "", f"v{n % people}", hours=-200) for n in range(500)]
        shop.write(*rows)
        claiming = shop.project.started("run", "users", "--json").process
        sending = shop.project.started("run", "viewed", "--json").process
        claiming.join(chance.uniform(0.4, 1.0) * seconds)
        if claiming.is_alive():
            claiming.kill()
            killed += 1
        claiming.join()
        sending.join()
        unclaimed = "SELECT count(*) FROM events e JOIN visitors v USING (anonymous_id) WHERE e.person_id IS NULL"
        assert shop.fetch(unclaimed) == [(0,)]
        seconds *= 0.9

    shop.users(*((f"u{n}", f"v{n}", "pro") for n in range(people)))
    shop.run()

    assert shop.count() == (len(rows), len(rows))
    assert shop.fetch("SELECT count(*) FROM events WHERE person_id IS NULL") == [(0,)]
    wrong = "SELECT count(*) FROM events e JOIN people p USING (person_id) WHERE 'u' || substr(anonymous_id, 2) <> p.id"
    assert shop.fetch(wrong) == [(0,)]
