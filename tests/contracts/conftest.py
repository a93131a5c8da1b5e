"""Fixtures for the suites over every store and warehouse. A further store is one more parameter of `store_url`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from syncer.model.protocols import ProfileStore, Warehouse
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.contracts.warehouses import ADAPTERS
from tests.contracts.warehouses.adapter import Adapter
from tests.servers.customerio import CustomerIOServer, customerio_server

OpenStore = Callable[..., ProfileStore]

#: What Customer.io cannot be held to, test by test.
_ELSEWHERE = "its API takes a row and works later; its own form is in tests/connectors/customerio/test_forms.py"
_COLLECTIONS_ARE_REPLACED = "a collection comes as a whole, not in changed rows"
_OWN_READING = "it gives values back as text, and neither times nor counts"
NOT_FOR_CUSTOMERIO = {
    "test_a_collections_batch_applied_twice_is_the_same_as_once": _COLLECTIONS_ARE_REPLACED,
    "test_a_store_gives_the_whole_of_a_history_back": _COLLECTIONS_ARE_REPLACED,
    "test_a_collection_is_made_without_create": _COLLECTIONS_ARE_REPLACED,
    "test_known_and_new_rows_of_a_collection_can_come_in_any_mixture": _COLLECTIONS_ARE_REPLACED,
    "test_a_collections_row_is_replaced_and_not_merged": _COLLECTIONS_ARE_REPLACED,
    "test_a_collections_key_of_several_columns_is_a_json_array": _COLLECTIONS_ARE_REPLACED,
    "test_a_collection_is_made_by_its_first_row_and_outlives_its_last": _COLLECTIONS_ARE_REPLACED,
    "test_any_json_is_shown_as_it_is_stored": "a value has at most 1,000 bytes",
    "test_values_come_back_exactly": "numbers beyond a double are no values of it, and an empty text unsets",
    "test_without_create_nothing_is_made": _ELSEWHERE,
    "test_without_create_what_exists_is_updated_and_related": _ELSEWHERE,
    "test_without_create_a_row_that_names_nobody_is_absent": _ELSEWHERE,
    "test_a_relationship_waits_for_both_ends": _ELSEWHERE,
    "test_without_create_a_device_of_nobody_is_absent": _ELSEWHERE,
    "test_devices_find_people_by_email_and_by_cio_id": _ELSEWHERE,
    "test_who_is_kept_of_two_gets_the_devices_of_who_goes": _ELSEWHERE,
    "test_a_device_of_who_is_suppressed_is_refused": _ELSEWHERE,
    "test_an_event_is_kept_once_whatever_its_time_and_never_changes": "an event is known by all of its id",
    "test_the_same_id_under_another_name_is_another_event": "an event is known by its id, which its name is part of",
    "test_without_create_an_event_of_nobody_is_rejected_alone": _ELSEWHERE,
    "test_people_are_found_by_number_and_none_is_made": _ELSEWHERE,
    "test_without_create_events_of_people_who_exist_are_loaded": _ELSEWHERE,
    "test_two_people_who_become_one_have_the_events_of_both": _ELSEWHERE,
    "test_an_event_of_somebody_suppressed_is_rejected_alone": _ELSEWHERE,
    "test_only_the_newest_twenty_are_shown": _OWN_READING,
    "test_people_are_counted_by_what_they_did": _OWN_READING,
    "test_a_start_is_decided_once": "the run log keeps it: tests/state/test_event_starts.py",
    "test_a_time_that_a_row_unsets_is_gone": "it takes the moment of the request where it is told of none",
    "test_relationships_find_people_by_email": _ELSEWHERE,
    "test_a_person_can_be_known_by_cio_id": _ELSEWHERE,
    "test_an_id_and_an_email_of_two_people_are_a_rejection": _ELSEWHERE,
    "test_a_rejected_row_leaves_its_neighbours_alone": _ELSEWHERE,
    "test_by_cio_id_every_identifier_can_change": _ELSEWHERE,
    "test_a_big_batch_of_every_sort_of_row_is_answered_in_full": _ELSEWHERE,
    "test_a_shown_object_names_a_hundred_people_and_counts_all": _ELSEWHERE,
    "test_of_two_rows_that_want_one_email_none_gets_it": "nothing tells that somebody else has it already",
    "test_who_waits_for_an_email_that_is_not_let_go_is_refused_too": "it works row by row, and tells nothing of it",
    "test_people_can_swap_and_pass_on_their_emails_in_one_batch": "it works row by row, and does not swap",
    "test_what_a_deleted_or_cleared_person_had_is_free_in_the_same_batch": "it works row by row",
    "test_identity_rules_are_idempotent": "it works row by row, and does not swap",
    "test_nobody_is_left_without_a_unique_identifier": "that is its own rule, of which nothing is published",
    "test_an_identity_is_for_ever": "its identity is a setting of the workspace",
    "test_identifiers_are_all_names_of_what_exists": "an object has the name by which it is deleted, and no other",
    "test_where_id_is_the_identity_an_email_may_repeat_and_keeps_its_letters": "of two who share an email it shows any",
    "test_updated_at_moves_and_created_at_stays": _OWN_READING,
    "test_a_probe_tells_product_version_and_identity": "it has no version",
    "test_a_time_is_kept_to_the_microsecond": "it has whole seconds",
    "test_a_process_that_is_killed_leaves_whole_batches_and_every_answered_one": "a batch is many requests",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what Customer.io cannot be held to."""

    def held_to(item: pytest.Item) -> bool:
        called = getattr(getattr(item, "callspec", None), "params", {})
        name = getattr(item, "originalname", item.name)
        return called.get("store_url") != "customerio" or name not in NOT_FOR_CUSTOMERIO

    out = [item for item in items if not held_to(item)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if held_to(item)]


@pytest.fixture(scope="module", params=ADAPTERS, ids=lambda make: make.__name__)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    make: Callable[[pytest.FixtureRequest], Adapter] = request.param
    return make(request)


@pytest.fixture
def warehouse(adapter: Adapter) -> Iterator[Warehouse]:
    module, _, name = adapter.opened_by.partition(":")
    opened: Warehouse = getattr(import_module(module), name)("crm", adapter.url)
    yield opened
    opened.close()


class WorkspaceReader:
    """A store of Customer.io that shows what the workspace holds, with its types, in place of what can be read back."""

    def __init__(self, store: ProfileStore, server: CustomerIOServer, names: Sequence[str]) -> None:
        self._store = store
        self._names = names
        self._workspace = server.workspace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """As in ProfileStore, in the form of the SQL stores."""
        return self._person(kind, value) if entity is Entity.PERSON else self._object(kind, value)

    def _person(self, kind: str, value: str) -> dict[str, Any] | None:
        found = self._workspace.person(**{kind: value})
        if found is None:
            return None
        names = self._names
        return {
            "person_id": found.cio_id,
            **{str(name): found.attributes.get(name) for name in names},
            "attributes": {name: held for name, held in found.attributes.items() if name not in names},
            "devices": [
                {"token": token, **{name: held[name] for name in ("platform", "last_used", "attributes")}}
                for token, held in self._workspace.devices.items()
                if held["cio_id"] == found.cio_id
            ],
            "events": [
                {"event_id": one["id"], "occurred_at": datetime.fromtimestamp(one["timestamp"], UTC).isoformat()}
                | {name: one[name] for name in ("name", "kind", "data")}
                for one in sorted(self._workspace.events.of(found.cio_id), key=lambda one: -one["timestamp"])
            ],
        }

    def _object(self, kind: str, value: str) -> dict[str, Any] | None:
        key = {"account": "1", "course": "2"}.get(kind, kind), value
        if key not in self._workspace.objects:
            return None
        related = {
            cio_id: attributes
            for (cio_id, *thing), attributes in self._workspace.relationships.items()
            if tuple(thing) == key
        }
        people = [(self._workspace.person(cio_id=cio_id), attributes) for cio_id, attributes in related.items()]
        return {
            "attributes": self._workspace.objects[key],
            "people": [{"id": who.attributes.get("id"), "attributes": held} for who, held in people if who],
        }


@pytest.fixture
def workspace() -> Iterator[CustomerIOServer]:
    """A workspace of Customer.io of this test's own."""
    with customerio_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", "customerio"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/profiles/people.db"
    if request.param == "customerio":
        return "customerio://us"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opened(request: pytest.FixtureRequest, store_url: str) -> Iterator[OpenStore]:
    """Opens the store as often as it is called, and closes what it opened."""
    stores: list[ProfileStore] = []

    def open_again(identity: Identity = Identity.ID) -> ProfileStore:
        if store_url != "customerio://us":
            stores.append(open_store("default", store_url, identity=identity))
            return stores[-1]
        server: CustomerIOServer = request.getfixturevalue("workspace")
        server.workspace.unique = identity.unique
        stores.append(open_store("default", store_url, identity=identity, options=server.options()))
        return WorkspaceReader(stores[-1], server, identity.names)

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: OpenStore) -> ProfileStore:
    """An empty store that knows people by `id`."""
    return opened()
