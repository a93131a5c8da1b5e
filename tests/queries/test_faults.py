from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from connectors.duckdb.warehouse import DuckDBWarehouse
from syncer.definitions import file
from syncer.model.errors import WarehouseError
from syncer.model.protocols import Warehouse
from syncer.model.query_variables import QueryVariables
from syncer.queries import query
from syncer.queries.faults import HIDDEN, fault
from syncer.queries.query import Query
from syncer.settings import registry

#: The file's line of the query's first.
FIRST_LINE = 6


def query_of(sql: str, **environment: str) -> Query:
    text = f"/* sync\nentity: person\nperson: {{id: id}}\n*/\n\n{sql}\n"
    definition = file.parse(Path("people.sql"), text.encode()).definition
    assert definition is not None
    readable = QueryVariables(environment=environment, allowed=tuple(environment))
    rendered = query.render(definition, last_sync_time=17, variables={}, environment=lambda: readable)
    return Query(definition=definition, rendered=rendered, statement=rendered)


def shown(sent: Query, message: str, hint: str = "") -> tuple[str, str]:
    """What becomes of a warehouse's message and hint."""
    found = fault(sent.definition, sent.rendered, WarehouseError(f"warehouse `default`: {message}", hint=hint))
    return found.message.removeprefix("warehouse `default`: "), found.hint


@pytest.mark.parametrize(
    ("sql", "query_line", "line"),
    [
        ("SELECT id\nFROM nowhere", 1, 0),
        ("SELECT id\nFROM nowhere", 2, 1),
        ("SELECT id\nFROM nowhere", None, 0),
        ("SELECT id,\n{{ last_sync_time }}\nFROM nowhere", 3, 2),
        ("SELECT id\n{% if last_sync_time %}\n, 1\n{% endif %}\nFROM nowhere", 5, 4),
        ("SELECT id\n{% if not last_sync_time %}\n, 1\n{% endif %}\nFROM nowhere", 3, 0),
        ("SELECT id\n{{ env_var('LINES') }}\nFROM nowhere", 5, 0),
    ],
    ids=["first", "second", "none to blame", "a value", "a block", "left out", "more lines"],
)
def test_the_line_is_the_file_s_where_jinja_moved_none(sql: str, query_line: int | None, line: int) -> None:
    sent = query_of(sql, LINES=",\n1\n,2")

    found = fault(sent.definition, sent.rendered, WarehouseError("warehouse `default`: no", query_line=query_line))

    assert str(found) == f"people.sql:{FIRST_LINE + line}: warehouse `default`: no"


def test_the_error_stays_what_it_is_and_forgets_what_it_was() -> None:
    sent = query_of("SELECT id FROM {{ env_var('NAME') }}", NAME="canary")

    error = WarehouseError("warehouse `default`: no canary", hint="Make canary now.", query_line=1)
    error.__cause__, error.__context__ = OSError("canary"), OSError("canary")

    with pytest.raises(WarehouseError) as caught, sent.errors_placed():
        raise error

    assert caught.value is error
    assert caught.value.message == str(caught.value) == "people.sql:6: warehouse `default`: no …"
    assert caught.value.hint == "Make … now."
    assert [chained for chained in (caught.value.__cause__, caught.value.__context__) if chained] == []


@pytest.mark.parametrize(
    ("value", "message", "expected"),
    [
        ("canary", 'relation "canary" does not exist', 'relation "…" does not exist'),
        ("CaNaRy", 'relation "canary" does not exist', 'relation "…" does not exist'),
        ("canary", 'relation "CANARY" does not exist', 'relation "…" does not exist'),
        ("canary", "column people.canary does not exist", "column … does not exist"),
        ("canary", "function canary(integer) does not exist", "function …(integer) does not exist"),
        ("canary" * 20, f'relation "{("canary" * 20)[:63]}" does not exist', 'relation "…" does not exist'),
        ("canary", 'Did you mean "canary_2"?', 'Did you mean "…"?'),
        ("canary", "cannot open /data/canary.csv", "cannot open …"),
        ("can-ary 1", 'near "can"', 'near "…"'),
        ("can-ary 1", 'near "ary"', 'near "…"'),
        ("!?!", 'near "!"', 'near "…"'),
        ("canary nest", 'relation "canary nest" does not exist', 'relation "…" does not exist'),
        # Every word stands in the file, and they do not stand there together.
        ("id-plan", 'relation "id-plan" does not exist', 'relation "…" does not exist'),
        ("id plan", 'relation "id plan" does not exist', 'relation "…" does not exist'),
        ("7", "at 7", "at …"),
        ("é", 'near "É"', 'near "…"'),
    ],
)
def test_what_only_the_rendering_knows_is_hidden(value: str, message: str, expected: str) -> None:
    sent = query_of("SELECT id, plan\nFROM {{ env_var('NAME') }} AS people", NAME=value)

    assert shown(sent, message, message) == (expected, expected)


def test_a_message_is_one_line() -> None:
    sent = query_of("SELECT id FROM people")

    assert shown(sent, 'column "a\nerror: b" does not exist')[0] == 'column "a error: b" does not exist'


@pytest.mark.parametrize(
    "message",
    [
        'relation "people" does not exist',
        'column "plam" does not exist',
        'syntax error at or near "FROM"',
        'column "plan" must appear in the GROUP BY clause or be used in an aggregate function',
        "the query ran over the timeout of 1 minute and was cancelled",
        "canceling statement due to conflict with recovery",
        'Table with name people does not exist! Did you mean "peoples"?',
    ],
)
def test_what_stands_in_the_file_or_is_the_warehouse_s_own_is_shown(message: str) -> None:
    names = "{% for name in ['plan', 'plam'] %}, {{ name }}{% endfor %}"
    sent = query_of(f"SELECT id {names} FROM people WHERE org = '{{{{ env_var('ORG') }}}}'", ORG="gx-4711")

    assert shown(sent, message)[0] == message


#: Where a value may stand in a query, to that query. It is also rendered in other ways than as it is.
SHAPES = {
    "table": "SELECT id FROM {{ env_var('NAME') }}",
    "quoted table": 'SELECT id FROM "{{ env_var("NAME") }}"',
    "column": "SELECT id,\n{{ env_var('NAME') }} FROM people",
    "qualified column": "SELECT p.id, p.{{ env_var('NAME') }} FROM people AS p",
    "alias": "SELECT {{ env_var('NAME') }}.id FROM people",
    "schema": "SELECT id FROM {{ env_var('NAME') }}.people",
    "database": "SELECT id FROM {{ env_var('NAME') }}.public.people",
    "function": "SELECT {{ env_var('NAME') }}(id) AS id FROM people",
    "table function": "SELECT id FROM {{ env_var('NAME') }}(1)",
    "type": "SELECT CAST(id AS {{ env_var('NAME') }}) AS id FROM people",
    "failing cast": "SELECT CAST('{{ env_var('NAME') }}' AS integer) AS id",
    "failing cast of a column": "SELECT CAST('{{ env_var('NAME') }}' || id AS integer) AS id FROM people",
    "failing date": "SELECT DATE '{{ env_var('NAME') }}' AS id",
    "time zone": "SELECT now() AT TIME ZONE '{{ env_var('NAME') }}' AS id",
    "setting": "SELECT current_setting('{{ env_var('NAME') }}') AS id FROM people",
    "collation": "SELECT plan COLLATE \"{{ env_var('NAME') }}\" AS id FROM people",
    "pattern": "SELECT regexp_replace(plan, '({{ env_var('NAME') }}', '') AS id FROM people",
    "syntax error": "SELECT id FROM people\nWHERE id = = {{ env_var('NAME') }} = 1",
    "syntax error at it": "SELECT id FROM people AS {{ env_var('NAME') }} {{ env_var('NAME') }}",
    "after it": "SELECT id FROM {{ env_var('NAME') }} WHERE WHERE",
    "not closed": "SELECT id FROM people WHERE plan = '{{ env_var('NAME') }}",
    "grouping": "SELECT id, '{{ env_var('NAME') }}' || plan AS plan, count(*) FROM people GROUP BY id",
    "arguments": "SELECT abs('{{ env_var('NAME') }}', id) AS id FROM people",
    "upper": "SELECT id FROM {{ env_var('NAME') | upper }}",
    "letters": "SELECT id FROM {% for c in env_var('NAME') %}{{ c }}{% endfor %}",
    "joined": "SELECT id FROM a_{{ env_var('NAME') }}_b",
}

#: PostgreSQL's and DuckDB's own.
SHAPES_OF = {
    "postgresql": {
        "regclass": "SELECT '{{ env_var('NAME') }}'::regclass AS id",
        "regclass of a column": "SELECT ('{{ env_var('NAME') }}' || id)::regclass AS id FROM people",
        "dollar quotes": "SELECT $x${{ env_var('NAME') }}$x$::regtype AS id",
        "range": "SELECT nullif('{{ env_var('NAME') }}', 1) AS id",
    },
    "duckdb": {
        "file": "SELECT id FROM '{{ env_var('NAME') }}.csv'",
        "read_csv": "SELECT id FROM read_csv('{{ env_var('NAME') }}.csv')",
        "option": "SELECT id FROM read_csv('people.csv', {{ env_var('NAME') }} = 1)",
        "struct": "SELECT struct_extract({'a': 1}, '{{ env_var('NAME') }}') AS id",
        "raised": "SELECT error('{{ env_var('NAME') }}') AS id FROM people",
        "format": "SELECT strptime('2024', '%{{ env_var('NAME') }}%Q') AS id",
    },
}

VALUES = ["canary", "CaNaRy_7", "canary" * 15, "canary-nest", "canary nest", "canary's", "canary.nest", "canary\nnest"]


@pytest.fixture(params=["duckdb", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def warehouse(product: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    url = f"duckdb:///{tmp_path}" if product == "duckdb" else request.getfixturevalue("postgres_url")
    (tmp_path / "people.csv").write_text("id,plan\n1,free\n")
    if product == "postgresql":
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE people AS SELECT 1 AS id, 'free' AS plan")
    # A process for each of hundreds of queries would say the same, in minutes.
    opened: Warehouse = (
        DuckDBWarehouse("default", url, is_apart=True)
        if product == "duckdb"
        else registry.open_warehouse("default", url)
    )
    with closing(opened) as warehouse:
        yield warehouse


def failure(sent: Query, ask: Callable[[str], object]) -> WarehouseError | None:
    """What asking a warehouse fails with."""
    try:
        with sent.errors_placed():
            ask(sent.statement)
    except WarehouseError as exc:
        return exc
    return None


def said(error: BaseException | None) -> str:
    """All that an error and what is chained to it say, whether or not Python would print it."""
    if error is None:
        return ""
    return f"{error!r} {error} {getattr(error, 'hint', '')}" + said(error.__cause__) + said(error.__context__)


@pytest.mark.early
def test_no_warehouse_tells_a_value_wherever_it_stands(product: str, warehouse: Warehouse) -> None:
    def read(sql: str) -> object:
        return warehouse.query(sql, timeout=timedelta(minutes=1)).read_all()

    shapes = SHAPES | SHAPES_OF[product]
    queries = [query_of(sql, NAME=value) for sql in shapes.values() for value in VALUES]

    failures = [failure(sent, ask) for sent in queries for ask in (warehouse.columns, read)]

    errors = [error for error in failures if error]
    assert len(errors) > len(queries)
    for error in errors:
        assert "canar" not in said(error).casefold()
        assert str(error).startswith("people.sql:")
    assert [error for error in errors if HIDDEN in str(error)]
