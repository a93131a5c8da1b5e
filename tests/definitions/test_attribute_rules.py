"""`attributes.yml`: what it may say, what is wrong with it, and which syncs it concerns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncer.definitions import folder
from syncer.definitions.attribute_rules import not_named
from syncer.definitions.folder import Loaded, in_dependency_order
from syncer.definitions.order import Precedence, Turns
from syncer.model.attribute_rules import AttributeRule, AttributeType, Normaliser

PERSON = "entity: person\nperson: {id: id}"


def load(path: Path, rules: str, **headers: str) -> Loaded:
    """A folder with the syncs `billing`, `crm` and any others, by their headers."""
    for name, header in {"billing": PERSON, "crm": PERSON, **headers}.items():
        (path / f"{name}.sql").write_text(f"/* sync\n{header}\n*/\nSELECT id, plan FROM {name}\n")
    (path / "attributes.yml").write_text(rules)
    return load_again(path)


def load_again(path: Path) -> Loaded:
    return folder.load(path, warehouses=["default"], stores=["default"])


def waiting(loaded: Loaded, *names: str) -> list[str]:
    """Those of some syncs, due at one tick, that wait for another of them."""
    tick = datetime(2026, 11, 30, tzinfo=UTC)
    turns = Turns(Precedence(loaded.definitions), [(name, tick) for name in names], {})
    return [name for name in names if not turns.has_come(name, tick)]


def test_a_rule_says_who_may_write_an_attribute_its_type_and_its_spelling(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, "# whose plan\nplan: {from: [billing, crm], type: text, normalise: trim}\ncity: {from: crm}\n"
    )

    assert loaded.errors == ()
    path = tmp_path / "attributes.yml"
    plan = AttributeRule(
        sources=("billing", "crm"), type=AttributeType.TEXT, normaliser=Normaliser.TRIM, path=path, line=2
    )
    billing, crm = loaded.definitions
    assert crm.rules == billing.rules == {"plan": plan, "city": AttributeRule(sources=("crm",), path=path, line=3)}
    assert (billing.yields_to, crm.yields_to) == (set(), {"billing"})
    assert (plan.before("crm"), plan.after("billing"), plan.before("other")) == (("billing",), ("crm",), ())


@pytest.mark.parametrize(
    ("rules", "line", "message"),
    [
        ("", 1, "the file is empty"),
        ("- plan\n", 1, "the file is not a list of fields, such as `plan: {from: [billing, crm], type: text"),
        ("plan: billing\n", 1, "`plan` is not a mapping"),
        ("plan: {}\n", 1, "`plan` says nothing"),
        ("plan: {from: []}\n", 1, "`plan.from` is empty"),
        ("plan: {form: [billing]}\n", 1, "the field `plan.form` is unknown"),
        (
            "city: {from: crm}\nplan: {from: [billing, crmm]}\n",
            2,
            "`plan.from` names `crmm`, but there is no such sync",
        ),
        ("plan:\n  from:\n    - billing\n    - shops\n", 4, "`plan.from` names `shops`, which writes no attributes"),
        ("plan: {from: [crm, crm]}\n", 1, "`plan.from` names `crm` twice"),
        ("plan: {type: money}\n", 1, "`plan.type`: expected `text`, `integer`"),
        ("plan: {normalise: upper}\n", 1, "`plan.normalise`: expected `trim`"),
        ("plan: {type: date, normalise: trim}\n", 1, "`plan` has `normalise: trim`, which is for texts"),
        ("plan: {from: crm}\nplan: {from: billing}\n", 2, "`plan` is repeated"),
        ("plan: {from: crm\n", 1, "the file is not valid YAML"),
        ('"a\\"b": {from: crm}\n', 1, "cannot be the name of an attribute"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_no_sync_of_people_runs_without_its_rules(
    tmp_path: Path, rules: str, line: int, message: str
) -> None:
    loaded = load(tmp_path, rules, shops="entity: object\nobject: {type: shop, id: id}")

    error = loaded.errors[0]
    assert (error.path.name, error.line) == ("attributes.yml", line)
    assert message in error.message
    assert [one.name for one in loaded.definitions] == ["shops"]
    assert {*loaded.broken} == {"billing", "crm"}


@pytest.mark.parametrize("also_rightly", [True, False])
def test_a_file_of_another_ending_is_not_passed_over(tmp_path: Path, *, also_rightly: bool) -> None:
    load(tmp_path, "plan: {from: [billing, crm]}\n")
    (tmp_path / "attributes.yml").rename(tmp_path / "attributes.yaml")

    loaded = load(tmp_path, "city: {from: crm}\n") if also_rightly else load_again(tmp_path)

    assert [str(error).partition(": ")[2] for error in loaded.errors] == [
        "this file does nothing: its name is `attributes.yaml`, and not `attributes.yml`"
    ]
    assert loaded.definitions == ()


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    load(tmp_path, "")
    (tmp_path / "attributes.yml").unlink()
    (tmp_path / "attributes.yml").mkdir()

    assert "it is not a regular file" in load_again(tmp_path).errors[0].message


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    syncs = tmp_path / "syncs"
    syncs.mkdir()
    load(syncs, "plan: {from: [billing, crm]}\n")
    (syncs / "attributes.yml").rename(tmp_path / "attributes.yml")
    (syncs / "attributes.yml").symlink_to(tmp_path / "attributes.yml")

    assert "this link points outside the folder" in load_again(syncs).errors[0].message


def test_the_file_may_name_a_sync_whose_own_file_is_broken(tmp_path: Path) -> None:
    loaded = load(tmp_path, "plan: {from: [billing, crm]}\n", crm="entity: person")

    assert [error.path.name for error in loaded.errors] == ["crm.sql"]
    assert [one.name for one in loaded.definitions] == ["billing"]


def test_a_sync_that_is_not_named_may_not_write_the_attribute(tmp_path: Path) -> None:
    loaded = load(tmp_path, "plan: {from: [billing, crm]}\ncity: {type: text}\n", other=PERSON)
    billing, _, other = loaded.definitions

    assert [*not_named(billing, ["plan", "city"])] == []
    [error] = not_named(other, ["city", "plan"])
    assert (error.path.name, error.line) == ("other.sql", 2)
    assert "`other` writes the attribute `plan`, and is not among those that may: `billing` and `crm`" in error.message


def test_a_rule_that_changes_what_a_sync_sends_makes_another_definition_of_it(tmp_path: Path) -> None:
    def hashes(rules: str) -> list[str]:
        return [one.hash for one in load(tmp_path, rules).definitions]

    one = hashes("plan: {from: [billing, crm]}\n")
    assert hashes("# the same\nplan: {from: [billing, crm]}\n") == one
    assert [a == b for a, b in zip(one, hashes("plan: {from: [crm, billing]}\n"), strict=True)] == [False, False]
    (tmp_path / "attributes.yml").unlink()
    plain = [one.hash for one in load_again(tmp_path).definitions]
    assert hashes("plan: {from: crm}\n")[0] == plain[0]


def test_what_counts_more_runs_first(tmp_path: Path) -> None:
    loaded = load(tmp_path, "plan: {from: [web, crm, billing]}\n", web=PERSON)

    assert [one.name for one in in_dependency_order(loaded.definitions)] == ["web", "crm", "billing"]
    assert waiting(loaded, "billing", "web") == ["billing"]


def test_of_two_that_each_count_more_of_something_one_runs_first(tmp_path: Path) -> None:
    loaded = load(tmp_path, "plan: {from: [crm, billing]}\ncity: {from: [billing, crm]}\n")

    assert [one.name for one in in_dependency_order(loaded.definitions)] == ["billing", "crm"]
    assert waiting(loaded, "billing", "crm") == ["crm"]
