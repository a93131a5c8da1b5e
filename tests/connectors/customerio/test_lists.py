"""Lists of people, as each of Customer.io's APIs takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.customerio.options import Via
from syncer.model.errors import StoreRefusesError
from syncer.model.lists import CountsPeople
from syncer.model.types import Identity, ListAction, Target
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, PEOPLE, PEOPLE_BY_EMAIL, apply, put
from tests.servers.customerio import CustomerIOServer, customerio_server

#: Those of a list of people; pairs to merge are others.
ACTIONS = (ListAction.DELETE, ListAction.SUPPRESS, ListAction.UNSUPPRESS)
STARTED = datetime(2026, 11, 24, 6, 0, 0, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        yield running


def opened(server: CustomerIOServer, via: Via = Via.TRACK, identity: Identity = Identity.ID) -> Any:
    options = server.options().model_copy(update={"via": via})
    return open_store("crm", "customerio://us", identity=identity, options=options, started_at=STARTED)


def listed(store: Any, action: ListAction, *keys: str, by: Target = PEOPLE) -> list[tuple[str, str | None]]:
    rows: list[Any] = [(str(action), (key,), {}, (), {}) for key in keys]
    return apply(store, replace(by, action=action), *rows)


@pytest.mark.parametrize("via", list(Via))
@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_has_an_operation_in_each_api(server: CustomerIOServer, via: Via, action: ListAction) -> None:
    with closing(opened(server, via)) as store:
        apply(store, PEOPLE, put("ann"), put("bob"))
        listed(store, ListAction.SUPPRESS, "cy")
        asked = len(server.workspace.requests)

        assert listed(store, action, "ann", "cy") == [ACCEPTED, ACCEPTED]
        apply(store, PEOPLE, put("cy"))

    workspace = server.workspace
    assert {method for method, _ in workspace.requests[asked:]} == {"POST"}
    assert (workspace.person(id="ann") is None) is action.deletes
    assert workspace.person(id="bob") is not None
    # Whoever is suppressed is ignored without a word.
    assert (workspace.person(id="cy") is not None) is (action is ListAction.UNSUPPRESS)


def test_an_operation_of_the_track_api_names_the_person_and_nothing_else(server: CustomerIOServer) -> None:
    server.workspace.bodies = []
    server.workspace.unique = ("id", "email")
    with closing(opened(server, identity=Identity.ID_OR_EMAIL)) as store:
        for action in ACTIONS:
            listed(store, action, "ann@example.com", by=PEOPLE_BY_EMAIL)

    assert [json.loads(body)["batch"] for body in server.workspace.bodies] == [
        [{"type": "person", "action": str(action), "identifiers": {"email": "ann@example.com"}}] for action in ACTIONS
    ]


def test_a_list_through_the_pipelines_api_is_by_id(server: CustomerIOServer) -> None:
    with (
        closing(opened(server, Via.PIPELINES, Identity.ID_OR_EMAIL)) as store,
        pytest.raises(StoreRefusesError, match="takes people by their `id` alone"),
    ):
        store.check(replace(PEOPLE_BY_EMAIL, action=ListAction.DELETE))


def test_nobody_counts_its_people(server: CustomerIOServer) -> None:
    with closing(opened(server)) as store:
        assert not isinstance(store, CountsPeople)
