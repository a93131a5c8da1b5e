"""Visitors: what somebody did before anybody knew who they are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.test_events import Shop, at

HEADER = """
entity: event
person: {id: user_id, anonymous: visitor_id}
event: {name: viewed, id: view_id, time: seen_at}
"""
VIEWS = "SELECT view_id, user_id, visitor_id, seen_at, page FROM views"
COLUMNS = "view_id,user_id,visitor_id,seen_at,page"

View = tuple[str, str, str, str, str]


class Site(Shop):
    """A table of views, of people and of visitors, and a sync of them as events."""

    def write(self, *rows: View) -> None:  # type: ignore[override]
        """Let the table have these rows."""
        self.rows = list(rows)  # type: ignore[arg-type]
        self.project.table("views", COLUMNS, *(",".join(row) for row in rows))

    def viewed(self) -> list[tuple[str, str | None, str | None]]:
        """Of each event its view, the id of its person, and its visitor."""
        view = "e.data ->> 'view_id'"
        return self.fetch(
            f"SELECT {view}, p.id, e.anonymous_id FROM events e LEFT JOIN people p ON p.person_id = e.person_id "
            "ORDER BY e.occurred_at, 1"
        )


def view(number: int, user: str = "", visitor: str = "", hours: float = -10) -> View:
    """A view of a person, or of a visitor; a blank is NULL."""
    return (f"w{number}", user, visitor, at(hours + number / 100), "home")


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    store = f"sqlite:///{tmp_path}/profiles.db"
    if request.param == "postgresql":
        store = str(request.getfixturevalue("postgres_url"))
    return Site(path=tmp_path, store=store, name="viewed", header=HEADER, query=VIEWS)


@pytest.fixture
def local(tmp_path: Path) -> Site:
    return Site(path=tmp_path, store=f"sqlite:///{tmp_path}/profiles.db", name="viewed", header=HEADER, query=VIEWS)


def test_who_did_it_is_the_person_or_else_the_visitor(site: Site) -> None:
    site.write(view(1, "ann"), view(2, "", "v1"), view(3, "bob", "v1"), view(4, "", "v2"))

    run = site.run()

    assert (run["added"], run["accepted"], run["rejected"]) == (4, 4, 0)
    assert site.viewed() == [("w1", "ann", None), ("w2", None, "v1"), ("w3", "bob", None), ("w4", None, "v2")]
    (shown,) = site.project.syncer("show", "person", "ann", "--json").objects
    assert [one["data"] for one in shown["content"]["events"]] == [{"view_id": "w1", "page": "home"}]
    assert site.run()["accepted"] == 0


def test_all_may_be_visitors(site: Site) -> None:
    site.header = HEADER.replace("id: user_id, ", "")
    site.define()
    site.write(view(1, "ann", "v1"), view(2, "", " v2 "))

    assert site.run()["accepted"] == 2

    assert site.viewed() == [("w1", None, "v1"), ("w2", None, "v2")]
    assert site.fetch("SELECT count(*) FROM people") == [(0,)]
    assert site.fetch("SELECT data ->> 'user_id' FROM events ORDER BY occurred_at") == [("ann",), (None,)]


def test_a_row_of_nobody_is_rejected_and_nothing_else_is_lost(local: Site) -> None:
    long = "v" * 151
    local.write(view(1), view(2, "", "v1"), view(3, "", long), view(4, "u" * 151, "v1"), view(5, "ann", long))

    run = local.run(code=1)

    assert (run["rejected"], run["accepted"]) == (3, 2)
    assert local.rejected() == {
        "w1": "`user_id` and `visitor_id` are NULL",
        "w3": "`visitor_id` is longer than 150 bytes",
        "w4": "`user_id` is longer than 150 bytes",
    }
    assert local.viewed() == [("w2", None, "v1"), ("w5", "ann", None)]


def test_where_all_are_visitors_each_row_needs_one(local: Site) -> None:
    local.header = HEADER.replace("id: user_id, ", "")
    local.define()
    local.write(view(1, "ann"), view(2, "", "v1"))

    assert local.run(code=1)["accepted"] == 1
    assert local.rejected() == {"w1": "`visitor_id` is NULL"}


def test_a_plan_shows_who_did_it(local: Site) -> None:
    local.write(view(1, "ann", "v9"), view(2, "", "v1"))

    shown = {row["key"]: row["after"] for row in local.plan()["sample"]}

    assert (shown["w1"]["user_id"], shown["w1"].keys() & {"visitor_id"}) == ("ann", set())
    assert (shown["w2"]["visitor_id"], shown["w2"].keys() & {"user_id"}) == ("v1", set())


def test_without_create_a_plan_says_who_is_not_there_and_visitors_may_be(local: Site) -> None:
    local.define("create: false")
    local.write(view(1, "ann"), view(2, "", "v1"))
    # Also where there is no store yet.
    assert local.plan()["would_reject"] == [{"key": "w1", "reason": "the person does not exist yet"}]
    local.project.define("people", "entity: person\nperson: {id: id}", "SELECT 'bob' AS id, 1 AS a")
    assert local.project.syncer("run", "people").code == 0

    assert local.plan()["would_reject"] == [{"key": "w1", "reason": "the person does not exist yet"}]
    assert (local.run(code=1)["accepted"], local.rejected()) == (1, {"w1": "the person does not exist yet"})


def test_a_rejected_event_of_an_incremental_query_keeps_who_did_it(local: Site) -> None:
    local.query = f"{VIEWS} WHERE seen_at >= to_timestamp({{{{ last_event_time }}}}) AT TIME ZONE 'UTC'"
    local.define("lookback: 1 hour\ncreate: false")
    local.write(view(1, "ann"), view(2, "", "v1", hours=-1))
    assert (local.run(code=1)["accepted"], local.viewed()) == (1, [("w2", None, "v1")])
    local.project.define("people", "entity: person\nperson: {id: id}", "SELECT 'ann' AS id")
    assert local.project.syncer("run", "people").code == 0

    assert local.run()["accepted"] == 1

    assert local.viewed() == [("w1", "ann", None), ("w2", None, "v1")]


def test_an_event_whose_visitor_becomes_known_is_the_same_event(site: Site) -> None:
    """Its row has changed: it is shown and not sent, and sent again it changes nothing."""
    first = view(1, "", "v1")
    site.write(first, view(2, "", "v1"))
    site.run()
    site.write((first[0], "ann", *first[2:]), site.rows[1])  # type: ignore[arg-type]

    run = site.run()

    assert (run["altered"], run["accepted"]) == (1, 0)
    assert (site.run("--full")["accepted"], site.count()) == (2, (2, 2))
    shutil.rmtree(site.project.path / ".syncer")
    assert (site.run()["accepted"], site.count()) == (2, (2, 2))
    assert site.viewed() == [("w1", None, "v1"), ("w2", None, "v1")]


@pytest.mark.parametrize("days", ["30", "0.5"])
def test_what_nobody_claims_goes_with_a_later_run(local: Site, days: str) -> None:
    local.project.environment["SYNCER_STORES__DEFAULT__KEEP_ANONYMOUS"] = days
    local.write(view(1, "ann"), view(2, "", "v1"))
    local.run()
    age(local, float(days) - 0.1)
    assert (local.run()["accepted"], len(local.viewed())) == (0, 2)
    age(local, 0.2)

    assert local.run()["accepted"] == 0

    assert local.viewed() == [("w1", "ann", None)]
    (last,) = local.project.syncer("runs", "viewed", "--limit", "1", "--json").objects
    assert last["notes"] == ["events of visitors whom nobody claimed in time, and that were removed: 1"]
    # What was sent is not sent again.
    assert (local.run()["unchanged"], len(local.viewed())) == (2, 1)


def age(site: Site, days: float) -> None:
    """Let all events of a store in SQLite have come so many days earlier."""
    with closing(sqlite3.connect(site.store.removeprefix("sqlite:///"))) as connection:
        connection.execute(
            "UPDATE events SET received_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', received_at, ?)",
            [f"-{days * 86_400} seconds"],
        )
        connection.commit()


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e9"])
def test_a_time_that_is_none_is_refused(local: Site, value: str) -> None:
    local.project.environment["SYNCER_STORES__DEFAULT__KEEP_ANONYMOUS"] = value

    ended = local.project.syncer("validate")

    assert ended.code == 2
    assert "SYNCER_STORES__DEFAULT__KEEP_ANONYMOUS" in ended.err
