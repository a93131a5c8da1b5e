from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions import file as definition_file
from syncer.model.errors import DefinitionError
from syncer.model.query_variables import QueryVariables
from syncer.model.types import SyncDefinition
from syncer.queries import query

PATH = Path("orders.sql")

#: The file's line of the query's first.
FIRST_LINE = 5


def definition_of(sql: str) -> SyncDefinition:
    file = definition_file.parse(PATH, f"/* sync\nentity: person\nperson: {{id: user_id}}\n*/\n{sql}".encode())
    assert file.definition is not None, [str(error) for error in file.errors]
    return file.definition


def rendered(sql: str, *, last_sync_time: int = 0, **settings: dict[str, str]) -> str:
    return query.render(
        definition_of(sql),
        last_sync_time=last_sync_time,
        variables=settings.get("variables", {}),
        environment=lambda: QueryVariables(environment=settings.get("environment", {}), allowed=("HOME", "TOKEN", "X")),
    )


def checked(sql: str, dialect: str | None = None) -> str:
    return query.check(definition_of(sql), sql, dialect)


def error_of(sql: str, **settings: Any) -> DefinitionError:
    """What reading or rendering the file fails with."""
    file = definition_file.parse(PATH, f"/* sync\nentity: person\nperson: {{id: user_id}}\n*/\n{sql}".encode())
    if file.definition is None:
        [error] = file.errors
        return error
    with pytest.raises(DefinitionError) as caught:
        rendered(sql, **settings)
    return caught.value


def test_a_query_is_rendered_with_its_values() -> None:
    sql = "SELECT {{ last_sync_time }}, '{{ var('Region') }}', '{{ env_var('HOME') }}', {{ var('rate', 3) }}"

    text = rendered(sql, last_sync_time=17, variables={"region": "eu"}, environment={"HOME": "/home/a"})

    assert text == "SELECT 17, 'eu', '/home/a', 3"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1{% if last_sync_time %} WHERE x{% endif %}", "SELECT 1"),
        ("SELECT {% for c in ['a', 'b'] %}{{ c }}{{ ', ' if not loop.last }}{% endfor %}", "SELECT a, b"),
        ("SELECT {{ ['a', 'b'] | join(', ') | upper }}", "SELECT A, B"),
        ("SELECT {{ 'a' ~ 1 ~ ('b' + 'c') }}", "SELECT a1bc"),
        ("SELECT {% set names = {'a': 'b'} %}{{ names['a'] }}", "SELECT b"),
        ("SELECT {% set n = 2 * 3 %}{{ n + 1 }}{# a note #}", "SELECT 7"),
        ("SELECT '{% raw %}{{ x }}{% endraw %}'", "SELECT '{{ x }}'"),
        ("SELECT {{ '{{ x }}' }}", "SELECT {{ x }}"),
        ("SELECT '100%', {'a': {'b': 1}}", "SELECT '100%', {'a': {'b': 1}}"),
    ],
)
def test_jinja_does_its_usual_work(sql: str, expected: str) -> None:
    assert rendered(sql) == expected


@pytest.mark.parametrize(
    ("sql", "incremental"),
    [
        ("SELECT 1 WHERE x > {{ last_sync_time }}", True),
        ("SELECT 1 {% if false %}{% if last_sync_time > 3 %}{% endif %}{% endif %}", True),
        ("SELECT {{ var('x', last_sync_time) }}", True),
        ("SELECT last_sync_time FROM t", False),
        ("SELECT 1 {# last_sync_time #}", False),
        ("SELECT {{ 'last_sync_time' }}", False),
        ("SELECT {% raw %}{{ last_sync_time }}{% endraw %}", False),
        ("SELECT {% set last_sync_time = 3 %}{{ last_sync_time }}", False),
    ],
)
def test_a_query_that_mentions_last_sync_time_is_incremental(sql: str, incremental: bool) -> None:
    assert definition_of(sql).incremental == incremental


@pytest.mark.parametrize(
    ("sql", "line", "message"),
    [
        ("SELECT\n\n{{ lst_sync_time }}", 7, "Did you mean `last_sync_time`"),
        ("SELECT\n{{ var('regoin') }}", 6, "Did you mean `region`"),
        ("SELECT\n{{ var('x') }}", 6, "Set `SYNCER_VARS__X`, or give a default: `var('x', 'value')`"),
        ("SELECT {{ env_var('X') }}", 5, "Set `X`"),
        ("SELECT 1,\n{{ env_var('OTHER') }}", 6, "Add `OTHER` to `SYNCER_QUERY_VARIABLES`"),
        ("SELECT 1,\n{{ env_var('OTHER', 'x') }}", 6, "Add `OTHER` to `SYNCER_QUERY_VARIABLES`"),
        ("SELECT 1\n{% if false %}{{ env_var('OTHER') }}{% endif %}", 6, "Add `OTHER` to `SYNCER_QUERY_VARIABLES`"),
        ("SELECT {{ env_var('SYNCER_WEB__PASSWORD') }}", 5, "it is a setting of Syncer"),
        ("SELECT {{ env_var('syncer_database_url', '') }}", 5, "it is a setting of Syncer"),
        ("SELECT {{ env_var('PGPASSWORD') }}", 5, "it is a credential of a driver"),
        ("SELECT {{ var(last_sync_time) }}", 5, "a name in quotes"),
        ("SELECT {{ var() }}", 5, "a name in quotes"),
        ("SELECT {{ var }}", 5, "neither text nor a number"),
        ("SELECT {{ self }}", 5, "neither text nor a number"),
        ("SELECT\n{% if %}", 6, "cannot be read"),
        ("SELECT {{ 1", 5, "cannot be read"),
        ("SELECT\n'{{1,2},{3,4}}'::int[]", 6, "write `{% raw %}'{{1,2},{3,4}}'{% endraw %}`"),
        ("SELECT\n'{{1,2}}'::int[]", 6, "write `{% raw %}'{{1,2}}'{% endraw %}`"),
        ("SELECT 1,\n'{{}}'", 6, "write `{% raw %}'{{}}'{% endraw %}`"),
        ("SELECT '{%'", 5, "write `{% raw %}'{%'{% endraw %}`"),
        ("SELECT '{{ var('x' }}'", 5, "A query has `{{ last_sync_time }}`"),
        ("SELECT {% for x in [1] %}", 5, "cannot be read"),
        ("SELECT\r\n{{ 1 | uper }}", 6, "Did you mean `upper`"),
        ("SELECT {{ now() }}", 5, "only `var`, `env_var` and `range` can be called"),
        ("SELECT\n{{ 1 / 0 }}", 6, "ZeroDivisionError"),
        ("SELECT {{ [1][3] }}", 5, "no such item"),
        ("SELECT {{ ''.__class__.__mro__ }}", 5, "a query cannot use the attribute `__mro__`"),
        ("SELECT {{ ''['__class__'] }}", 5, "no such item"),
        ("SELECT {{ '' | attr('__class__') }}", 5, "`attr` is unknown"),
        ("SELECT {{ '{0.__class__}'.format(1) }}", 5, "only `var`, `env_var` and `range` can be called"),
        ("SELECT {% for x in [1] %}{{ loop['__init__'] }}{% endfor %}", 5, "no such item"),
        ("SELECT {% include '/etc/passwd' %}", 5, "a query cannot use the Jinja construct `Include`"),
        ("SELECT {% import 'os' as os %}", 5, "a query cannot use the Jinja construct `Import`"),
        ("SELECT {% macro f() %}{{ f() }}{% endmacro %}", 5, "a query cannot use"),
        ("SELECT {% block a %}{{ self.a() }}{% endblock %}", 5, "a query cannot use"),
        (f"SELECT {{{{ {'(' * 5000}1{')' * 5000} }}}}", 5, "nested too deeply"),
        (f"SELECT {{{{ 1{'+1' * 3000} }}}}", 5, "nested too deeply"),
        (f"SELECT {{{{ {'9' * 5000} }}}}", 5, "too long"),
    ],
)
def test_a_mistake_in_the_template_is_reported_with_the_file_s_line(sql: str, line: int, message: str) -> None:
    error = error_of(sql, variables={"region": "eu"})

    assert error.line == line
    assert message in f"{error.message}. {error.hint}"


#: Queries that read only, with words in them that a statement would write by.
READING = [
    ("postgres", "SELECT * FROM JSON_TABLE(j, '$[*]' COLUMNS (op text PATH '$')) WHERE op IN ('delete','update')"),
    ("mysql", "SELECT * FROM JSON_TABLE(j, '$[*]' COLUMNS (op TEXT PATH '$')) t WHERE op IN ('delete','update')"),
    ("oracle", "SELECT * FROM JSON_TABLE(j, '$' COLUMNS (op CLOB PATH '$' ERROR ON ERROR)) WHERE op IN (N'delete')"),
    ("postgres", "SELECT * FROM t WHERE name IS NFC NORMALIZED AND op IN ('delete')"),
    ("postgres", "SELECT name IS NFC NORMALIZED FROM t WHERE op IN (E'update', $$delete$$) AND (\"delete\")"),
    ("postgres", "SELECT JSON_QUERY(j, '$.a' WITH WRAPPER) FROM t WHERE op IN ('insert')"),
    ("postgres", "SELECT JSON_QUERY(j, '$.a' WITH UNCONDITIONAL ARRAY WRAPPER) FROM t WHERE op IN ('merge')"),
    ("bigquery", "SELECT WITH(a AS 1, b AS a + 1, a + b) FROM t WHERE op IN ('delete', r'update')"),
    ("bigquery", "SELECT * FROM GRAPH_TABLE(g MATCH (a)-[e]->(b) WHERE e.op IN ('delete') RETURN a.id)"),
    ("oracle", "SELECT * FROM GRAPH_TABLE(g MATCH (a)-[e IS update]->(b) COLUMNS (a.id)) WHERE op IN ('delete')"),
    ("oracle", "SELECT y, s FROM t MODEL DIMENSION BY (y) MEASURES (s) RULES UPDATE (s[2025] = s[2024])"),
    ("oracle", "SELECT y, s FROM t MODEL DIMENSION BY (y) MEASURES (s) (UPDATE s[2025] = s[2024])"),
    ("oracle", "SELECT y, s FROM t MODEL DIMENSION BY (y) MEASURES (s) (UPSERT ALL s[2] = 1, UPDATE s[1] = 2)"),
    ("postgres", "SELECT name IS NFC NORMALIZED, count(*) update, f(delete) FROM t"),
    ("bigquery", "SELECT WITH(update AS 1, delete AS 2, update + delete)"),
    ("mysql", "SELECT JSON_TABLE(x COLUMNS), (INSERT('abc', 1, 1, 'x')) FROM t"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "sql"), READING)
def test_texts_and_names_are_no_statement_that_writes(dialect: str, sql: str) -> None:
    # Another dialect may read it too, where Syncer does not know the warehouse's own.
    for one in (dialect, None):
        assert checked(sql, one) == sql


@pytest.mark.parametrize(
    "words", ["DELETE FROM t", "delete t", "INSERT INTO t SELECT 1", "UPDATE t SET a = 1", "MERGE INTO t"]
)
def test_a_statement_that_writes_is_found_where_the_query_cannot_be_parsed(words: str) -> None:
    for sql in (f"WITH x AS ({words} RETURNING id) SELECT a IS NFC NORMALIZED FROM x",
                f"WITH x AS (SELECT a IS NFC NORMALIZED) {words}"):  # fmt: skip
        with pytest.raises(DefinitionError, match="writes: it holds"):
            checked(sql, "postgres")


#: A text of SQL that begins and ends so, in each way to write one, and what may stand before it.
TEXTS = ["'{}'", '"{}"', "`{}`", "$${}$$", "$x${}$x$", "'it''s {}'", "E'{}'", "'''{}'''"]
BEFORE = ["", "-- it's\n", "/* it's */ ", "'a''b', ", "'{{ var('region') }}', ", "{# it's #}", '{{ "it\'s" }}, ']


@pytest.mark.parametrize("text", TEXTS)
def test_a_comment_of_jinja_that_opens_in_a_text_is_an_error(text: str) -> None:
    """Else the conditions between it and its end in a later text would vanish."""
    for before, marks in product(BEFORE, (("{#", "#}"), ("{#-", "-#}"))):
        a, b = map(text.format, marks)

        error = error_of(f"SELECT {before}1 FROM t\nWHERE a = {a} AND paid\nAND b = {b}", variables={"region": "eu"})

        assert error.line == 6 + before.count("\n")
        assert "`{#` in a text" in error.message
        assert "{% raw %}" in error.hint


@pytest.mark.parametrize("sql", ["'{{' || x || '}}'", "'{{'||x AND paid AND b = '}}'", "'{{1}}'", '"{{" || x || "}}"'])
def test_braces_in_texts_that_hold_no_variable_are_an_error(sql: str) -> None:
    error = error_of(f"SELECT 1\nWHERE a = {sql}")

    assert error.line == 6
    assert "{% raw %}" in error.hint


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 {# it's #} AS a -- 'x'", "SELECT 1  AS a -- 'x'"),
        ("SELECT 'a' {# x #}, \"b\" {# it's #}", "SELECT 'a' , \"b\" "),
        (r"SELECT '\\', 1 {# x #}", r"SELECT '\\', 1 "),
        (r"SELECT '\'', 1 {# x #}, '\''", r"SELECT '\'', 1 , '\''"),
        (r"SELECT 'c:\', 1 {# x #}, 'd:\'", r"SELECT 'c:\', 1 , 'd:\'"),
        ("SELECT [it's] {# x #} FROM [who's]", "SELECT [it's]  FROM [who's]"),
        ("SELECT a['x'] {# x #}", "SELECT a['x'] "),
        ("SELECT 1 # it's\n{# x #}, '#'", "SELECT 1 # it's\n, '#'"),
        ("SELECT j #>> '{a}' {# x #}", "SELECT j #>> '{a}' "),
        ("SELECT '''it's''' {# x #}, '''it's'''", "SELECT '''it's''' , '''it's'''"),
        ("SELECT $$it's$$ {# x #}, '$$'", "SELECT $$it's$$ , '$$'"),
        ("-- it's {# x #}\nSELECT 1", "-- it's \nSELECT 1"),
        ("/* it's {# x #} */ SELECT 1", "/* it's  */ SELECT 1"),
        ("SELECT {% if true %}'a{% else %}'b{% endif %}c' {# x #}", "SELECT 'ac' "),
        ("SELECT '{{ 'a' if last_sync_time else 'b' }}'", "SELECT 'b'"),
        ("SELECT '{% if last_sync_time %}a{% else %}b{% endif %}'", "SELECT 'b'"),
        ("SELECT '{% raw %}{#{% endraw %}', '{% raw %}#}{% endraw %}'", "SELECT '{#', '#}'"),
        ("SELECT '{{ var('region') }}' {# x #}", "SELECT 'eu' "),
    ],
)
def test_jinja_elsewhere_is_no_error(sql: str, expected: str) -> None:
    assert rendered(sql, variables={"region": "eu"}) == expected


def test_braces_of_sql_are_written_as_the_message_says() -> None:
    assert rendered("SELECT {% raw %}'{{1,2},{3,4}}'{% endraw %}::int[]") == "SELECT '{{1,2},{3,4}}'::int[]"


TWICE = "{% set a = a ~ a %}"


@pytest.mark.parametrize(
    "sql",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(5000) %}{% endfor %}{% for i in range(6000) %}{% endfor %}",
        "{% for i in range(9999) %}" + "x" * 10_000 + "{% endfor %}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% set a = 'x' %}" + TWICE * 60 + "{{ a }}",
        "{% set a = [1] %}" + TWICE.replace("a ~ a", "[a, a]") * 60 + "{{ a | join }}",
        "{% set a = 9999 %}" + TWICE.replace("~", "*") * 60 + "{{ a }}",
        "{% set a = 'x' %}" + TWICE * 19 + "{{ " + "a ~ " * 1500 + "a }}",
        "{% set a = 'x' %}" + TWICE * 19 + "{{ " + "a + " * 200 + "a }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 'x' * 10000000000 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 'x' | center(10000000000) }}",
        "{{ range(100000000000) | join('x') }}",
        "{{ '" + "a" * 9000 + "' | join('" + "b" * 9000 + "') }}",
        "{{ last_sync_time }}" * 11_000,
        "{{" + "[1]," * 225_000 + "1}}",
        "{{1}}" * 180_000,
        "{% if 1 %}{% endif %}" * 40_000,
        "SELECT 1 " + "{##}" * 225_000,
        "{{ range(9999) | sort | join | length }}" * 400,
        "{% for i in range(9999) %}{{ range(9999) | sort | length }}{% endfor %}",
        "{% set a = '" + "ab" * 400_000 + "' %}" + "{% if a | sort %}{% endif %}" * 100,
        "{% set a = '"
        + "a" * 1000
        + "b' %}{% set b = '"
        + "a" * 800_000
        + "' %}"
        + "{% if a in b %}{% endif %}" * 1000,
    ],
)
def test_a_template_that_would_work_for_ever_is_stopped(sql: str) -> None:
    started = time.thread_time()

    error = error_of(sql)

    # The limit is in seconds of a clock; of the processor it may only get a part.
    assert time.thread_time() - started < 4
    assert error.line == FIRST_LINE


def test_an_error_never_shows_a_value_of_the_environment() -> None:
    environment = {"TOKEN": "s3cret"}
    queries = [
        "{{ env_var('TOKEN') + 1 }}",
        "{{ {'a': 1}[env_var('TOKEN')] }}",
        "{{ env_var('TOKEN') | join(3) }}",
    ]
    errors = [error_of(sql, environment=environment) for sql in queries]
    first = "{{ env_var('TOKEN') }} FROM t"
    with pytest.raises(DefinitionError) as caught:
        query.check(definition_of(first), rendered(first, environment=environment), "postgres")

    for error in [*errors, caught.value]:
        assert "s3cret" not in f"{error} {error.hint} {error.__cause__}"


def test_a_variable_that_is_not_text_is_refused_without_showing_it() -> None:
    error = error_of(
        "SELECT '{{ env_var(\"X\") }}' AS id", environment={"X": b"canary \xff".decode(errors="surrogateescape")}
    )

    assert error.message == "a variable of the query contains bytes that are not UTF-8"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("SELECT 1 ; ;; -- end", "SELECT 1"),
        ("SELECT ';' -- ; one\n, 2 /* ; */ ;\n/* end */", "SELECT ';' -- ; one\n, 2"),
        ("SELECT $$a;b$$, \"c;d\", E'it\\'s;'", "SELECT $$a;b$$, \"c;d\", E'it\\'s;'"),
        ("\ufeffSELECT 'é'", "SELECT 'é'"),
        ("-- first\nSELECT 1", "-- first\nSELECT 1"),
    ],
)
def test_one_statement_is_left_whatever_stands_around_it(sql: str, expected: str) -> None:
    assert query.check(definition_of("SELECT 1"), sql, "postgres") == expected


QUERIES = [
    ("duckdb", "SELECT 1"),
    ("duckdb", "WITH a AS (SELECT 1) SELECT * FROM a"),
    ("duckdb", "WITH a AS (SELECT 1) FROM a"),
    ("duckdb", "WITH a AS (SELECT 1) VALUES (1)"),
    ("duckdb", "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1"),
    ("duckdb", "VALUES (1, 2)"),
    ("duckdb", "TABLE t"),
    ("duckdb", "FROM t"),
    ("duckdb", "FROM t SELECT a"),
    ("duckdb", "PIVOT t ON y USING sum(x)"),
    ("duckdb", "PIVOT t ON y USING sum(x) GROUP BY a ORDER BY a LIMIT 3"),
    ("duckdb", "(PIVOT t ON y USING sum(x))"),
    ("duckdb", "WITH p AS (FROM t) PIVOT p ON y USING sum(x)"),
    ("duckdb", "UNPIVOT t ON a, y INTO NAME n VALUE v"),
    ("duckdb", "SELECT 1 AS delete, 'DELETE FROM t' AS x"),
    ("duckdb", "SELECT " + "(" * 300 + "1" + ")" * 300),
    ("postgres", "SELECT DISTINCT ON (a) a FROM t"),
    ("postgres", "SELECT a FROM t WHERE b @? '$.x' AND c ?| array['d']"),
    ("mysql", "SELECT `a;b` FROM t WHERE c = 'it\\'s'"),
    ("bigquery", "SELECT '''a;b''' FROM `p.d.t`"),
    ("snowflake", "SELECT $1 FROM t QUALIFY row_number() OVER (ORDER BY a) = 1"),
    ("made_up", "SELECT a FROM t"),
    (None, "SELECT some NEW syntax OF a WAREHOUSE (1)"),
]


@pytest.mark.parametrize(("dialect", "sql"), QUERIES)
def test_a_query_passes(dialect: str | None, sql: str) -> None:
    assert query.check(definition_of("SELECT 1"), sql, dialect) == sql


@pytest.mark.parametrize("sql", [sql for dialect, sql in QUERIES if dialect == "duckdb"])
def test_the_queries_that_pass_are_queries_for_duckdb(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (a INTEGER, x INTEGER, y INTEGER)")

        connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("dialect", "sql", "message"),
    [
        ("postgres", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "writes: it holds DELETE"),
        ("postgres", "WITH x AS (UPDATE t SET a = 1 RETURNING *) TABLE x", "writes: it holds UPDATE"),
        ("postgres", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "writes: it holds INSERT"),
        ("postgres", "WITH x AS (SELEC 1 2 3) DELETE FROM t", "writes: it holds DELETE"),
        ("postgres", "SELECT * INTO a FROM b", "SELECT INTO"),
        ("mysql", "SELECT 1 INTO OUTFILE '/tmp/x'", "INTO OUTFILE"),
        ("postgres", "SELECT * FROM t FOR UPDATE", "locks rows"),
        ("postgres", "SELECT * FROM t FOR SHARE", "locks rows"),
        ("postgres", "(1)", "is not a SELECT"),
        ("postgres", "SELECT 'a", "not closed"),
        *[
            ("postgres", sql, f"does not begin with `{sql.split()[0]}`")
            for sql in (
                "DELETE FROM t", "INSERT INTO t VALUES (1)", "CREATE TABLE t (a int)", "DROP TABLE t", "COPY t TO '/x'",
                "CALL f()", "DO $$ begin end $$", "EXPLAIN ANALYZE DELETE FROM t", "TRUNCATE t", "SET x = 1", "BEGIN",
                "LOCK TABLE t", "GRANT SELECT ON t TO u", "VACUUM", "REFRESH MATERIALIZED VIEW v", "EXECUTE p",
            )
        ],
        *[
            ("duckdb", sql, f"does not begin with `{sql.split()[0]}`")
            for sql in ("PRAGMA database_list", "ATTACH 'x'", "INSTALL httpfs", "LOAD httpfs", "EXPORT DATABASE 'x'",
                        "CHECKPOINT", "USE x", "DESCRIBE t", "SHOW TABLES")
        ],
    ],
)  # fmt: skip
def test_a_statement_that_is_no_query_is_refused(dialect: str, sql: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        checked(sql, dialect)

    assert message in caught.value.message
    assert caught.value.line == FIRST_LINE


def test_a_second_statement_is_refused_at_its_line() -> None:
    with pytest.raises(DefinitionError, match="second statement") as caught:
        checked("SELECT ';' -- ;\n/* ; */;\n\nDELETE FROM t", "postgres")

    assert caught.value.line == 8


@pytest.mark.parametrize(
    "words",
    ["DELETE FROM t", "DELETE t", "INSERT t VALUES (1)", "UPDATE t SET a = 1", "MERGE INTO t USING u", "DROP TABLE t",
     "TRUNCATE TABLE t", "EXEC p", "execute('DROP TABLE t')", "CREATE TABLE u (a int)", "GRANT SELECT TO u", "COMMIT"],
)  # fmt: skip
def test_a_second_statement_of_sql_server_needs_no_semicolon(words: str) -> None:
    first = re.split(r"\W", words)[0]
    for before in ("SELECT 1", "SELECT 1 a", "SELECT a FROM t", "WITH x AS (SELECT 1 a) SELECT a FROM x"):
        with pytest.raises(DefinitionError, match=f"`{first}` begins a second statement") as caught:
            checked(f"{before}\n{words}", "tsql")

        assert caught.value.line == FIRST_LINE + 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t INNER MERGE JOIN u ON t.a = u.a OPTION (MERGE UNION, MERGE JOIN)",
        "SELECT [delete], \"drop\", 'EXEC p', @insert, t.[update] FROM #drop AS t -- DELETE",
        "SELECT deleted, updated, create_date FROM t WHERE a IN ('delete')",
    ],
)
def test_names_and_hints_of_sql_server_are_no_second_statement(sql: str) -> None:
    assert checked(sql, "tsql") == sql.removesuffix(" -- DELETE")


def test_a_query_that_renders_to_nothing_is_refused() -> None:
    sql = "{% if last_sync_time %}SELECT 1{% endif %} -- nothing"

    with pytest.raises(DefinitionError, match="the query is empty"):
        query.check(definition_of(sql), rendered(sql), None)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ('SELECT a, b AS c, t.d, sum(e) AS "F" FROM t;', ("a", "c", "d", "F")),
        ("WITH x AS (SELECT 1) SELECT a FROM x UNION SELECT b FROM x", ("a",)),
        ("SELECT * FROM t", None),
        ("SELECT t.* FROM t", None),
        ("SELECT a, count(*) FROM t", None),
        ("FROM t", None),
        ("VALUES (1)", None),
        ("SELECT 'a", None),
        ("DELETE FROM t", None),
        ("SELECT " + "(" * 300 + "1" + ")" * 300, None),
    ],
)
def test_a_query_s_columns_are_read_where_all_have_names(sql: str, columns: tuple[str, ...] | None) -> None:
    assert query.output_columns(sql) == columns


@given(st.text(max_size=60), st.sampled_from(["postgres", "duckdb", "mysql", "bigquery", None]))
def test_no_text_makes_the_check_raise_anything_else(sql: str, dialect: str | None) -> None:
    try:
        statement = query.check(definition_of("SELECT 1"), f"SELECT {sql}", dialect)
    except DefinitionError:
        return
    assert f"SELECT {sql}".startswith(statement)


JINJA = st.sampled_from(
    [
        "{{", "}}", "{%", "%}", "{#", "#}", "if ", "endif", "for x in ", "endfor", "set x = ", "x", "range(9)", "\n",
        "var('x')", "last_sync_time", "'a'", "1", "+", "*", "~", "|", "join", "[", "]", "(", ")", ".", ",", "loop.last",
        "raw",
    ]
)  # fmt: skip


@given(st.lists(JINJA, max_size=20).map(" ".join))
def test_no_template_raises_anything_but_a_definition_error(sql: str) -> None:
    file = definition_file.parse(PATH, f"/* sync\nentity: person\nperson: {{id: a}}\n*/\nSELECT {sql}".encode())
    if file.definition is None:
        assert all(FIRST_LINE <= error.line <= FIRST_LINE + sql.count("\n") for error in file.errors)
        return
    with contextlib.suppress(DefinitionError):
        query.render(file.definition, last_sync_time=1, variables={}, environment=QueryVariables)


def test_a_plain_query_needs_neither_jinja_nor_sqlglot_to_be_read() -> None:
    program = (
        "import sys; from pathlib import Path; from syncer.definitions import file as definition_file\n"
        "file = definition_file.parse(Path('a.sql'), b'/* sync\\nentity: person\\nperson: {id: a}\\n*/\\nSELECT a')\n"
        "assert file.definition and not {'jinja2', 'sqlglot'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT 1\nWHERE a > {{ last_sync_time }}", 2),
        ("SELECT 1 -- WHERE a > {{ last_sync_time }}", None),
        ("SELECT 1 -- it's off\n-- WHERE a > {{ last_sync_time }}\nLIMIT 5", None),
        ("SELECT 1 -- on\nWHERE a > {{ last_sync_time }}", 2),
        ("SELECT 1 /* WHERE a > {{ last_sync_time }} */", None),
        ("SELECT 1 /* off */ WHERE a > {{ last_sync_time }}", 1),
        ("SELECT 1 /*! WHERE a > {{ last_sync_time }} */", 1),
        ("SELECT 1 {# WHERE a > {{ last_sync_time }} #}", None),
        ("SELECT 1\n  # WHERE a > {{ last_sync_time }}", None),
        ("SELECT a\n#>> '{b}' > '{{ last_sync_time }}'", 2),
        ("SELECT '-- ' || '{{ last_sync_time }}'", 1),
        ("SELECT '/*', '{{ last_sync_time }}', '*/'", 1),
        ('SELECT 1 AS "--" WHERE a > {{ last_sync_time }}', 1),
        (r"SELECT 'it\'s -- ' || '{{ last_sync_time }}'", 1),
        ("SELECT $$ -- {{ last_sync_time }} $$", 1),
        ("SELECT 1 -- {% if last_sync_time %}\nWHERE a > 0 -- {% endif %}", 1),
        ("SELECT 1 -- {% if last_sync_time %} WHERE a > 0 {% endif %}", None),
        ("/* {% if last_sync_time %} {{ last_sync_time }} {% else %} none {% endif %} */ SELECT 1", None),
        ("SELECT 1 -- {% if var('x') %}{{ last_sync_time }}\n{% endif %} LIMIT {{ last_sync_time }}", 2),
        ("SELECT 1 -- {% set since = last_sync_time - 60 %}\nWHERE a > {{ since }}", 2),
        ("SELECT 1 -- {% set since = last_sync_time %} {{ since }}", None),
        ("-- {% set w = '' %}{% if last_sync_time %}{% set w = 'WHERE a > 0' %}{% endif %}\nSELECT 1\n{{ w }}", 3),
        ("SELECT 1 {% for i in range(last_sync_time) %} + 1 {% endfor %}", 1),
    ],
)
def test_a_use_that_stands_only_in_a_comment_makes_no_query_incremental(sql: str, line: int | None) -> None:
    template = query.template(PATH, sql, 1)

    assert template is not None
    assert template.incremental_line == line
