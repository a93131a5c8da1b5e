"""Events at Customer.io: by the Track API and by the Pipelines API, each with one id for ever."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.customerio import connection
from connectors.customerio.options import COMMANDS, Via
from syncer.model.errors import StoreRefusesError
from syncer.model.types import EventKind, EventType, Identity, Target
from syncer.settings.registry import open_store
from tests.acceptance.commands import Project
from tests.conftest import seeds
from tests.contracts.batches import ACCEPTED
from tests.contracts.test_events import BY_NUMBER, NOON, PAID, VIEWED, event, sent
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.customerio.faults import LOST_AFTER, LOST_BEFORE

AT = int(NOON.timestamp())
COMMAND = "the Pipelines API takes an event of this name as a command, not as something that happened"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIOServer]:
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.002)
    with customerio_server(bodies=[]) as running:
        running.workspace.unique = ("id", "email")
        yield running
        assert running.workspace.breaches == []


def opened(server: CustomerIOServer, via: Via = Via.TRACK, identity: Identity = Identity.ID_OR_EMAIL) -> Any:
    options = server.options(via=via)
    return closing(open_store("crm", "customerio://us", identity=identity, options=options))


def posted(server: CustomerIOServer) -> list[dict[str, Any]]:
    assert server.workspace.bodies is not None
    return [item for body in server.workspace.bodies for item in json.loads(body)["batch"]]


def of_kind(kind: EventKind) -> Target:
    return replace(PAID, event=EventType(name="paid", kind=kind))


def test_an_event_is_an_operation_of_the_documented_form(server: CustomerIOServer) -> None:
    with opened(server) as store:
        store.check(PAID)
        assert sent(store, PAID, event("a", "ann", total=9.5, note=None)) == [ACCEPTED]
        assert sent(store, VIEWED, event("b", "bob@example.com", name="/home", deep={"x": ['"', 1]})) == [ACCEPTED]
        assert sent(store, of_kind(EventKind.SCREEN), event("c", "ann", 0.0001)) == [ACCEPTED]

    assert posted(server) == [
        {
            "type": "person",
            "action": "event",
            "identifiers": {"id": "ann"},
            "name": "paid",
            "id": "1769860800000000000000000A",
            "timestamp": AT,
            "attributes": {"total": 9.5, "note": None},
        },
        {
            "type": "person",
            "action": "page",
            "identifiers": {"email": "bob@example.com"},
            "name": "/home",
            "id": "1769860800000000000000000B",
            "timestamp": AT,
            "attributes": {"deep": {"x": ['"', 1]}},
        },
        {
            "type": "person",
            "action": "screen",
            "identifiers": {"id": "ann"},
            "name": "paid",
            "id": "1769860800000000000000000C",
            "timestamp": AT,
            "attributes": {},
        },
    ]


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("via", list(Via))
def test_what_happened_is_there_once_either_way(server: CustomerIOServer, via: Via, kind: EventKind) -> None:
    with opened(server, via) as store:
        store.check(of_kind(kind))
        for _ in range(2):
            assert sent(store, of_kind(kind), event("a", "ann", total=9), event("b", "ann", 1)) == [ACCEPTED] * 2

    ann = server.workspace.person(id="ann")
    assert ann is not None
    assert [(one["name"], one["kind"], one["timestamp"] - AT, one["data"]) for one in held(server, "ann")] == [
        ("paid", str(kind), 0, {"total": 9}),
        ("paid", str(kind), 3600, {}),
    ]


def held(server: CustomerIOServer, id_: str) -> list[dict[str, Any]]:
    person = server.workspace.person(id=id_)
    return [] if person is None else server.workspace.events.of(person.cio_id)


@pytest.mark.parametrize("via", list(Via))
def test_a_lost_answer_makes_no_second_event(server: CustomerIOServer, via: Via) -> None:
    rows = [event(f"{n:X}", f"p{n % 7}", n) for n in range(300)]
    server.workspace.faults.next.extend([LOST_AFTER, LOST_BEFORE, LOST_AFTER])

    with opened(server, via) as store:
        assert sent(store, PAID, *rows) == [ACCEPTED] * 300

    assert len(server.workspace.events.held) == 300
    assert len(server.workspace.requests) > 3


@pytest.mark.parametrize("via", list(Via))
def test_events_of_one_person_come_in_order(server: CustomerIOServer, via: Via) -> None:
    rows = [event(f"{n:X}", f"p{n % 5}", n, padding="x" * 20_000) for n in range(200)]
    with opened(server, via) as store:
        assert sent(store, PAID, *rows) == [ACCEPTED] * 200

    for n in range(5):
        times = [one["timestamp"] for one in held(server, f"p{n}")]
        assert len(times) == 40
        assert times == sorted(times)


@pytest.mark.parametrize("via", list(Via))
def test_rows_that_cannot_be_taken_are_rejected_alone(server: CustomerIOServer, via: Via) -> None:
    rows = {
        "the identifier is blank": event("a", " "),
        "the identifier is longer than 150 bytes": event("b", "x" * 151),
        "the event's name is blank": event("c", "ann", name=" "),
    }
    with opened(server, via) as store:
        *refused, large, longest, taken = sent(
            store,
            replace(VIEWED, person_key=PAID.person_key),
            *rows.values(),
            event("d", "ann", text="x" * 32_000),
            event("e", "ann", text="x" * 31_000),
            event("f", "ann"),
        )

    assert refused == [("rejected", reason) for reason in rows]
    assert large[0] == "rejected"
    assert "bytes of JSON, over 32000" in large[1]
    assert (longest, taken) == (ACCEPTED, ACCEPTED)
    assert len(held(server, "ann")) == 2


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_event_becomes_a_command(server: CustomerIOServer, name: str) -> None:
    spelled = f" {name.title()}"
    by_column = replace(PAID, event=EventType(column="what"), key_columns=("order_id", "what"))
    with opened(server, Via.PIPELINES) as store:
        sent(store, PAID, event("a", "ann"))
        with pytest.raises(StoreRefusesError, match="as a command") as raised:
            store.check(replace(PAID, event=EventType(name=spelled)))
        verdicts = sent(store, by_column, event("b", "ann", name=spelled), event("c", "ann", name="paid"))

    assert raised.value.field == "event"
    assert verdicts == [("rejected", COMMAND), ACCEPTED]
    assert len(held(server, "ann")) == 2


def test_by_the_track_api_any_name_is_only_a_name(server: CustomerIOServer) -> None:
    with opened(server) as store:
        store.check(replace(PAID, event=EventType(name="User Deleted")))
        assert sent(store, PAID, event("a", "ann", name="User Deleted")) == [ACCEPTED]
    assert [one["name"] for one in held(server, "ann")] == ["User Deleted"]


@pytest.mark.parametrize(
    ("via", "target", "create", "said"),
    [
        (Via.TRACK, PAID, False, "cannot tell which people exist"),
        (Via.PIPELINES, VIEWED, True, "by their `id` alone"),
        (Via.PIPELINES, BY_NUMBER, True, "by their `id` alone"),
    ],
)
def test_what_no_api_can_do_is_refused_at_once(
    server: CustomerIOServer, via: Via, target: Target, create: bool, said: str
) -> None:
    with opened(server, via) as store, pytest.raises(StoreRefusesError, match=said):
        store.check(target, create=create)


HEADER = "entity: event\nperson: {id: customer_id}\nevent: {name: order_paid, id: order_id, time: paid_at}\n"
QUERY = "SELECT customer_id, order_id, paid_at FROM orders"


class Shop:
    """A table of orders, and a sync of them to the workspace."""

    def __init__(self, path: Path, server: CustomerIOServer, start: str = "all", **settings: str) -> None:
        environment = server.environment() | {f"SYNCER_STORES__DEFAULT__{key}": v for key, v in settings.items()}
        self.project = Project(path=path / "project", environment=environment)
        self.project.path.mkdir()
        self.events = server.workspace.events
        self.rows: list[str] = []
        self.define(start)

    def define(self, start: str, more: str = "") -> None:
        self.project.define("paid", f"{HEADER}start: {start}\n{more}", QUERY)

    def add(self, *ids: str, hours: float = -10) -> None:
        at = datetime.now(UTC) + timedelta(hours=hours)
        self.rows += [f"{id_},c{n % 3},{at:%Y-%m-%d %H:%M:%S}" for n, id_ in enumerate(ids)]
        self.project.table("orders", "order_id,customer_id,paid_at", *self.rows)

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        ended = self.project.syncer("run", "paid", "--json", *words)
        assert ended.code == code, (ended.code, ended.err)
        (run,) = ended.objects
        return run

    def held(self) -> list[str]:
        return sorted(one["data"]["order_id"] for one in self.events.held.values())

    def lose(self, *names: str) -> None:
        """Lose files of the state folder; all of it where none is named."""
        state = self.project.path / ".syncer"
        for path in [state / name for name in names] or [state]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_what_is_there_at_the_start_is_past_for_ever(server: CustomerIOServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path, server, "now")
    shop.add("o1", "o2", "o3")
    assert (shop.run()["unchanged"], shop.held()) == (3, [])
    shop.add("o4", hours=0.01)
    assert (shop.run()["added"], shop.held()) == (1, ["o4"])

    # The run log has the start, not the snapshot.
    shop.lose("snapshots")
    assert shop.project.syncer("reset", "paid", "--yes").code == 0
    shop.add("o5", hours=0.02)
    run = shop.run()

    assert (run["added"], shop.held()) == (2, ["o4", "o5"])


def test_the_start_survives_a_lost_state_folder_with_the_run_log_in_a_database(
    server: CustomerIOServer, tmp_path: Path, postgres_url: str
) -> None:
    shop = Shop(tmp_path, server, "now")
    shop.project.environment["SYNCER_DATABASE_URL"] = postgres_url
    shop.add("o1")
    shop.run()
    shop.add("o2", hours=0.01)
    shop.run()
    shop.lose()
    shop.add("o3", hours=0.02)

    assert (shop.run()["added"], shop.held()) == (2, ["o2", "o3"])


@pytest.mark.parametrize("seed", seeds(1))
def test_each_event_is_there_once_whatever_died(server: CustomerIOServer, tmp_path: Path, seed: int) -> None:
    """After kills, a full run, a renamed file and a lost state folder: the ids are the same."""
    chance, shop, number = random.Random(seed), Shop(tmp_path, server), 0
    server.workspace.faults.slow = 0.02

    def more() -> None:
        nonlocal number
        shop.add(*(f"o{n}" for n in range(number, number + 1_500)), hours=number / 1_500 - 20)
        number += 1_500

    more()
    begun = time.monotonic()
    shop.run()
    seconds, killed = time.monotonic() - begun, 0
    while killed < 3:
        more()
        process = shop.project.started("run", "paid", "--json").process
        process.join(chance.uniform(0.3, 1.0) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            seconds *= 0.8
    shop.run()
    assert len(shop.held()) == len(shop.rows)
    assert shop.run()["accepted"] == 0

    assert shop.run("--full")["accepted"] == len(shop.rows)
    shop.lose()
    assert shop.run()["accepted"] == len(shop.rows)
    definitions = shop.project.path / "sync_definitions"
    (definitions / "paid.sql").rename(definitions / "renamed.sql")
    assert shop.project.syncer("run", "renamed").code == 0
    assert shop.held() == sorted(f"o{n}" for n in range(number))


def test_another_way_or_a_new_key_sends_no_event_again(server: CustomerIOServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path, server)
    shop.add("o1", "o2")
    assert shop.run()["accepted"] == 2
    more = {"VIA": "pipelines", "CDP_API_KEY": server.workspace.cdp_api_key, "CDP_URL": server.address}
    shop.project.environment.update({f"SYNCER_STORES__DEFAULT__{key}": value for key, value in more.items()})
    shop.add("o3", hours=-1)

    run = shop.run()

    assert (run["accepted"], run["unchanged"], shop.held()) == (1, 2, ["o1", "o2", "o3"])
    server.workspace.cdp_api_key = shop.project.environment["SYNCER_STORES__DEFAULT__CDP_API_KEY"] = "another"
    assert shop.run()["accepted"] == 0


def test_a_plan_counts_the_calls_and_decides_nothing(server: CustomerIOServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path, server, "now")
    shop.add("o1")
    assert shop.project.syncer("plan", "paid", "--json").objects[0]["added"] == 0
    shop.define("all")

    ended = shop.project.syncer("plan", "paid")

    assert "Customer.io: 1 call" in ended.out
    assert shop.held() == []
    assert shop.run()["accepted"] == 1


def test_validate_says_what_customerio_cannot_keep(server: CustomerIOServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path, server)
    shop.define("all", "create: false")

    ended = shop.project.syncer("validate")

    assert ended.code != 0
    assert "paid.sql:6" in ended.out + ended.err
    assert "cannot tell which people exist" in ended.out + ended.err
