"""`kill -9` of a real `syncer run` of devices, lists or merges leaves a store that one quiet run makes right."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.commands import Project
from tests.conftest import is_long
from tests.servers.customerio import CustomerIOServer, customerio_server

KILLS = 6 if is_long() else 2

Rows = list[tuple[Any, ...]]


@dataclass
class Profiles:
    """A project over a store, whose commands are killed at random moments."""

    project: Project
    chance: random.Random
    server: CustomerIOServer | None = None
    #: How long a run takes.
    seconds: float = 1.0
    killed: int = 0

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
        """Run to the end."""
        begun = time.monotonic()
        ended = self.project.syncer("run", *words, "--json", "--allow-limits")
        self.seconds = time.monotonic() - begun
        assert ended.code in codes, ended.err
        return ended.objects

    def is_killed(self, *words: str) -> bool:
        """Kill a run at some moment; False if it came to its end."""
        begun = time.monotonic()
        process = self.project.started("run", *words, "--json", "--allow-limits").process
        process.join(self.chance.uniform(0.3, 1.0) * self.seconds)
        if process.is_alive():
            process.kill()
            process.join()
            self.killed += 1
            return True
        self.seconds = time.monotonic() - begun
        return False

    def kill_some(self, change: Callable[[], None], *words: str) -> None:
        """Kill runs, each after a change."""
        while self.killed < KILLS:
            change()
            self.is_killed(*words)

    def rows(self, sql: str) -> Rows:
        """Of an SQL store."""
        url = self.project.environment["SYNCER_STORES__DEFAULT__URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(url) as session:
            return session.execute(sql.encode()).fetchall()

    def table(self, name: str, columns: str, rows: Rows) -> None:
        self.project.table(name, columns, *(",".join(map(str, row)) for row in rows))


@pytest.fixture(params=["sqlite", "postgresql", "customerio"])
def profiles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Profiles]:
    """A project with a store of its own."""
    project, chance = Project(path=tmp_path / "project"), random.Random(request.node.name)
    project.path.mkdir()
    if request.param == "customerio":
        with customerio_server() as server:
            project.environment.update(server.environment())
            project.environment["SYNCER_STORES__DEFAULT__REQUESTS_PER_SECOND"] = "1000"
            yield Profiles(project, chance, server)
        return
    url = f"sqlite:///{tmp_path}/people.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    project.environment["SYNCER_STORES__DEFAULT__URL"] = url
    yield Profiles(project, chance)


# --- devices ------------------------------------------------------------------------------------------------

DEVICES, OWNERS = 3_000, 500


def held_devices(profiles: Profiles) -> dict[str, tuple[str, str]]:
    """By token: whose it is, and its model."""
    if profiles.server is not None:
        workspace = profiles.server.workspace
        ids = {person.cio_id: person.attributes["id"] for person in workspace.people}
        return {t: (ids[one["cio_id"]], one["attributes"]["model"]) for t, one in workspace.devices.items()}
    rows = profiles.rows("SELECT token, id, CAST(d.attributes AS text) FROM devices AS d JOIN people USING (person_id)")
    return {token: (id_, text.split('"')[3]) for token, id_, text in rows}


def test_devices_that_move_and_change_are_as_the_query_says(profiles: Profiles) -> None:
    chance, devices = profiles.chance, dict[str, tuple[str, str]]()
    header = "entity: device\nperson: {id: owner}\ndevice: {token: token, platform: ios}\non_removed: delete"
    profiles.project.define("phones", header, "SELECT owner, token, model FROM phones")

    def change() -> None:
        for _ in range(DEVICES // 3):
            token = f"t{chance.randrange(DEVICES)}"
            if chance.random() < 0.2:
                devices.pop(token, None)
            else:
                devices[token] = f"p{chance.randrange(OWNERS)}", chance.choice("xyz")
        profiles.table("phones", "owner,token,model", [(owner, t, model) for t, (owner, model) in devices.items()])

    change()
    profiles.run("phones")
    profiles.kill_some(change, "phones")
    profiles.run("phones")

    assert held_devices(profiles) == devices
    (again,) = profiles.run("phones")
    assert (again["accepted"], again["unchanged"]) == (0, len(devices))


# --- lists --------------------------------------------------------------------------------------------------

PEOPLE = 2_000


@pytest.mark.parametrize("profiles", ["sqlite", "postgresql"], indirect=True)
def test_lists_of_people_are_done_whatever_died(profiles: Profiles) -> None:
    chance = profiles.chance
    ids = [f"p{n}" for n in range(PEOPLE)]
    profiles.table("people", "id,plan", [(id_, "free") for id_ in ids])
    profiles.project.define("people", "entity: person\nperson: {id: id}", "SELECT id, plan FROM people")
    listed: dict[str, list[str]] = {"delete": [], "suppress": [], "unsuppress": []}
    for action in listed:
        header = f"entity: person\nperson: {{id: id}}\naction: {action}"
        profiles.project.define(action, header, f"SELECT id FROM {action}_requests")

    def change() -> None:
        """Whoever is unsuppressed was suppressed before."""
        fresh = chance.sample([id_ for id_ in ids if id_ not in set(listed["delete"] + listed["suppress"])], 200)
        suppressed = [id_ for id_ in listed["suppress"] if id_ not in listed["unsuppress"]]
        listed["unsuppress"] += chance.sample(suppressed, len(suppressed) // 3)
        listed["suppress"] += fresh[:100]
        listed["delete"] += fresh[100:]
        write()

    def write() -> None:
        for action, found in listed.items():
            profiles.table(f"{action}_requests", "id", [(id_,) for id_ in ["nobody", *found]])
        left = [id_ for id_ in ids if id_ not in listed["delete"]]
        profiles.table("people", "id,plan", [(id_, "free") for id_ in left])

    write()
    profiles.run("--all")
    profiles.kill_some(change, "--all")
    profiles.run("--all", codes=(0, 1))

    suppressed = {*listed["suppress"]} - {*listed["unsuppress"]}
    assert {value for (value,) in profiles.rows("SELECT value FROM suppressions")} == suppressed
    expected = {id_ for id_ in ids if id_ not in suppressed and id_ not in listed["delete"]}
    assert {id_ for (id_,) in profiles.rows("SELECT id FROM people")} == expected
    again = profiles.run("--all", codes=(0, 1))
    assert {run["accepted"] for run in again} == {0}


# --- merges -------------------------------------------------------------------------------------------------

ACCOUNTS = 600


@dataclass
class Accounts:
    """People of whom some turn out to be one: whoever is kept has the lower number."""

    profiles: Profiles
    #: By who is gone, into whom.
    merged: dict[int, int] = field(default_factory=dict)

    def root(self, number: int) -> int:
        while number in self.merged:
            number = self.merged[number]
        return number

    def find_some(self, pairs: int) -> None:
        """Pairs of people who are there yet, also in chains."""
        left = [number for number in range(ACCOUNTS) if number not in self.merged]
        for _ in range(pairs):
            keep, goes = sorted(self.profiles.chance.sample(left, 2))
            if goes not in self.merged:
                self.merged[goes] = keep
        self.write()

    def write(self) -> None:
        """The queries return nothing any more of who is gone, but for what they paid."""
        left = [number for number in range(ACCOUNTS) if number not in self.merged]
        profiles = self.profiles
        profiles.table("people", "id,own", [(f"p{n}", f"own {n}") for n in left])
        profiles.table("notes", "id,note", [(f"p{n}", f"note {n}") for n in left if n % 2])
        profiles.table("phones", "id,token", [(f"p{n}", f"t{n}") for n in left])
        profiles.table("pairs", "keep,goes", [("x", "x")] + [(f"p{k}", f"p{g}") for g, k in self.merged.items()])


def test_merges_are_done_once_whatever_died(profiles: Profiles) -> None:
    accounts, project = Accounts(profiles), profiles.project
    project.define("people", "entity: person\nperson: {id: id}", "SELECT id, own FROM people")
    project.define("notes", "entity: person\nperson: {id: id}", "SELECT id, note FROM notes")
    header = "entity: device\nperson: {id: id}\ndevice: {token: token, platform: ios}\non_removed: delete"
    project.define("phones", header, "SELECT id, token FROM phones")
    pairs = "SELECT keep, goes FROM pairs WHERE keep <> 'x'"
    project.define("merges", "entity: merge\nkeep: {id: keep}\nmerge: {id: goes}", pairs)
    accounts.write()
    paid = profiles.server is None
    if paid:
        event = "entity: event\nperson: {id: id}\nevent: {name: paid, id: token, time: at}\nstart: all"
        query = f"SELECT 'p' || n AS id, n AS token, TIMESTAMP '2026-01-01' AS at FROM range({ACCOUNTS}) t (n)"
        project.define("paid", event, query)
    profiles.run("--all")
    profiles.run("merges")
    profiles.kill_some(lambda: accounts.find_some(60), "merges")
    profiles.run("merges")
    profiles.run("--all")

    roots = [number for number in range(ACCOUNTS) if number not in accounts.merged]
    held = held_people(profiles)
    assert held.keys() == {f"p{number}" for number in roots}
    assert all(held[f"p{number}"]["own"] == f"own {number}" for number in roots)
    for number in roots:
        parts = [part for part in range(ACCOUNTS) if accounts.root(part) == number]
        notes: list[str | None] = [f"note {part}" for part in ([number] if number % 2 else parts) if part % 2]
        assert held[f"p{number}"].get("note") in (notes or [None])
    assert held_tokens(profiles) == {f"t{number}": f"p{accounts.root(number)}" for number in range(ACCOUNTS)}
    if paid:
        counted = profiles.rows("SELECT id, count(*) FROM events JOIN people USING (person_id) GROUP BY id")
        expected = [f"p{accounts.root(number)}" for number in range(ACCOUNTS)]
        assert dict(counted) == {id_: expected.count(id_) for id_ in expected}
    assert {run["accepted"] for run in profiles.run("--all")} == {0}


def held_people(profiles: Profiles) -> dict[str, dict[str, Any]]:
    if profiles.server is not None:
        return {person.attributes["id"]: person.attributes for person in profiles.server.workspace.people}
    rows = profiles.rows("SELECT id, CAST(attributes AS text) FROM people")
    return {id_: json.loads(text) for id_, text in rows}


def held_tokens(profiles: Profiles) -> dict[str, str]:
    """By token: whose it is."""
    if profiles.server is not None:
        workspace = profiles.server.workspace
        ids = {person.cio_id: person.attributes["id"] for person in workspace.people}
        return {token: ids[one["cio_id"]] for token, one in workspace.devices.items()}
    return dict(profiles.rows("SELECT token, id FROM devices JOIN people USING (person_id)"))
