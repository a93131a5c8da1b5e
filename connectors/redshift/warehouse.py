"""Amazon Redshift as a warehouse, over PostgreSQL's protocol; large results may go by UNLOAD and S3.

Redshift is not PostgreSQL. What our own statements use, and where it is documented, read 2026-11-24, below
https://docs.aws.amazon.com/redshift/latest/dg/:

    BEGIN READ ONLY                                             r_BEGIN
    SET, SET LOCAL                                              r_SET
    timezone, datestyle, extra_float_digits, statement_timeout,
    query_group                                                 cm_chap_ConfigurationRef
    GETDATE                                                     r_GETDATE
    UNLOAD                                                      r_UNLOAD
    pg_last_unload_count                                        PG_LAST_UNLOAD_COUNT
    version()                                                   r_VERSION
    has_table_privilege, has_schema_privilege                   r_HAS_TABLE_PRIVILEGE, r_HAS_SCHEMA_PRIVILEGE
    pg_user, pg_class, pg_namespace                             c_intro_catalog_views

There is no COPY TO STDOUT and no savepoint, and a cursor's result would lie whole on the leader node.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg

from connectors.postgresql.protocol import ProtocolWarehouse, Server
from connectors.redshift.options import RedshiftOptions
from connectors.redshift.unload import Unload
from connectors.redshift.values import UNLOADABLE, RowParser, exactly_selected
from connectors.support.warehouse import DESCRIBE_TIMEOUT, probe_of, quote_literal, rows_at_once
from syncer.model.errors import WarehouseError
from syncer.model.types import Probe

#: Rows of a part: small enough that Python's values of one part stay in the processor's cache.
_PART_ROWS = 5_000

_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""
_POWERS = f"""
SELECT 'is a superuser' FROM pg_user WHERE usename = current_user AND usesuper
UNION ALL
SELECT 'may change ' || min(name) FROM ({_TABLES}) AS t
WHERE has_table_privilege(name, 'INSERT') OR has_table_privilege(name, 'UPDATE') OR has_table_privilege(name, 'DELETE')
HAVING count(*) > 0
UNION ALL
SELECT 'may create tables in the schema ' || min(nspname) FROM pg_namespace
WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND has_schema_privilege(nspname, 'CREATE')
HAVING count(*) > 0
LIMIT 1
"""


class RedshiftWarehouse(ProtocolWarehouse):
    """A Redshift database, read in READ ONLY transactions. The extended protocol takes no second statement.

    A date or time outside the years 1 to 9999 is Arrow's largest or smallest value.
    """

    _settings = """
        SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD'; SET LOCAL extra_float_digits TO 2;
        SET LOCAL statement_timeout TO {milliseconds}
    """
    _clock = "GETDATE()"

    def __init__(self, name: str, url: str, *, options: RedshiftOptions, sync: str = "") -> None:
        super().__init__(name, re.sub(r"^redshift(\+\w+)?:", "postgresql:", url), dialect="redshift")
        self._options = options
        # Redshift has no DEALLOCATE ALL, which psycopg sends where it has prepared statements of its own.
        self._connection.prepare_threshold = None
        self._name_queries(sync)
        self._connection.read_only = True

    def probe(self) -> Probe:
        """See `Probing`. A role can write if it could change or make any table."""
        with self._transaction(DESCRIBE_TIMEOUT):
            ((version,),) = self._connection.execute("SELECT version()").fetchall()
            power = self._power(_POWERS)
        product = re.search(r"Redshift [\d.]+", version) or re.match(r"\S+ [\d.]+", version)
        return probe_of(product[0] if product else version, power)

    def _read(self, sql: str, timeout: timedelta) -> Generator[Any]:
        """The schema, then batches."""
        statement = self._select_statement(sql).text
        with self._transaction(timeout) as server:
            parser = RowParser(self._described(server, statement), self._connection)
            yield parser.schema
            if not self._goes_by_unload(parser):
                size = rows_at_once(_PART_ROWS, len(parser.schema))
                for part in server.rows(exactly_selected(statement, parser.oids).encode(), size=size):
                    yield parser.parse(part)
                return
        yield from self._unloaded(statement, parser, timeout)

    def _unloaded(self, statement: str, parser: RowParser, timeout: timedelta) -> Generator[Any]:
        """Batches by way of S3; deletes every file there."""
        unload = Unload(self._label, self._options, parser.schema, oids=parser.oids)
        # Only the text in UNLOAD's quotes is from outside, and the cluster refuses it unless it is a SELECT.
        self._connection.read_only = False
        try:
            with self._transaction(timeout) as server:
                server.ask(self._connection.pgconn.send_query_params, unload.statement(statement).encode(), None)
                yield from unload.batches(count=self._unload_count)
        except BaseException:
            with suppress(WarehouseError):  # The first error is the one to report.
                unload.delete()
            raise
        finally:
            if not self._connection.closed:
                self._connection.read_only = True
        unload.delete()

    def _unload_count(self) -> int:
        """The rows of this session's last UNLOAD."""
        ((count,),) = self._connection.execute("SELECT pg_last_unload_count()").fetchall()
        return int(count)

    def _describe(self, server: Server, sql: str) -> RowParser:
        return RowParser(self._described(server, self._select_statement(sql).text), self._connection)

    def _goes_by_unload(self, parser: RowParser) -> bool:
        has_bucket = self._options.unload_to is not None and self._options.unload_role is not None
        folded = {name.casefold() for name in parser.names}
        return has_bucket and len(folded) == len(parser.names) and UNLOADABLE.issuperset(parser.oids)

    def _name_queries(self, sync: str) -> None:
        """Show the sync in Redshift's own lists of queries."""
        group = "syncer" + (f": {sync}" if sync else "")
        self._connection.autocommit = True
        # PostgreSQL, which tests use, has no such setting.
        with suppress(psycopg.errors.UndefinedObject):
            self._connection.execute(query_group(group))
        self._connection.autocommit = False


def query_group(name: str) -> str:
    """The statement that puts a session's queries under *name*."""
    return "SET query_group TO " + quote_literal(name.replace("\\", "\\\\"))
