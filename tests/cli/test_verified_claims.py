"""`syncer verify` of the visitors whom people claimed, and of syncs of which nothing can be compared."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Folder
from tests.cli.test_verify import Shop, any_shop, database, server, shop

__all__ = ["any_shop", "server", "shop"]

CLAIMS = "entity: person\nperson: {id: id, anonymous: visitor}"
ROWS = "SELECT 'n' || range AS id, 'v' || range AS visitor, 'free' AS plan FROM range(4)"
EQUAL = {"checked": 4, "equal": 4}


@pytest.fixture
def claimed(shop: Shop) -> Shop:
    """Four people with a visitor each, one of whom has done something."""
    views = "SELECT 1 AS view_id, 'v1' AS visitor, TIMESTAMP '2026-01-02' AS seen_at"
    event = "entity: event\nstart: all\nperson: {anonymous: visitor}\nevent: {name: seen, id: view_id, time: seen_at}"
    shop.folder.define("views", views, event)
    shop.folder.define("users", ROWS, CLAIMS)
    shop.run("users", "views")
    return shop


def holders(shop: Shop) -> dict[str, str]:
    """Each visitor's person."""
    with database(shop) as execute:
        found = execute("SELECT v.anonymous_id, p.id FROM visitors v JOIN people p ON p.person_id = v.person_id")
        return dict(found.fetchall())


@pytest.mark.parametrize("how", [["--all"], [], ["--sample", "4"]])
def test_what_was_claimed_is_equal(claimed: Shop, how: list[str]) -> None:
    assert claimed.verify("users", *how) == EQUAL


def test_a_lost_claim_is_a_difference_and_sent_again_with_its_events(claimed: Shop) -> None:
    with database(claimed) as execute:
        execute("DELETE FROM visitors WHERE anonymous_id IN ('v1', 'v2')")
        execute("UPDATE events SET person_id = NULL")

    shown = claimed.syncer("verify", "users")
    assert (shown.code, shown.out.splitlines()) == (
        1,
        [
            "users: 4 rows checked: 2 equal, 2 different",
            "  different",
            "    id n1: person.anonymous",
            "    id n2: person.anonymous",
        ],
    )
    assert claimed.verify("users", "--all", "--repair") == {"checked": 4, "equal": 2, "different": 2, "repaired": 2}
    claimed.run("users")

    assert claimed.verify("users", "--all") == EQUAL
    assert holders(claimed) == {f"v{n}": f"n{n}" for n in range(4)}
    with database(claimed) as execute:
        ((whose,),) = execute("SELECT p.id FROM events e JOIN people p ON p.person_id = e.person_id").fetchall()
    assert whose == "n1"


def test_a_row_may_lack_its_visitor_and_an_attribute(claimed: Shop) -> None:
    with database(claimed) as execute:
        execute("DELETE FROM visitors WHERE anonymous_id = 'v1'")
        execute("UPDATE people SET attributes = '{}' WHERE id = 'n1'")
        execute("DELETE FROM people WHERE id = 'n2'")

    shown = claimed.syncer("verify", "users", "--all")

    assert shown.out.splitlines() == [
        "users: 4 rows checked: 2 equal, 1 different, 1 missing",
        "  different",
        "    id n1: person.anonymous, plan",
        "  missing",
        "    id n2",
    ]


def test_a_visitor_of_somebody_else_is_no_difference_but_said(claimed: Shop) -> None:
    """No run can take them back."""
    with database(claimed) as execute:
        execute("UPDATE visitors SET person_id = (SELECT person_id FROM people WHERE id = 'n0')")

    shown = claimed.syncer("verify", "users", "--all", "--repair")

    assert (shown.code, shown.out.splitlines()) == (
        0,
        [
            "users: 4 rows checked: 4 equal",
            "note: visitors that belong to other people now, and stay theirs: 3",
        ],
    )


def test_only_visitors_that_the_newest_rows_name_count(claimed: Shop) -> None:
    """NULL takes nothing back; without `anonymous` in the header nothing is claimed."""
    claimed.folder.define("users", ROWS.replace("'v' || range", "NULL::VARCHAR"), CLAIMS)
    claimed.run("users")
    with database(claimed) as execute:
        execute("DELETE FROM visitors WHERE anonymous_id = 'v3'")
    assert claimed.verify("users", "--all") == EQUAL
    claimed.folder.define("users", ROWS.replace("'v' || range", "'w' || range"), CLAIMS)
    claimed.run("users")
    with database(claimed) as execute:
        execute("DELETE FROM visitors")
    assert claimed.verify("users", "--all") == {"checked": 4, "different": 4}

    claimed.folder.define("users", f"SELECT * EXCLUDE (visitor) FROM ({ROWS})", "entity: person\nperson: {id: id}")

    assert claimed.verify("users", "--all") == EQUAL


def test_a_claim_is_compared_by_email_in_any_case_and_in_pages(shop: Shop) -> None:
    shop.environment = {**shop.environment, "SYNCER_STORES__DEFAULT__IDENTITY": "email"}
    rows = "SELECT 'N' || range || '@X.com' AS mail, 'v\"é\\' || range AS visitor FROM range(4500)"
    shop.folder.define("users", rows, "entity: person\nperson: {email: mail, anonymous: visitor}")
    shop.run("users")
    assert shop.verify("users", "--all") == {"checked": 4500, "equal": 4500}
    with database(shop) as execute:
        execute("DELETE FROM visitors WHERE anonymous_id LIKE '%99'")

    assert shop.verify("users", "--all") == {"checked": 4500, "equal": 4455, "different": 45}


def test_what_another_sync_removed_or_merged_is_no_lost_claim(claimed: Shop) -> None:
    claimed.folder.define("gone", "SELECT 'n1' AS id", "entity: person\nperson: {id: id}\naction: delete")
    claimed.folder.define("one", "SELECT 'n2' AS a, 'n3' AS b", "entity: merge\nkeep: {id: a}\nmerge: {id: b}")
    claimed.run("gone", "one")

    assert holders(claimed) == {"v0": "n0", "v2": "n2", "v3": "n2"}
    assert claimed.verify("users", "--all") == EQUAL


def test_a_store_that_cannot_be_asked_for_visitors_has_no_difference(any_shop: Shop) -> None:
    any_shop.folder.define("users", ROWS, CLAIMS)
    any_shop.run("users")

    shown = any_shop.syncer("verify", "users", "--all")

    assert (shown.code, shown.out.splitlines()[0]) == (0, "users: 4 rows checked: 4 equal")
    asks = "customerio" not in any_shop.environment["SYNCER_STORES__DEFAULT__URL"]
    said = [] if asks else ["note: whose visitors are is not compared: store `default` cannot be asked"]
    assert shown.out.splitlines()[1:] == said


def test_events_and_lists_are_not_compared_and_no_failure(folder: Folder) -> None:
    """So that all syncs can be verified by one command."""
    folder.people({})
    folder.define("people", "SELECT range AS id FROM range(2)", "entity: person\nperson: {id: id}")
    folder.define("gone", "SELECT 7 AS id", "entity: person\nperson: {id: id}\naction: delete")
    folder.define(
        "joined",
        "SELECT 1 AS id, TIMESTAMP '2026-01-02' AS at",
        "entity: event\nstart: all\nperson: {id: id}\nevent: {name: joined, id: id, time: at}",
    )
    assert folder.syncer("run", "--all").code == 0

    shown = folder.syncer("verify", "*", "--exclude", "customers")
    told = folder.syncer("verify", "joined", "--json", "--repair")

    assert (shown.code, shown.out.splitlines()) == (
        0,
        [
            "gone: not compared",
            "note: `gone` is a list: what it did once is not compared with the store",
            "joined: not compared",
            "note: `joined` sends events: each is sent once and never changes, so they are not compared with the "
            "store; `syncer explain event` looks for one",
            "people: 2 rows checked: 2 equal",
        ],
    )
    assert (told.code, [(one["sync"], one["checked"], one["repaired"]) for one in told.objects]) == (
        0,
        [("joined", 0, 0)],
    )
