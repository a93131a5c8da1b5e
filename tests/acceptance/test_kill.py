"""`kill -9` of a real `syncer run` at random moments loses nothing and leaves nothing that cannot start."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.cli import forked
from tests.cli.forked import Command
from tests.conftest import is_long, seeds

KILLS = 6 if is_long() else 4
ROWS = 10_000

DEFINITION = """/* sync
entity: person
person: {id: customer_id}
on_removed: delete
limits: {removed: 100%, empty: allow}
*/
SELECT customer_id, plan, visits FROM customers
"""

People = dict[str, tuple[str, int]]


def _change(people: People, chance: random.Random) -> None:
    """Let some people come, go and change."""
    for _ in range(ROWS // 3):
        key = str(chance.randrange(ROWS))
        if chance.random() < 0.2:
            people.pop(key, None)
        else:
            people[key] = (chance.choice(["free", "pro"]), chance.randrange(1000))


def _write(path: Path, people: People) -> None:
    lines = ["customer_id,plan,visits", *(f"{key},{plan},{visits}" for key, (plan, visits) in people.items())]
    path.write_text("\n".join(lines) + "\n")


def _in_sqlite(project: Path, url: str) -> People:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute("SELECT id, attributes FROM people").fetchall()
    return _people([(key, json.loads(attributes)) for key, attributes in rows])


def _in_postgres(project: Path, url: str) -> People:
    with psycopg.connect(url) as connection:
        return _people(connection.execute("SELECT id, attributes FROM people").fetchall())


def _people(rows: list[tuple[str, dict[str, object]]]) -> People:
    return {key: (str(a["plan"]), int(str(a["visits"]))) for key, a in rows}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[Path, str], People]]:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/profiles.db", _in_sqlite
    return request.getfixturevalue("postgres_url"), _in_postgres


@pytest.mark.parametrize("seed", seeds(1))
def test_after_kills_one_clean_run_makes_the_store_equal_to_the_query(
    tmp_path: Path, store: tuple[str, Callable[[Path, str], People]], seed: int
) -> None:
    url, held_people = store
    chance = random.Random(seed)
    data = tmp_path / "sync_definitions" / "sample_data"
    data.mkdir(parents=True)
    (tmp_path / "sync_definitions" / "customers.sql").write_text(DEFINITION)
    people: People = {}
    number = count()
    environment = {"SYNCER_STORES__DEFAULT__URL": url, "PATH": "/usr/bin:/bin"}

    def started() -> Command:
        out, err = (tmp_path / f"{next(number)}.{stream}" for stream in ("out", "err"))
        words = ("run", "customers", "--json")
        return forked.start(words, folder=tmp_path, environment=environment, out=out, err=err)

    def run() -> dict[str, object]:
        ended = started().result()
        assert ended.code == 0, ended.err
        return dict(ended.objects[0])

    _change(people, chance)
    _write(data / "customers.csv", people)
    begun = time.monotonic()
    run()
    seconds = time.monotonic() - begun
    killed = 0
    while killed < KILLS:
        _change(people, chance)
        _write(data / "customers.csv", people)
        begun = time.monotonic()
        process = started().process
        process.join(chance.uniform(0.3, 1.0) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            seconds = time.monotonic() - begun

    run()

    assert held_people(tmp_path, url) == people
    again = run()
    assert (again["accepted"], again["unchanged"]) == (0, len(people))
