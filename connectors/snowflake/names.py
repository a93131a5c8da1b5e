"""Names that Snowflake folded to upper case, told apart as SQLAlchemy's dialects do."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine.default import DefaultDialect

#: Words that are a column's name only in quotes: https://docs.snowflake.com/en/sql-reference/reserved-keywords
_RESERVED = """
    all alter and any as between by check column connect copy create current delete distinct drop else exists for from
    grant group having in increment insert intersect into is like minus not null of on or order qualify regexp revoke
    rlike row rows sample select set some start table tablesample then to trigger union unique update values when
    whenever where with
"""


_dialect = DefaultDialect()
_dialect.identifier_preparer.reserved_words = {*_RESERVED.split()}


def lowered(name: str) -> str:
    """*name* in lower case if Snowflake folded it, which it does unless the query quotes it; else as it is."""
    normalize: Callable[[str], str] = _dialect.normalize_name
    return str(normalize(name))
