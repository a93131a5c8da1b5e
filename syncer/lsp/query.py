"""What a query reads, as far as a text shows it that somebody is still writing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, takewhile

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token

from syncer.lsp.tables import TableColumn, Tables
from syncer.model.select_statement import dialect_of
from syncer.queries.query import output_columns

#: Tokens after which a comma no longer leads to a table.
_CLAUSES = {
    "SELECT", "ON", "USING", "WHERE", "GROUP_BY", "HAVING", "QUALIFY", "WINDOW", "ORDER_BY", "LIMIT", "UNION", "EXCEPT",
    "INTERSECT",
}  # fmt: skip
_FIRST = {"SELECT", "WITH", "FROM", "L_PAREN"}
_NAMES = {"VAR", "IDENTIFIER"}
_NO_NAMES = {"STRING", "NATIONAL_STRING", "RAW_STRING", "HEREDOC_STRING", "NUMBER"}

#: What opens text that is no SQL, and what closes it.
_OUTSIDE = {"/*": "*/", "{{": "}}", "{%": "%}"}
#: Queries in queries that are looked into for columns.
_DEPTH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a FROM or JOIN names: a table, or a query in brackets."""

    #: Empty for a query in brackets.
    table: tuple[str, ...]
    #: The SQL in the brackets.
    body: str
    alias: str
    #: The part of the text in which its columns have a meaning.
    start: int
    end: int

    @property
    def name(self) -> str:
        """How a query names its columns' table; empty if it cannot."""
        return self.alias or (self.table[-1] if self.table else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftQuery:
    """A query that may end anywhere; places are characters of its text."""

    sql: str
    dialect: str
    tokens: tuple[Token, ...]
    #: The name of each WITH to its SQL.
    named: Mapping[str, str]
    sources: tuple[Source, ...]

    def sources_at(self, offset: int) -> list[Source]:
        """Whose columns a place can name, those of the innermost query first."""
        found = [source for source in self.sources if source.start <= offset <= source.end]
        return sorted(found, key=lambda source: source.end - source.start)

    def columns_of(self, source: Source, tables: Tables, depth: int = _DEPTH) -> tuple[TableColumn, ...]:
        """The columns of a source; none if they are not known."""
        body = source.body or (self.named.get(source.table[0].casefold(), "") if len(source.table) == 1 else "")
        if body:
            return self._columns_of_query(body, tables, depth)
        table = tables.find(source.table) if source.table else None
        return table.columns if table else ()

    def result_columns(self, tables: Tables) -> tuple[TableColumn, ...]:
        """The columns of the whole query's result; none if they are not known."""
        return self._columns_of_query(self.sql, tables, _DEPTH)

    def _columns_of_query(self, sql: str, tables: Tables, depth: int) -> tuple[TableColumn, ...]:
        names = output_columns(sql)
        if names is not None:
            return tuple(TableColumn(name=name) for name in names)
        if not depth:
            return ()
        inner = draft_query(sql, self.dialect)
        inner = replace(inner, named={**self.named, **inner.named})
        whole = [source for source in inner.sources if source.start == 0 and source.end == len(sql)]
        return tuple(column for source in whole for column in inner.columns_of(source, tables, depth - 1))

    def name_at(self, offset: int) -> tuple[str, ...]:
        """The name around a place with what is before its dots, without quotes; empty if there is none."""
        at = next((i for i, one in enumerate(self.tokens) if one.start <= offset <= one.end and _is_name(one)), None)
        if at is None:
            return ()
        first = at
        while first >= 2 and self.tokens[first - 1].token_type.name == "DOT" and _is_name(self.tokens[first - 2]):
            first -= 2
        return tuple(part for token in self.tokens[first : at + 1 : 2] for part in _parts(token))

    def expects_table(self, offset: int) -> bool:
        """Whether a name that begins at a place is a table's."""
        before = list(takewhile(lambda token: token.end < offset, self.tokens))
        if not before:
            return False
        if before[-1].token_type.name in ("FROM", "JOIN"):
            return _opens_table(before)
        if before[-1].token_type.name != "COMMA":
            return False
        depth = 0
        for token in reversed(before[:-1]):
            kind = token.token_type.name
            depth += (kind == "R_PAREN") - (kind == "L_PAREN")
            if depth < 0 or (depth == 0 and kind in _CLAUSES):
                return False
            if depth == 0 and kind == "FROM":
                return True
        return False

    def is_text(self, offset: int) -> bool:
        """Whether a place is inside of a text, a number, a comment or a mark of Jinja."""
        if any(one.token_type.name in _NO_NAMES and one.start < offset <= one.end for one in self.tokens):
            return True
        before = self.sql[:offset]
        line = re.sub(r"'[^']*'|\"[^\"]*\"", "", before.rpartition("\n")[2])
        if "--" in line or "'" in line:
            return True
        return any(before.rfind(start) > before.rfind(end) for start, end in _OUTSIDE.items())


@lru_cache(maxsize=64)
def draft_query(sql: str, dialect: str) -> DraftQuery:
    """What can be seen in *sql*, whether it is whole or not."""
    reader = dialect_of(dialect)
    try:
        tokens = tuple(reader.tokenize(sql))
    except TokenError:
        # A quote that is not closed yet.
        try:
            tokens = tuple(reader.tokenize(re.sub(r"[\"'`$]|/(?=\*)", " ", sql)))
        except TokenError:
            tokens = ()
    closing = _closing(tokens)
    return DraftQuery(
        sql=sql,
        dialect=dialect,
        tokens=tokens,
        named=dict(_named(sql, tokens, closing)),
        sources=tuple(_sources(sql, tokens, closing)),
    )


def _opens_table(before: Sequence[Token]) -> bool:
    """Whether the FROM at the end is one of a query, and not of a function such as `extract(year FROM …)`."""
    depth = 0
    for token in reversed(before[:-1]):
        kind = token.token_type.name
        depth += (kind == "R_PAREN") - (kind == "L_PAREN")
        if depth < 0:
            return False
        if depth == 0 and kind in ("SELECT", "FROM"):
            return True
    return True


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    """Each bracket that opens to the one that closes it, as places among *tokens*; the end if none does."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.token_type.name == "L_PAREN":
            opened.append(index)
        elif token.token_type.name == "R_PAREN" and opened:
            found[opened.pop()] = index
    return {**dict.fromkeys(opened, len(tokens)), **found}


def _body(sql: str, tokens: Sequence[Token], opening: int, closing: Mapping[int, int]) -> str:
    start, end = _bracket(sql, tokens, opening, closing)
    return sql[start:end]


def _named(sql: str, tokens: Sequence[Token], closing: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    """The name of each WITH, in lower case, and its SQL."""
    for index, token in enumerate(tokens[:-2]):
        after = index + 1
        if token.token_type.name in _NAMES and after in closing:
            after = closing[after] + 1
        kinds = [one.token_type.name for one in tokens[after : after + 3]]
        if (
            token.token_type.name in _NAMES
            and kinds[:2] == ["ALIAS", "L_PAREN"]
            and kinds[2:3] in ([k] for k in _FIRST)
        ):
            yield token.text.casefold(), _body(sql, tokens, after + 1, closing)


def _sources(sql: str, tokens: Sequence[Token], closing: Mapping[int, int]) -> Iterator[Source]:
    opened: list[int] = []
    in_from: dict[int, bool] = {}
    for index, token in enumerate(tokens):
        kind = token.token_type.name
        if kind == "L_PAREN":
            opened.append(index)
        elif kind == "R_PAREN" and opened:
            in_from.pop(len(opened), None)
            opened.pop()
        elif kind in _CLAUSES:
            in_from[len(opened)] = False
        if kind in ("FROM", "JOIN"):
            in_from[len(opened)] = not opened or tokens[opened[-1] + 1].token_type.name in _FIRST
        if kind in ("FROM", "JOIN", "COMMA") and in_from.get(len(opened)):
            start, end = _bracket(sql, tokens, opened[-1], closing) if opened else (0, len(sql))
            yield from _source(sql, tokens, index + 1, closing, start, end)


def _bracket(sql: str, tokens: Sequence[Token], opening: int, closing: Mapping[int, int]) -> tuple[int, int]:
    end = closing[opening]
    return tokens[opening].end + 1, tokens[end].start if end < len(tokens) else len(sql)


def _source(
    sql: str, tokens: Sequence[Token], index: int, closing: Mapping[int, int], start: int, end: int
) -> Iterator[Source]:
    """The source whose first token is at *index*, if it is one."""
    if index >= len(tokens):
        return
    body, table = "", tuple[str, ...]()
    if index in closing:
        after = closing[index] + 1
        body = _body(sql, tokens, index, closing)
    elif _is_name(tokens[index]) and tokens[index].token_type.name not in _CLAUSES:
        dots = takewhile(lambda at: at < len(tokens) and tokens[at].token_type.name == "DOT", count(index + 1, 2))
        after = index + 1 + 2 * len(list(dots))
        table = tuple(part for token in tokens[index:after:2] for part in _parts(token))
        if after in closing:
            # A function that returns a table.
            return
    else:
        return
    if after < len(tokens) and tokens[after].token_type.name == "ALIAS":
        after += 1
        has_alias = after < len(tokens) and _is_name(tokens[after])
    else:
        has_alias = after < len(tokens) and tokens[after].token_type.name in _NAMES
    yield Source(table=table, body=body, alias=tokens[after].text if has_alias else "", start=start, end=end)


def _is_name(token: Token) -> bool:
    kind = token.token_type.name
    return kind in _NAMES or (kind not in _NO_NAMES and re.fullmatch(r"\w+", token.text) is not None)


def _parts(token: Token) -> Sequence[str]:
    """The parts of a name; BigQuery writes several in one pair of quotes."""
    return token.text.split(".") if token.token_type.name == "IDENTIFIER" and "." in token.text else (token.text,)
