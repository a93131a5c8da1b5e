"""A sample shop in PostgreSQL, in the shape of the public Chinook database, is changed again and again and synced.

After each run the whole store is compared with what plain Python makes of the same queries.
"""

from __future__ import annotations

import json
import random
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from tests.acceptance.commands import Project
from tests.acceptance.contents import Attributes, Contents, Rows, held, number, plain, present
from tests.acceptance.sample_shop import Shop
from tests.conftest import is_long
from tests.servers.postgresql import PostgresServer

pytestmark = pytest.mark.early

ROUNDS = 12 if is_long() else 3

SPENT = """
SELECT i.customer_id, sum(l.unit_price * l.quantity) AS total, max(i.invoiced_at) AS last_at, count(DISTINCT i.*) AS n
FROM invoice i JOIN invoice_line l USING (invoice_id) GROUP BY i.customer_id
"""

PEOPLE = f"""
SELECT c.customer_id, c.email, c.first_name, c.last_name, c.company, c.city, c.reference, c.tags, c.preferences,
       c.credit, c.score, c.joined_at, c.joined_at::date AS joined_on, c.newsletter,
       e.first_name || ' ' || e.last_name AS support_rep,
       s.total AS lifetime_total, coalesce(s.n, 0) AS invoices, s.last_at AS last_invoice_at
FROM customer c LEFT JOIN employee e ON e.employee_id = c.support_rep_id
LEFT JOIN ({SPENT}) s USING (customer_id)
"""

COMPANIES = f"""
SELECT company, count(*) AS customers, array_agg(DISTINCT country ORDER BY country) AS countries,
       sum(s.total) AS revenue, jsonb_object_agg(c.customer_id, s.total) AS by_customer
FROM customer c LEFT JOIN ({SPENT}) s USING (customer_id) WHERE company IS NOT NULL GROUP BY company
"""

MEMBERS = """
SELECT customer_id, company,
       CASE rank() OVER (PARTITION BY company ORDER BY joined_at, customer_id) WHEN 1 THEN 'owner' ELSE 'member' END
       AS role, joined_at::date AS since
FROM customer WHERE company IS NOT NULL
"""

GENRES = """
SELECT g.genre_id, g.name, g.cover, count(l.*) AS lines, avg(l.unit_price) AS average_price
FROM genre g LEFT JOIN invoice_line l USING (genre_id) GROUP BY g.genre_id
"""

BIG_SPENDERS = (
    f"SELECT customer_id, rank() OVER (ORDER BY total DESC) AS spender_rank FROM ({SPENT}) s WHERE total > 60"
)

READERS = "SELECT customer_id, country AS newsletter_edition FROM customer WHERE newsletter"


def identifier(value: object) -> str:
    return unicodedata.normalize("NFC", str(value).strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One definition, and the same query's rows read by psycopg."""

    header: str
    sql: LiteralString
    keys: tuple[str, ...]

    def rows(self, connection: psycopg.Connection) -> Rows:
        """Each row's attributes by its key; NULL is None."""
        with connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(self.sql).fetchall()
        rows = {
            tuple(identifier(row[key]) for key in self.keys): {
                name: plain(value) for name, value in row.items() if name not in self.keys
            }
            for row in found
        }
        assert len(rows) == len(found)
        return rows


SYNCS = {
    "customers": Sync(
        header="entity: person\nperson: {id: customer_id}\non_removed: delete\nlimits: {removed: 100%}",
        sql=PEOPLE,
        keys=("customer_id",),
    ),
    "readers": Sync(
        header="entity: person\nperson: {id: customer_id}\non_null: keep", sql=READERS, keys=("customer_id",)
    ),
    "spenders": Sync(
        header="entity: person\nperson: {id: customer_id}\non_removed: clear\nlimits: {removed: 100%}",
        sql=BIG_SPENDERS,
        keys=("customer_id",),
    ),
    "companies": Sync(
        header="entity: object\nobject: {type: company, id: company}\non_removed: delete\nlimits: {removed: 100%}",
        sql=COMPANIES,
        keys=("company",),
    ),
    "members": Sync(
        header="entity: relationship\nperson: {id: customer_id}\nobject: {type: company, id: company}\n"
        "on_removed: delete\nlimits: {removed: 100%}",
        sql=MEMBERS,
        keys=("customer_id", "company"),
    ),
    "genres": Sync(
        header="entity: collection\ncollection: genres\nkey: genre_id\nlimits: {removed: 100%}",
        sql=GENRES,
        keys=("genre_id",),
    ),
}


def expected(before: Contents, rows: Mapping[str, Rows]) -> Contents:
    """What the store must hold after these rows, where it held *before*."""
    people = {}
    for (key,), row in rows["customers"].items():
        kept = {n: v for n, v in before.people.get(key, {}).items() if n == "newsletter_edition"}
        others = [present(rows[sync].get((key,), {})) for sync in ("readers", "spenders")]
        # DuckDB writes a capital I with a dot as an i; Python adds a dot of its own.
        lower = identifier(row.get("email") or "").lower().replace("i\u0307", "i")
        email = {"email": lower} if lower else {}
        people[key] = present(row) | email | kept | others[0] | others[1]
    return Contents(
        people=people,
        objects={("company", *key): present(row) for key, row in rows["companies"].items()},
        relationships={(k, "company", o): present(row) for (k, o), row in rows["members"].items()},
        collections={("genres", key): {"genre_id": number(key)} | row for (key,), row in rows["genres"].items()},
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[Project]:
    """A working folder whose warehouse is an empty database, and whose store is empty."""
    with postgres.new_database() as warehouse, postgres.new_database() as store:
        url = f"sqlite:///{tmp_path}/profiles.db" if request.param == "sqlite" else store
        environment = {"SYNCER_WAREHOUSES__DEFAULT__URL": warehouse, "SYNCER_STORES__DEFAULT__URL": url}
        yield Project(path=tmp_path, environment=environment)


@pytest.fixture
def shop(project: Project) -> Iterator[Shop]:
    """The sample database, opened."""
    with psycopg.connect(project.environment["SYNCER_WAREHOUSES__DEFAULT__URL"], autocommit=True) as connection:
        set_json_loads(partial(json.loads, parse_float=Decimal), connection)
        shop = Shop(connection, random.Random(1))
        shop.open()
        yield shop


def store_of(project: Project) -> str:
    return project.environment["SYNCER_STORES__DEFAULT__URL"]


def run_all(project: Project) -> dict[str, dict[str, Any]]:
    """Run every sync, which must end well; gives the counts by sync."""
    ended = project.syncer("run", "--all", "--json")
    assert ended.code == 0, ended.err
    return {run["sync"]: run for run in ended.objects}


def differences(before: Rows, after: Rows) -> dict[str, int]:
    both = before.keys() & after.keys()
    changed = sum(before[key] != after[key] for key in both)
    return {
        "queried": len(after),
        "added": len(after.keys() - before.keys()),
        "changed": changed,
        "removed": len(before.keys() - after.keys()),
        "unchanged": len(both) - changed,
        "rejected": 0,
    }


def test_after_each_run_the_store_is_what_the_queries_say(project: Project, shop: Shop) -> None:
    for name, sync in SYNCS.items():
        project.define(name, sync.header, sync.sql)
    rows: dict[str, Rows] = {name: {} for name in SYNCS}
    contents = Contents(people={}, objects={}, relationships={}, collections={})
    for _ in range(ROUNDS):
        before, rows = rows, {name: sync.rows(shop.connection) for name, sync in SYNCS.items()}
        contents = expected(contents, rows)

        runs = run_all(project)

        assert held(store_of(project)) == contents
        for name in SYNCS.keys() - {"readers"}:
            told = {count: runs[name][count] for count in differences({}, {})}
            assert told == differences(before[name], rows[name]), name
        shop.trade()
    runs = run_all(project)
    assert [(run["accepted"], run["unchanged"]) for run in run_all(project).values()] == [
        (0, run["queried"]) for run in runs.values()
    ]


LEAVING: dict[str, LiteralString] = {
    "customers": f"SELECT * FROM ({PEOPLE}) q WHERE customer_id::text NOT IN (TABLE gone)",
    "companies": f"SELECT * FROM ({COMPANIES}) q WHERE company NOT IN (TABLE gone)",
    "members": f"SELECT * FROM ({MEMBERS}) q WHERE NOT ARRAY[customer_id::text, company] && ARRAY(TABLE gone)",
}


@pytest.mark.parametrize("on_removed", ["keep", "clear", "delete"])
def test_what_left_every_query_is_kept_cleared_or_deleted_and_can_come_back(
    project: Project, shop: Shop, on_removed: str
) -> None:
    shop.execute("CREATE TABLE gone AS SELECT NULL AS key WHERE false")
    for name, sql in LEAVING.items():
        project.define(name, SYNCS[name].header.replace("on_removed: delete", f"on_removed: {on_removed}"), sql)
    run_all(project)
    whole = held(store_of(project))
    companies = [
        company for (company,) in shop.execute("SELECT DISTINCT company FROM customer WHERE right(company, 1) = '1'")
    ]
    leaving = {str(key) for key in shop.some("customer", 0.1)} | set(companies)
    for key in leaving:
        shop.execute("INSERT INTO gone VALUES (%s)", key)
    leaving = {identifier(key) for key in leaving}

    def without(things: Mapping[Any, Attributes]) -> dict[Any, Attributes]:
        left = {key for key in things if leaving & ({key} if isinstance(key, str) else set(key))}
        assert left
        assert left < things.keys()
        match on_removed:
            case "keep":
                return dict(things)
            case "clear":
                return {key: {} if key in left else attributes for key, attributes in things.items()}
            case _:
                return {key: attributes for key, attributes in things.items() if key not in left}

    run_all(project)

    after = held(store_of(project))
    assert after.people == without(whole.people)
    assert after.objects == without(whole.objects)
    assert after.relationships == without(whole.relationships)
    shop.execute("DELETE FROM gone")
    run_all(project)
    assert held(store_of(project)) == whole


@pytest.mark.parametrize(
    ("identifier", "column", "words"), [("id", "customer_id", ["trial"]), ("email", "mail", ["--all"])]
)
def test_people_that_one_sync_deletes_are_healed_by_the_others_that_have_them(
    project: Project, shop: Shop, identifier: str, column: str, words: list[str]
) -> None:
    project.environment["SYNCER_STORES__DEFAULT__IDENTITY"] = "id_or_email"
    shop.execute("UPDATE customer SET email = 'c' || customer_id || '@example.com'")
    shop.execute(
        "CREATE TABLE trial AS SELECT customer_id, email AS mail, true AS in_trial FROM customer WHERE customer_id < 40"
    )
    for name in ("customers", "companies", "members", "readers"):
        project.define(name, SYNCS[name].header, SYNCS[name].sql)
    header = f"""
        entity: person
        person: {{{identifier}: {column}}}
        attributes: [in_trial]
        on_removed: delete
        limits: {{removed: 100%}}
    """
    project.define("trial", textwrap.dedent(header), f"SELECT {column}, in_trial FROM trial")
    run_all(project)
    whole = held(store_of(project))
    ended = {str(key) for (key,) in shop.execute("DELETE FROM trial WHERE customer_id < 20 RETURNING customer_id")}

    deleting = project.syncer("run", *words)

    assert deleting.code in (0, 1), deleting.err
    assert not ended & held(store_of(project)).people.keys()
    run_all(project)
    healed = held(store_of(project))
    assert healed.people == {
        key: {name: value for name, value in attributes.items() if not (name == "in_trial" and key in ended)}
        for key, attributes in whole.people.items()
    }
    assert (healed.objects, healed.relationships) == (whole.objects, whole.relationships)
    assert {run["accepted"] for run in run_all(project).values()} == {0}
