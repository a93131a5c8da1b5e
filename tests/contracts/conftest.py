"""Fixtures for the suites over every store. A further store is one more parameter of `store_url`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors import open_store
from syncer.interfaces import ProfileStore
from syncer.types import Identity

OpenStore = Callable[..., ProfileStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/profiles/people.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opened(store_url: str) -> Iterator[OpenStore]:
    """Opens the store as often as it is called, and closes what it opened."""
    stores: list[ProfileStore] = []

    def open_again(identity: Identity = Identity.ID) -> ProfileStore:
        stores.append(open_store("default", store_url, identity=identity))
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: OpenStore) -> ProfileStore:
    """An empty store that knows people by `id`."""
    return opened()
