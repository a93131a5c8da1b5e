"""What becomes of a batch whose COMMIT in a PostgreSQL store has no answer: it is in doubt, whatever the server did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from connectors.postgresql.store import PostgreSQLStore
from syncer.model.errors import StoreError
from syncer.model.types import Identity
from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, held
from tests.contracts.batches import ACCEPTED, PEOPLE, apply, batch_of, delete, made, put
from tests.servers.commit_proxy import CommitProxy, Cut, commit_proxy

PERSON = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}"

#: So many that the changes between two results are three batches: removals, and puts in two.
ROWS = PostgreSQLStore.batch_rows + 3_000


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[CommitProxy]:
    with commit_proxy(postgres_url) as proxy:
        yield proxy


@pytest.mark.parametrize("cut", Cut)
def test_a_batch_whose_commit_has_no_answer_has_no_verdict(proxy: CommitProxy, postgres_url: str, cut: Cut) -> None:
    rows = [put("ann", attributes={"plan": "b"}), delete("bob"), put("cy", attributes={"plan": "b"})]
    with closing(PostgreSQLStore("default", proxy.url, identity=Identity.ID)) as store:
        known = [put(name, attributes={"plan": "a"}) for name in ("ann", "bob")]
        assert apply(store, PEOPLE, *known) == [ACCEPTED, ACCEPTED]
        before = held(postgres_url).people
        proxy.cut_commit(1, cut)

        with pytest.raises(StoreError, match="store `default`: the connection was lost") as raised:
            store.apply(PEOPLE, batch_of(*rows), create=True)

    after = {"ann": {"plan": "b"}, "cy": {"plan": "b"}}
    assert proxy.cuts == 1
    assert "sends again what the store did not answer for" in raised.value.hint
    assert held(postgres_url).people == (after if cut is Cut.BEFORE_THE_ANSWER else before)
    with closing(PostgreSQLStore("default", proxy.url, identity=Identity.ID)) as again:
        assert apply(again, PEOPLE, *rows) == [ACCEPTED] * 3
    assert held(postgres_url).people == after


@pytest.fixture
def project(tmp_path: Path, proxy: CommitProxy) -> Project:
    """A folder whose sync has delivered its first result by way of the proxy."""
    project = Project(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__URL": proxy.url})
    project.table("people", "id", "0")
    define(project, first=0, plan="a")
    assert project.syncer("run", "people").code == 0
    return project


def define(project: Project, *, first: int, plan: str) -> dict[str, Attributes]:
    """Make the query return other rows; returns what the store shall hold."""
    last = first + ROWS
    project.define("people", PERSON, f"SELECT range AS id, '{plan}' AS plan FROM range({first}, {last})")
    return {str(n): {"plan": plan} for n in range(first, last)}


@pytest.mark.parametrize(
    ("cut", "number", "goes_back"),
    [
        (Cut.BEFORE_THE_SERVER, 1, True),
        (Cut.BEFORE_THE_SERVER, 3, False),
        (Cut.BEFORE_THE_ANSWER, 1, False),
        (Cut.BEFORE_THE_ANSWER, 2, True),
        (Cut.BEFORE_THE_ANSWER, 3, True),
    ],
)
def test_after_a_lost_commit_one_clean_run_makes_the_store_agree_with_the_query(
    project: Project, proxy: CommitProxy, postgres_url: str, cut: Cut, number: int, goes_back: bool
) -> None:
    """Rows are added, changed and removed; the query may return its first result again when the store is back."""
    before, wanted = held(postgres_url).people, define(project, first=ROWS // 2, plan="b")
    proxy.cut_commit(number, cut)

    ended = project.syncer("run", "people", "--json")

    (run,) = ended.objects
    assert (ended.code, run["status"], proxy.cuts) == (1, "failed", 1)
    assert run["error"] == "store `default`: the connection was lost"
    found = held(postgres_url).people
    gone = before.keys() - wanted.keys() - found.keys()
    stored = len(gone) + sum(found.get(key) == person for key, person in wanted.items())
    assert (run["accepted"] == stored) == (cut is Cut.BEFORE_THE_SERVER)
    assert run["accepted"] <= stored <= run["added"] + run["changed"] + run["removed"]
    assert (run["accepted"] == 0) == (number == 1)
    if goes_back:
        wanted = define(project, first=0, plan="a")
    assert project.syncer("run", "people").code == 0
    assert held(postgres_url).people == wanted
    (again,) = project.syncer("run", "people", "--json").objects
    assert (again["status"], again["accepted"], again["unchanged"]) == ("success", 0, len(wanted))


def test_a_store_that_is_made_over_a_lost_commit_can_be_made_again(proxy: CommitProxy, postgres_url: str) -> None:
    for cut in Cut:
        proxy.cut_commit(1, cut)
        with (
            closing(PostgreSQLStore("default", proxy.url, identity=Identity.ID)) as store,
            pytest.raises(StoreError, match="store `default`: the connection was lost"),
        ):
            made(store)

    assert proxy.cuts == len(Cut)
    with closing(PostgreSQLStore("default", proxy.url, identity=Identity.ID)) as store:
        assert apply(store, PEOPLE, put("ann")) == [ACCEPTED]
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM workspace").fetchone() == (1,)
