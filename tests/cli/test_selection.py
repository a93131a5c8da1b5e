from __future__ import annotations

from pathlib import Path

import pytest

from syncer.cli.project import Selected, select
from syncer.definitions.folder import Loaded
from syncer.model.errors import DefinitionError, SelectionError
from syncer.model.types import Entity, RunStatus, SyncDefinition, Target


def sync(
    name: str, entity: Entity = Entity.PERSON, *, tags: tuple[str, ...] = (), warehouse: str = "default"
) -> SyncDefinition:
    return SyncDefinition(
        name=name,
        path=Path(f"{name}.sql"),
        sql="SELECT 1",
        sql_line=5,
        target=Target(entity=entity),
        tags=tags,
        warehouse=warehouse,
    )


SYNCS = [
    sync("orders_daily", tags=("finance", "daily")),
    sync("accounts", Entity.OBJECT, tags=("finance",)),
    sync("orders_hourly", warehouse="lake"),
    sync("coupons", Entity.COLLECTION),
]
STATUS = {"accounts": RunStatus.FAILED, "coupons": RunStatus.SUCCESS}
BROKEN = {"people": DefinitionError("the header is not closed", path=Path("people.sql"), hint="Close it.")}


def found(*words: str, exclude: tuple[str, ...] = ()) -> Selected:
    syncs = sorted(SYNCS, key=lambda sync: sync.name)
    loaded = Loaded(definitions=tuple(syncs), errors=tuple(BROKEN.values()), broken=BROKEN)
    return select(loaded, words, exclude, last_status=lambda: STATUS)


def selected(*words: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return [sync.name for sync in found(*words, exclude=exclude).definitions]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["accounts", "coupons", "orders_daily", "orders_hourly"]),
        (["coupons"], ["coupons"]),
        (["orders_*"], ["orders_daily", "orders_hourly"]),
        (["[ac]*"], ["accounts", "coupons"]),
        (["tag:finance"], ["accounts", "orders_daily"]),
        (["entity:person"], ["orders_daily", "orders_hourly"]),
        (["warehouse:lake"], ["orders_hourly"]),
        (["result:failed"], ["accounts"]),
        (["result:held"], []),
        (["tag:daily", "coupons", "coupons"], ["coupons", "orders_daily"]),
    ],
)
def test_each_kind_of_word_names_its_syncs(words: list[str], expected: list[str]) -> None:
    assert selected(*words) == expected


def test_exclude_takes_away_with_the_same_words() -> None:
    assert selected(exclude=("tag:finance", "coupons", "people")) == ["orders_hourly"]
    assert selected("tag:finance", exclude=("entity:object",)) == ["orders_daily"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("acounts", "there is no sync `acounts`. Did you mean `accounts`"),
        ("Coupons", "Did you mean `coupons`"),
        ("peple", "Did you mean `people`"),
        ("zzz", "Use `accounts`"),
        ("zzz*", "a name like `zzz*`"),
        ("tag:finanze", "no sync has the tag `finanze`. Did you mean `finance`"),
        ("tag:", "no sync has the tag"),
        ("entity:persons", "Did you mean `person`"),
        ("entity:relationship", "no sync has the entity `relationship`"),
        ("warehouse:lakes", "Did you mean `lake`"),
        ("result:fail", "Did you mean `failed`"),
        ("tags:finance", "Did you mean `tag`"),
        ("x:y", "Use a name, a glob, or `tag:…`"),
    ],
)
@pytest.mark.parametrize("excluding", [False, True])
def test_a_word_that_names_nothing_is_reported(word: str, message: str, excluding: bool) -> None:
    with pytest.raises(SelectionError) as caught:
        selected(*([] if excluding else [word]), exclude=(word,) if excluding else ())

    assert message in f"{caught.value.message}. {caught.value.hint}"


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        ([], {"people"}),
        (["people"], {"people"}),
        (["pe*"], {"people"}),
        (["tag:daily"], {"people"}),
        (["coupons"], set()),
    ],
)
def test_a_sync_whose_file_has_errors_is_selected_with_its_errors(words: list[str], broken: set[str]) -> None:
    chosen = found(*words)

    assert chosen.broken == broken
    assert chosen.errors == tuple(BROKEN[name] for name in broken)
    assert not found(*words, exclude=("people",)).broken
