from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions.folder import in_dependency_order
from syncer.model.types import Entity, SyncDefinition
from tests.definitions.test_folder import sync


@given(
    st.lists(
        st.tuples(st.sampled_from(Entity), st.lists(st.integers(0, 20), max_size=3, unique=True)), max_size=12
    ).map(
        lambda rows: [
            sync(f"s{number}", entity, *(f"s{other}" for other in others if other < number))
            for number, (entity, others) in enumerate(rows)
        ]
    )
)
def test_every_sync_comes_once_and_after_what_it_depends_on(syncs: list[SyncDefinition]) -> None:
    order = [definition.name for definition in in_dependency_order(list(reversed(syncs)))]

    assert sorted(order) == sorted(definition.name for definition in syncs)
    for definition in syncs:
        assert all(order.index(other) < order.index(definition.name) for other in definition.depends_on)
