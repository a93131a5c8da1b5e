"""Commands on an event sync."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import Folder

HEADER = """entity: event
person: {id: id}
event: {name: joined, id: id, time: at}
start: all"""
ROWS = "SELECT range AS id, 'x' AS plan, TIMESTAMP '2026-01-01' + range * INTERVAL 1 DAY AS at FROM range({})"


@pytest.fixture
def joined(folder: Folder) -> Folder:
    """A folder whose event sync has sent three rows."""
    folder.define("joined", ROWS.format(3), HEADER)
    ran = folder.syncer("run", "joined")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].split()[-2:] == ["altered", "seconds"]
    return folder


def test_a_plan_shows_what_would_be_sent_with_its_time(joined: Folder) -> None:
    joined.define("joined", ROWS.format(4).replace("'x'", "CASE WHEN range > 1 THEN 'y' ELSE 'x' END"), HEADER)

    shown = joined.syncer("plan", "joined").out.splitlines()

    assert shown[0] == "joined: 4 queried, 1 added, 0 changed, 0 removed, 2 unchanged, 1 altered"
    assert "  note: events that changed after they were sent, and are not sent again: 1" in shown
    added = shown.index("  added")
    assert shown[added + 1] == "    id 3"
    assert '      at: "2026-01-04T00:00:00Z"' in shown[added:]
    assert '      id: "3"' in shown[added:] or "      id: 3" in shown[added:]
    altered = shown.index("  altered: sent before, and not sent again")
    assert shown[altered + 1] == "    id 2"


def test_a_plan_that_was_kept_sends_what_it_showed(joined: Folder) -> None:
    joined.define("joined", ROWS.format(5), HEADER)
    (plan,) = joined.syncer("plan", "joined", "--save", "--json").objects
    joined.define("other", "SELECT 1 AS id")

    (run,) = joined.syncer("run", "joined", "--plan", plan["plan_id"], "--json").objects

    assert (run["status"], run["added"], run["accepted"]) == ("success", 2, 2)
    assert joined.syncer("run", "joined", "--json").objects[0]["accepted"] == 0


def test_a_plan_can_be_searched_and_exported(joined: Folder) -> None:
    joined.define("joined", ROWS.format(5), HEADER)

    (found,) = joined.syncer("plan", "joined", "--search", "2026-01-05", "--json").objects
    exported = joined.syncer("plan", "joined", "--export", "rows.csv")

    assert [row["key"] for row in found["sample"]] == ["4"]
    assert exported.code == 0
    assert len((joined.path / "rows.csv").read_text().splitlines()) == 3


def test_a_person_is_explained_by_other_syncs_alone(joined: Folder) -> None:
    assert joined.syncer("run", "customers").code == 0

    explained = joined.syncer("explain", "person", "1", "--json")

    assert [row["sync"] for row in explained.objects] == ["customers"]
    (shown,) = joined.syncer("show", "person", "1", "--json").objects
    assert shown["syncs"] == ["customers", "joined"]


def explained(folder: Folder, name: str, key: str) -> tuple[str, dict[str, object]]:
    """What is said of an event, and what the store has of it."""
    said = folder.syncer("explain", "event", name, key)
    rows = folder.syncer("explain", "event", name, key, "--json").objects
    found = {one["attribute"]: one["stored"] for row in rows for one in row["attributes"]}
    return said.out.splitlines()[0], found


def test_an_event_is_explained_with_who_did_it(joined: Folder) -> None:
    said, found = explained(joined, "joined", "1")

    assert said == "joined 1: delivered, and the store has these values"
    assert (found["person.id"], found["plan"], found["occurred_at"]) == ("1", "x", "2026-01-02T00:00:00+00:00")
    assert joined.syncer("explain", "event", "joined", "9").code == 1
    assert joined.syncer("explain", "event", "left", "1").code == 1


def test_what_became_of_events_is_explained(folder: Folder) -> None:
    """Of a name in a column and a key of two, of a visitor, of one that is rejected, and of one that is gone."""
    header = "entity: event\nperson: {anonymous: visitor}\nstart: all\n"
    header += "event: {name: {column: what}, id: [a, b], time: at}"
    columns = "a, 'x' AS b, 'seen' AS what, nullif(a, 2) AS visitor, TIMESTAMP '2026-01-02' AS at"
    rows = f"SELECT {columns} FROM range(4) t (a)"
    folder.define("views", rows, header)
    assert folder.syncer("run", "views").code == 1
    with closing(sqlite3.connect(folder.path / ".syncer/profiles.db")) as connection:
        connection.execute("DELETE FROM events WHERE anonymous_id = '3'")
        connection.commit()

    said, found = explained(folder, "seen", '[1, "x"]')
    rejected, _ = explained(folder, "seen", '["2","x"]')
    gone, nothing = explained(folder, "seen", '["3","x"]')

    assert said == 'views ["1","x","seen"]: delivered, and the store has these values'
    assert (found["person.anonymous"], found["a"], found.get("person.id")) == ("1", 1, None)
    assert rejected == 'views ["2","x","seen"]: rejected: `visitor` is NULL'
    assert gone.startswith('views ["3","x","seen"]: sent once, and the store has it no more: its person was deleted')
    assert nothing == {}
    assert folder.syncer("explain", "event", "seen", "3").code == 1


def test_people_read_who_did_it_how_often(joined: Folder) -> None:
    shown = joined.syncer("show", "events", "joined", "--since", "2026-01-02")
    none = joined.syncer("show", "events", "joined", "--since", "2026-01-01", "--at-least", "2", "--json")

    assert [line.split() for line in shown.out.splitlines()] == [
        ["cio_id", "id", "count"],
        ["2", "1", "1"],
        ["3", "2", "1"],
    ]
    assert (none.code, none.out) == (0, "")


def test_a_changed_name_begins_anew_and_removes_nothing(joined: Folder) -> None:
    joined.define("joined", ROWS.format(3), HEADER.replace("joined", "signed_up"))

    (run,) = joined.syncer("run", "joined", "--json").objects

    assert (run["added"], run["removed"], run["accepted"]) == (3, 0, 3)
    (person,) = joined.syncer("show", "person", "1", "--json").objects
    assert {one["name"] for one in person["content"]["events"]} == {"joined", "signed_up"}


def test_a_row_that_is_not_there_cannot_be_sent(joined: Folder) -> None:
    ran = joined.syncer("run", "joined", "--row", "9")

    assert ran.code != 0
    assert "the query's result has no row of this key" in ran.err


def test_a_forgotten_person_is_in_no_file(joined: Folder) -> None:
    """Neither a rejected event, which an incremental query does not return again, nor a saved plan has them."""
    newer = "SELECT * FROM ({}) AS t WHERE seen_at >= to_timestamp({{{{ last_event_time }}}}) AT TIME ZONE 'UTC'"
    rows = f"SELECT 'canary-' || id AS who, id, seen_at FROM ({ROWS.format(4).replace('AS at', 'AS seen_at')}) AS r"
    header = (
        HEADER.replace("joined", "seen")
        .replace("person: {id: id}", "person: {id: who}")
        .replace("time: at", "time: seen_at")
    )
    joined.define("seen", newer.format(rows), header + "\ncreate: false\nlookback: 1 hour")
    assert joined.syncer("run", "seen").code == 1
    assert joined.syncer("plan", "seen", "--save").code == 0

    assert joined.syncer("forget", "person", "--id", "canary-2").code == 0

    state = joined.path / ".syncer"
    found = [path for path in state.rglob("*") if path.is_file() and b"canary-2" in path.read_bytes()]
    assert [path.name for path in found if path.name.startswith("seen") or path.suffix == ".parquet"] == []
    keys = [row["key"] for row in joined.syncer("rejected", "seen", "--json").objects]
    assert keys == ["0", "1", "3"]
