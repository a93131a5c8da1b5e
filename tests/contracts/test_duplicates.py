"""Which people of an SQL store may be one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from syncer.model.duplicates import DUPLICATES, FindsDuplicates
from syncer.model.protocols import ProfileStore
from syncer.model.types import Identity
from tests.contracts.batches import PEOPLE, PEOPLE_BY_EMAIL, apply, put
from tests.contracts.conftest import OpenStore

pytestmark = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


def found(store: ProfileStore, *names: str, limit: int | None = None) -> list[tuple[str, str]]:
    """The ids of each pair."""
    return [(pair["keep"]["id"], pair["merge"]["id"]) for pair in pairs(store, *names, limit=limit)]


def pairs(store: ProfileStore, *names: str, limit: int | None = None) -> list[dict[str, Any]]:
    assert isinstance(store, FindsDuplicates)
    pages = list(store.duplicates(names, limit))
    assert all(page.schema == DUPLICATES for page in pages)
    return [pair for page in pages for pair in page.to_pylist()]


def people(store: ProfileStore, name: str, values: Iterable[Any]) -> None:
    """People `a`, `b`, … with these values of one attribute."""
    rows = [put(id_, attributes={name: value}) for id_, value in zip("abcdefghijk", values, strict=False)]
    assert {verdict for verdict, _ in apply(store, PEOPLE, *rows)} == {"accepted"}


def test_who_has_the_same_email_goes_with_the_oldest(store: ProfileStore) -> None:
    emails = ["Ada@Example.com", "bob@example.com", "ada@example.com ", "ADA@EXAMPLE.COM"]
    for id_, email in zip("zbca", emails, strict=True):
        apply(store, PEOPLE, put(id_, email=email))
    apply(store, PEOPLE, put("x"), put("y"))

    assert found(store, "email") == [("z", "c"), ("z", "a")]
    assert found(store, "email", limit=1) == [("z", "c")]
    assert pairs(store, "email", limit=1) == [
        {
            "keep": {"id": "z", "email": "Ada@Example.com", "cio_id": "1"},
            "merge": {"id": "c", "email": "ada@example.com ", "cio_id": "3"},
        }
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["+49 (30) 12-34", "+49301234", " +49/30/1234", "49301234", "0049301234"], [("a", "b"), ("a", "c")]),
        ([301234, "30 1234", "30.1234 "], [("a", "b"), ("a", "c")]),
        (["+", "+", "", "none", "none", " "], []),
    ],
)
def test_phones_are_compared_by_their_digits(
    store: ProfileStore, values: list[Any], expected: list[tuple[str, str]]
) -> None:
    people(store, "phone", values)

    assert found(store, "phone") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Jörg MÜLLER", " jörg müller\t", "jorg muller", "ÅSA", "åsa"], [("a", "b"), ("d", "e")]),
        ([" ", "", " \n", ""], []),
        ([12345678901234567890123, 12345678901234567890124, "12345678901234567890124"], [("b", "c")]),
        ([True, True, "true", False], [("a", "b"), ("a", "c")]),
        (['say "hi" \\', 'SAY "hi" \\'], [("a", "b")]),
    ],
)
def test_texts_are_compared_without_blanks_and_in_lower_case(
    store: ProfileStore, values: list[Any], expected: list[tuple[str, str]]
) -> None:
    people(store, "name", values)

    assert found(store, "name") == expected


@pytest.mark.parametrize("name", ['a"b', "a'b", "a.b", "$", "0", "%s", ":name", "{x}", "e\\", "né", "phone "])
def test_an_attribute_may_have_any_name(store: ProfileStore, name: str) -> None:
    people(store, name, ["x", "y", "X"])

    assert found(store, name) == [("a", "c")]
    assert isinstance(store, FindsDuplicates)
    assert store.why_no_duplicates([name, "other"]) == ["nobody in the store has the attribute `other`"]


def test_all_values_of_several_names_must_be_the_same(store: ProfileStore) -> None:
    rows = [("Ada", "1815-12-10"), ("ada", "1815-12-11"), ("ADA ", "1815-12-10"), ("ada", None), ("ada", None)]
    told = [{"name": name} | ({"birthday": day} if day else {}) for name, day in rows]
    apply(store, PEOPLE, *[put(id_, attributes=values) for id_, values in zip("abcde", told, strict=True)])

    assert found(store, "name", "birthday") == [("a", "c")]
    assert found(store, *["name"] * 30) == [("a", other) for other in "bcde"]


def test_where_email_is_the_identity_nobody_shares_one(opened: OpenStore) -> None:
    store = opened(Identity.EMAIL)
    emails = ["ada@example.com", "bob@example.com"]
    rows = [put(email, id=id_) for email, id_ in zip(emails, ["same", " SAME"], strict=True)]
    apply(store, PEOPLE_BY_EMAIL, *rows)

    assert pairs(store, "email") == []
    assert [(pair["keep"]["email"], pair["merge"]["email"]) for pair in pairs(store, "id")] == [tuple(emails)]
    assert isinstance(store, FindsDuplicates)
    assert store.why_no_duplicates(["email"]) == ["no two people of the store have one email"]


def test_a_store_that_does_not_exist_has_none_and_is_not_made(store: ProfileStore) -> None:
    assert pairs(store, "name") == []
    assert isinstance(store, FindsDuplicates)
    assert store.why_no_duplicates(["name"]) == ["the store does not exist yet"]


def test_pages_follow_each_other_and_a_reader_may_stop(store: ProfileStore) -> None:
    count = 10_002
    apply(store, PEOPLE, *[put(f"p{i}", email="one@example.com") for i in range(count)])
    assert isinstance(store, FindsDuplicates)

    pages = [len(page) for page in store.duplicates(["email"], None)]
    assert len(pages) > 1
    assert sum(pages) == count - 1
    reading = store.duplicates(["email"], None)
    assert len({pair["id"] for pair in next(reading)["keep"].to_pylist()}) == 1
    reading.close()
    assert apply(store, PEOPLE, put("later")) == [("accepted", None)]
