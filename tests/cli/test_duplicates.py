from __future__ import annotations

import pytest

from tests.cli.conftest import Folder

PEOPLE = (
    "SELECT * FROM (VALUES (1, 'Ada@example.com', '+49 30 1', 'Ada'), (2, 'bob@example.com', NULL, 'Bob'), "
    "(3, 'ada@example.com', '+49/301', 'ADA ')) t (id, email, phone, name)"
)


@pytest.fixture
def twins(folder: Folder) -> Folder:
    """A store in which the people 1 and 3 share everything."""
    folder.define("customers", PEOPLE)
    assert folder.syncer("run", "customers").code == 0
    return folder


@pytest.mark.parametrize("by", ["email", "phone", " name + email"])
def test_what_people_have_in_common_makes_them_a_pair(twins: Folder, by: str) -> None:
    shown = twins.syncer("duplicates", "person", "--by", by, "--json")

    assert (shown.code, shown.err) == (0, "")
    assert shown.objects == [
        {
            "keep": {"id": "1", "email": "ada@example.com", "cio_id": "1"},
            "merge": {"id": "3", "email": "ada@example.com", "cio_id": "3"},
            "by": by.replace(" ", ""),
        }
    ]


def test_the_printed_file_is_a_table_of_the_warehouse(twins: Folder) -> None:
    found = twins.syncer("duplicates", "person", "--by", "email", "--json")
    twins.write("sync_definitions/sample_data/duplicates.jsonl", found.out)
    twins.define("merged", 'SELECT keep.id AS id, "merge".cio_id AS other FROM duplicates')

    (plan,) = twins.syncer("plan", "merged", "--json").objects

    assert plan["sample"] == [{"change": "added", "key": "1", "before": None, "after": {"other": "3"}}]


def test_for_people_it_is_a_table_and_says_whether_there_is_more(folder: Folder) -> None:
    folder.define("customers", "SELECT range AS id, 'x@example.com' AS email, 'é' AS name FROM range(60)")
    assert folder.syncer("run", "customers").code == 0

    shown = folder.syncer("duplicates", "person", "--by", "name")
    some = folder.syncer("duplicates", "person", "--by", "name", "--limit", "2")
    every = folder.syncer("duplicates", "person", "--by", "name", "--json")

    assert [run.code for run in (shown, some, every)] == [0, 0, 0]
    lines = shown.out.splitlines()
    assert lines[0].split() == ["keep", "merge"]
    assert lines[1] == "id 0, x@example.com, cio_id 1  id 1, x@example.com, cio_id 2"
    assert (len(lines), lines[-1]) == (52, "note: there are more than 50; --limit shows more, --json all")
    assert len(some.out.splitlines()) == 4
    assert len(every.objects) == 59


def test_without_a_pair_it_says_why(twins: Folder) -> None:
    email = twins.syncer("duplicates", "person", "--by", "email+plan", "--json")
    shown = twins.syncer("duplicates", "person", "--by", "plan")

    assert (email.code, email.out) == (1, "")
    assert email.err == "note: nobody in the store has the attribute `plan`\n"
    assert shown.out.splitlines() == [
        "No two people have that in common.",
        "note: nobody in the store has the attribute `plan`",
    ]
    assert shown.code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", ""], "has an empty name"),
        (["--by", "name+"], "has an empty name"),
        (["--by", "name+name"], "has a name twice"),
        (["--by", "cio_id"], "no two people share a cio_id"),
        (["--by", "name", "--store", "crm"], "no store is called `crm`"),
        (["--by", "name", "--limit", "0"], "--limit"),
        ([], "--by"),
    ],
)
def test_wrong_arguments_are_refused(folder: Folder, arguments: list[str], said: str) -> None:
    ran = folder.syncer("duplicates", "person", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_customer_io_cannot_be_searched(folder: Folder) -> None:
    store = "SYNCER_STORES__DEFAULT"
    keys = {f"{store}__URL": "customerio://us", f"{store}__SITE_ID": "site", f"{store}__API_KEY": "hunter2"}

    ran = folder.syncer("duplicates", "person", "--by", "email", "--json", env=keys)

    assert (ran.code, ran.out) == (2, "")
    assert "the store `default` does not list its people" in ran.err
    assert "in the warehouse" in ran.err


def test_a_store_that_fails_shows_no_value(twins: Folder) -> None:
    (twins.path / ".syncer/profiles.db").write_bytes(b"Ada@example.com" * 1000)

    ran = twins.syncer("duplicates", "person", "--by", "email")

    assert ran.code == 1
    assert "Ada@example.com" not in ran.out + ran.err
