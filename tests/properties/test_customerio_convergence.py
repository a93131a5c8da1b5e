"""After any history of results, faults and deaths, one clean run makes a workspace of Customer.io equal to the queries.

What that API cannot tell is left out: a relationship makes the ends that are missing, so that people and objects may be
there of which no other query speaks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from connectors.customerio import connection, delivery, items, keyed_writes, rate, requests, store
from connectors.customerio.store import CustomerIOStore
from syncer.model.protocols import ProfileStore
from syncer.model.types import Identity
from syncer.settings.registry import open_store
from tests.properties.convergence import (
    AT,
    IDS,
    NAMES,
    ROWS,
    VALUES,
    Convergence,
    Life,
    Mortal,
    Rows,
    WithoutOutbox,
    ended,
    proven_in,
)
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.collections import Keyed
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE, Fault
from tests.servers.customerio.workspace import Workspace
from tests.servers.fake_store import Key

pytestmark = [pytest.mark.timeout(900), pytest.mark.early]

#: Seconds until the client gives up, and until the server answers.
PATIENCE, HANGING = 0.2, 0.5
#: Calls a second that the App API takes.
RATE = 10_000

HTML = b"<html>Service unavailable</html>"
FAULTS = {
    "cut before": LOST_BEFORE,
    "cut after": LOST_AFTER,
    "hangs before": Fault(status=200, body=b"{}", seconds=HANGING),
    "hangs after": Fault(applied=True, status=200, body=b"{}", seconds=HANGING),
    "a page, taken": Fault(applied=True, status=200, body=HTML),
    "a page, not taken": Fault(status=200, body=HTML),
    "down": Fault(status=503, body=HTML),
    "fails": Fault(status=500),
    "fails after": Fault(applied=True, status=500),
    "too many": Fault(status=429),
    "too many, wait": Fault(status=429, headers={"Retry-After": "0.01"}),
    "elsewhere": Fault(status=301, headers={"Location": "/api/v2/batch"}),
    "login refused": Fault(status=401),
}
#: A collection is refused as a whole.
WHOLE = Fault(status=422, body=json.dumps({"errors": [{"detail": "on purpose", "status": "422"}]}).encode())


@dataclass
class WorkspaceOnTrial:
    """A workspace on a server of its own, and a store that is opened for each run."""

    makes_ends: bool = True
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)
    store_id: str = ""

    def __post_init__(self) -> None:
        # So few rows fill several batches, and a batch several requests.
        self.patch.setattr(CustomerIOStore, "batch_rows", 3)
        self.patch.setattr(requests, "_LEAST_WEIGHT", requests._PART // 2)
        for module in (items, delivery):
            self.patch.setattr(module, "LANES", 2)
        self.patch.setattr(connection, "ATTEMPTS", 2)
        self.patch.setattr(connection, "FIRST_WAIT", 0.001)
        self.patch.setattr(rate, "FAILURES_IN_A_ROW", 10**6)
        self.patch.setattr(keyed_writes, "FIRST_LOOK", 0.001)
        self.patch.setattr(keyed_writes, "LOOKING_SECONDS", 0.01)
        self.patch.setattr(store, "_APP_RATE", RATE)
        self._running = customerio_server(app_rate=RATE)
        self.server: CustomerIOServer = self._running.__enter__()
        with self._connected(datetime.now(UTC)) as opened:
            self.store_id = opened.store_id

    @property
    def workspace(self) -> Workspace:
        return self.server.workspace

    @property
    def people(self) -> dict[str, dict[str, Any]]:
        return {p.attributes["id"]: p.attributes for p in self.workspace.people}

    @property
    def objects(self) -> dict[Key, dict[str, Any]]:
        return {("account", id_): held for (_, id_), held in self.workspace.objects.items()}

    @property
    def relationships(self) -> dict[Key, dict[str, Any]]:
        ids = {p.cio_id: p.attributes["id"] for p in self.workspace.people}
        return {("account", ids[cio_id], id_): a for (cio_id, _, id_), a in self.workspace.relationships.items()}

    @property
    def suppressed(self) -> set[str]:
        return {value for _, value in self.workspace.suppressed}

    @property
    def collections(self) -> dict[Key, dict[str, Any]]:
        return {(name, row["code"]): row for name, held in self.workspace.collections.items() for row in held["data"]}

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        ids = {p.cio_id: p.attributes["id"] for p in self.workspace.people}
        held = self.workspace.devices.items()
        return {token: {**one["attributes"], "person": ids[one["cio_id"]]} for token, one in held}

    @contextmanager
    def opened(self, started_at: datetime, life: Life) -> Iterator[ProfileStore]:
        with self._connected(started_at) as opened:
            for name in ("_track", "_app"):
                # The process may die before and after each call.
                setattr(opened, name, Mortal(getattr(opened, name), life))
            yield opened

    @contextmanager
    def _connected(self, started_at: datetime) -> Iterator[Any]:
        opened = open_store(
            "crm", "customerio://us", identity=Identity.ID, options=self.server.options(), started_at=started_at
        )
        try:
            yield opened
        finally:
            # Not a step of its life: whatever it sent is answered by now.
            for name in ("_track", "_app"):
                if isinstance(api := vars(opened).get(name), Mortal):
                    setattr(opened, name, api.inner)
            opened.close()

    def mark(self) -> tuple[int, int, set[Key]]:
        writes = [method for method, _ in self.workspace.requests if method != "GET"]
        return len(writes), len(self.workspace.taken), set(self.collections)

    def written_since(self, mark: tuple[int, int, set[Key]]) -> bool:
        return self.mark()[0] > mark[0]

    def removed_since(self, mark: tuple[int, int, set[Key]]) -> int:
        _, taken, codes = mark
        removed = {told for action, told in self.workspace.taken[taken:] if action.startswith(("delete", "clear"))}
        return len(removed) + len(codes - set(self.collections))

    @contextmanager
    def misbehaving(self, fault: Fault, *, at: int, times: int) -> Iterator[None]:
        """From a certain writing request on, so many times."""
        with self.patch.context() as patch:
            if fault.seconds:
                patch.setattr(connection, "TIMEOUT_SECONDS", PATIENCE)
            self.workspace.faults.next.extend([*[None] * at, *[fault] * times])
            yield
            self.workspace.faults.next.clear()

    @contextmanager
    def refusing(self, key: str, how: int) -> Iterator[None]:
        """Refuse what is about *key*: with 400 for the whole request, or among others."""
        faults = self.workspace.faults

        def is_about(item: dict[str, Any]) -> bool:
            return key in (item["identifiers"].get("id"), item["identifiers"].get("object_id"))

        if how == 400:
            faults.poison = is_about
        else:
            faults.refuses, faults.partly = is_about, how
        self.workspace.held_collections.refuses = lambda row: "on-purpose" if row.get("code") == key else ""
        yield
        faults.poison = faults.refuses = lambda item: False
        self.workspace.held_collections.refuses = lambda row: ""

    def close(self) -> None:
        self.patch.undo()
        self._running.__exit__(None, None, None)


class WithCustomerIO(Convergence):
    """The faults of an API on the way to it, over HTTP."""

    store: WorkspaceOnTrial

    def new_store(self) -> WorkspaceOnTrial:
        return WorkspaceOnTrial()

    @rule(name=NAMES, first=IDS, second=IDS, value=VALUES)
    def put(self, name: str, first: str, second: str, value: str | None) -> None:
        # It ignores what is sent of people who are suppressed: that it may come again is for others to know.
        if name != "forgiven":
            super().put(name, first, second, value)

    @rule(name=NAMES, fault=st.sampled_from(sorted(FAULTS)), at=AT, times=st.integers(1, 3), rows=ROWS)
    def run_through(self, name: str, fault: str, at: int, times: int, rows: Rows = ()) -> None:
        self.put_all(name, rows)
        with self.store.misbehaving(FAULTS[fault], at=at, times=times):
            self._run(name)

    @rule(name=NAMES, refused=IDS, how=st.sampled_from([200, 207, 400]), rows=ROWS)
    def run_and_refuse(self, name: str, refused: str, how: int, rows: Rows) -> None:
        self.put_all(name, rows)
        if name == "coupons":
            with self.store.misbehaving(WHOLE, at=0, times=1):
                self._run(name)
        with self.store.refusing(refused, how):
            self._run(name)

    @rule(keyed=st.sampled_from(list(Keyed)), tells_fields=st.booleans(), looks=st.integers(0, 1))
    def be_an_older_or_newer_workspace(self, keyed: Keyed, tells_fields: bool, looks: int) -> None:
        held = self.store.workspace.held_collections
        held.keyed, held.tells_fields, held.looks = keyed, tells_fields, looks

    @rule(rows=ROWS)
    def run_and_look_up_in_vain(self, rows: Rows) -> None:
        held = self.store.workspace.held_collections
        self.put_all("coupons", rows)
        held.looks = 1_000
        self._run("coupons")
        held.looks = 0

    @invariant()
    def nothing_of_one_entity_was_on_its_way_twice(self) -> None:
        assert self.store.workspace.breaches == []


TestCustomerIOConvergence = WithCustomerIO.TestCase
TestCustomerIOConvergence.settings = proven_in(4)


class WithoutOutboxAtCustomerIO(WithoutOutbox, WithCustomerIO):
    """A mutant that forgets what it sent."""


@pytest.mark.parametrize("fault", ["cut after", "a page, taken"])
def test_an_answer_that_is_lost_is_made_good_only_by_what_was_written_down(fault: str) -> None:
    def history(machine: WithCustomerIO) -> None:
        for name, value in (("people", "plan"), ("coupons", "off")):
            machine.put(name, "1", "1", "a")
            machine.run(name)
            machine.put(name, "1", "1", f"b{value}")
            machine.run_through(name, fault, 0, 2)
            machine.put(name, "1", "1", "a")
        machine.run_all_cleanly("people")

    with ended(WithCustomerIO()) as machine:
        history(machine)
    with ended(WithoutOutboxAtCustomerIO()) as machine, pytest.raises(AssertionError):
        history(machine)
