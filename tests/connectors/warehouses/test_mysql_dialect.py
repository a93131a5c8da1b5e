"""What MySQL and MariaDB are asked to run, and what they are not."""

from __future__ import annotations

import pytest

from connectors.mysql.dialect import one_select
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import NotASelectError
from tests.connectors.warehouses.reading import opened, rows
from tests.servers.mariadb import MariaDBServer


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '{}'",
        "SELECT 1 INTO DUMPFILE '{}'",
        "SELECT 1.5INTO OUTFILE '{}'",
        r"SELECT \NINTO OUTFILE '{}'",
        "SELECT 1 /**/INTO/**/OUTFILE '{}'",
        "SELECT 1 -- comment\nINTO OUTFILE '{}'",
        "SELECT 1 --\u00a0INTO OUTFILE '{}'",
        r"SELECT '\\' INTO OUTFILE '{}' -- '",
        "SELECT 1 /*!50000 INTO OUTFILE '{}' */",
        "SELECT 1 /*M!100000 INTO OUTFILE '{}' */",
        "SELECT SQL_NO_CACHE 1 into outfile '{}'",
        "(SELECT 1) INTO OUTFILE '{}'",
        "SELECT 1 UNION SELECT 2 INTO OUTFILE '{}'",
        "SELECT * FROM (SELECT 1 INTO OUTFILE '{}') AS q",
    ],
)
def test_a_file_on_the_server_is_not_written(mariadb: MariaDBServer, mariadb_url: str, sql: str) -> None:
    path = mariadb.folder / "written"
    mariadb.execute(f"SELECT 1 INTO OUTFILE '{path}'")
    assert path.exists(), "else this proves nothing"
    path.unlink()
    with opened(mariadb_url) as warehouse:
        for ask in (warehouse.columns, lambda text: rows(warehouse, text)):
            with pytest.raises(WarehouseError):
                ask(sql.format(path))

    assert not path.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM people FOR UPDATE",
        "SELECT * FROM people LOCK IN SHARE MODE",
        "SELECT * FROM (SELECT * FROM people FOR UPDATE) AS q",
        "CALL read_people()",
        "SHOW TABLES",
        "DESCRIBE people",
        "ANALYZE SELECT 1",
        "SET @a = 1",
        "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
        "SELECT id FROM people WHERE id = ?",
        "SELECT 1 INTO @a",
        "SELECT 1 PROCEDURE ANALYSE()",
        "SELECT 'never closed",
        "SELECT 1 /* never closed",
        "SELECT 1 AS a\0",
        "SELECT '\udcff' AS a",
    ],
)
def test_what_else_is_not_one_select_is_refused(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str, sql: str
) -> None:
    mariadb.execute("CREATE TABLE people (id int)", mariadb_database)
    mariadb.execute("CREATE PROCEDURE read_people() SELECT * FROM people", mariadb_database)
    with opened(mariadb_url) as warehouse, pytest.raises(WarehouseError):
        warehouse.columns(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SQL_NO_CACHE 1 AS a",
        "SELECT 1 AS a FROM people USE INDEX FOR ORDER BY (PRIMARY)",
        "SELECT 1 AS a, substring('abc' FROM 1 FOR 2) AS b, 'INTO; it''s' AS c, \"FOR UPDATE\" AS d",
        "WITH a AS (SELECT 1 AS x) SELECT x AS a, x AS a FROM a",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 1) SELECT a FROM r",
        "(SELECT 1 AS a) UNION (SELECT 1) ORDER BY 1 LIMIT 1 -- the end",
        "SELECT 1 AS a # ; the end",
        "SELECT '\\'; INTO' AS a",
    ],
)
def test_what_looks_like_more_than_a_select_is_read(
    mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str, sql: str
) -> None:
    mariadb.execute("CREATE TABLE people AS SELECT 1 AS id", mariadb_database)
    mariadb.execute("ALTER TABLE people ADD PRIMARY KEY (id)", mariadb_database)
    with opened(mariadb_url) as warehouse:
        assert len(rows(warehouse, sql)) == 1


@pytest.mark.parametrize(
    ("sql_mode", "sql"),
    [
        ("NO_BACKSLASH_ESCAPES", r"SELECT '\' INTO OUTFILE 'x' -- '"),
        ("ANSI_QUOTES,STRICT_TRANS_TABLES", r'SELECT 1 AS "\" INTO OUTFILE "x" -- "'),
        ("", r"SELECT '\\' INTO OUTFILE 'x' -- '"),
        ("", r"SELECT `\` INTO OUTFILE 'x' -- `"),
        ("", "SELECT x'41'INTO OUTFILE 'x'"),
        ("", "SELECT 1e5INTO OUTFILE 'x'"),
        ("", "SELECT 1 FROM t WHERE a = 5FOR UPDATE"),
    ],
)
def test_what_a_quote_hides_depends_on_the_servers_mode(sql_mode: str, sql: str) -> None:
    with pytest.raises(NotASelectError, match=r"INTO|locks"):
        one_select(sql, sql_mode=sql_mode)


@pytest.mark.parametrize(
    ("sql_mode", "sql"),
    [
        ("", r"SELECT '\' INTO' AS a"),
        ("", r'SELECT "\" INTO" AS a'),
        ("NO_BACKSLASH_ESCAPES", r"SELECT '\', 'INTO'"),
        ("", "SELECT 1 AS `INTO` /* INTO */ -- INTO\n# INTO\n, 2 AS intone"),
    ],
)
def test_what_a_quote_or_comment_hides_is_no_word(sql_mode: str, sql: str) -> None:
    assert one_select(sql, sql_mode=sql_mode).text == sql


def test_writing_by_a_function_is_refused(mariadb: MariaDBServer, mariadb_database: str, mariadb_url: str) -> None:
    mariadb.execute("CREATE TABLE people (id int)", mariadb_database)
    mariadb.execute("CREATE TABLE others (id int) ENGINE = MyISAM", mariadb_database)
    mariadb.execute("CREATE SEQUENCE numbers", mariadb_database)
    for table in ("people", "others"):
        mariadb.execute(
            f"CREATE FUNCTION sneak_{table}() RETURNS int BEGIN INSERT INTO {table} VALUES (1); RETURN 1; END",
            mariadb_database,
        )
    with opened(mariadb_url) as warehouse:
        for call in ("sneak_people()", "sneak_others()", "nextval(numbers)", "setval(numbers, 9)"):
            with pytest.raises(WarehouseError, match="READ ONLY"):
                rows(warehouse, f"SELECT {call}")

    counted = "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM others), (SELECT nextval(numbers))"
    assert mariadb.execute(counted, mariadb_database) == [(0, 0, 1)]
