"""What in a query can fail for the value of some row, where a warehouse does not say, and the query that finds the row.

Only names, functions and types of the query are repeated: a value of a row is in no text here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.model.importing import importing
from syncer.model.select_statement import NotASelectError, SelectStatement, one_select

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

#: A longer expression is shown without its middle.
_LONGEST = 60
#: So many of the expressions that may be to blame are named.
_NAMED = 3
_ROWS = 20

#: What connectors say of an error where the value of a row is to blame.
_PATTERNS = {
    "division": r"division by zero",
    "range": r"out of range",
    "cast": r"conversion error|representation|datetime format|field overflow|be (?:cast|converted)|a text is not"
    r"|SQLSTATE 22|data ?error|refuses the query, or a value|does not fit|\b22\w{3}\b",
}
_TYPE = re.compile(r"cannot be cast to ([A-Za-z][\w ]*(?:\([\d, ]+\))?)")

#: What MySQL takes for a number.
_NUMBER = r"^[[:space:]]*[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?[[:space:]]*$"


class Failing(enum.StrEnum):
    """What a value of a row can make fail."""

    CAST = "cast"
    DIVISION = "division"
    RANGE = "range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An expression of a query that may be to blame."""

    #: As SQL of the query's dialect, shortened.
    expression: str
    #: Of the query, counted from 1.
    line: int
    column: int
    node: Expr = field(repr=False, compare=False)


def failing(message: str) -> Failing | None:
    """What failed, as far as the error of a warehouse says; None if no value is to blame."""
    found = (kind for kind, pattern in _PATTERNS.items() if re.search(pattern, message, re.IGNORECASE))
    return next(map(Failing, found), None)


def suspects(sql: str, dialect: str, message: str, query_line: int | None = None) -> list[Suspect]:
    """The expressions that may be to blame for an error, by their place; none if no value is, or all is unknown.

    Shapes:
        sql: the query as it was sent; positions are in it.
        dialect: sqlglot's name.
        message: of the warehouse, as connectors word it.
        query_line: where the warehouse says so, the line to blame.
    """
    kind = failing(message)
    try:
        statement = one_select(sql, dialect)
    except NotASelectError:
        return []
    if kind is None or statement.tree is None:
        return []
    nodes = [node for node in _nodes(statement.tree, kind) if any(_columns(node))]
    named = _TYPE.search(message)
    nodes = [node for node in nodes if named and _casts_to(node, named[1].strip(), dialect)] or nodes
    found = sorted((_suspect(statement, node, dialect) for node in nodes), key=lambda one: (one.line, one.column))
    return [one for one in found if one.line == query_line] or found


def words(found: Sequence[Suspect], first_line: int) -> str:
    """The expressions in words, with lines counted from *first_line*, the file's of the query."""
    places = [f"`{one.expression}` (line {one.line + first_line - 1}, column {one.column})" for one in found[:_NAMED]]
    if len(found) == 1:
        return f"likely {places[0]}"
    more = f", or {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"likely one of {', '.join(places)}{more}"


def finding(suspect: Suspect, dialect: str, keys: Sequence[str]) -> str | None:
    """A query for the rows of which a value fails; None if none can be written for this expression and dialect.

    Shapes:
        keys: the columns that tell a row from the next, which it returns where it can.
    """
    with importing:
        from sqlglot import exp

    select = suspect.node.find_ancestor(exp.Select)
    operand = _operand(suspect.node)
    if select is None or operand is None or operand.find(exp.AggFunc, exp.Window):
        return None
    condition = _condition(suspect.node, operand, dialect)
    if condition is None:
        return None
    dangerous = {id(node) for kind in Failing for node in _nodes(select, kind)}
    shown = [one.copy() for one in select.selects if one.alias_or_name in keys and not _has_any(one, dangerous)]
    query = exp.select(*shown, exp.alias_(operand.copy(), "value_that_fails"))
    for part in ("from_", "from", "joins", "laterals"):
        if kept := select.args.get(part):
            query.set(part, [one.copy() for one in kept] if isinstance(kept, list) else kept.copy())
    where = select.args.get("where")
    for one in (where.this.flatten() if isinstance(where.this, exp.And) else [where.this]) if where else ():
        if not _has_any(one, dangerous):
            query = query.where(one.copy(), copy=False)
    query = query.where(condition, copy=False).limit(_ROWS, copy=False)
    if tables := _needed_tables(select, query):
        query.set("with_" if "with_" in exp.Select.arg_types else "with", exp.With(expressions=tables))
    return query.sql(dialect=_known(dialect), pretty=True, comments=False)


def _nodes(tree: Expr, kind: Failing) -> Iterator[Expr]:
    with importing:
        from sqlglot import exp

    casts = (exp.Cast, exp.StrToDate, exp.StrToTime, exp.StrToUnix, exp.TsOrDsToDate, exp.ToNumber, exp.ParseJSON)
    classes = {
        Failing.CAST: casts,
        Failing.DIVISION: (exp.Div, exp.IntDiv, exp.Mod),
        Failing.RANGE: (*casts, exp.Mul, exp.Add, exp.Sub, exp.Pow, exp.Sum),
    }[kind]
    found = (node for node in tree.find_all(*classes) if not isinstance(node, exp.TryCast))
    return (node for node in found if node.args.get("safe") is not True)


def _columns(node: Expr) -> Iterator[Expr]:
    with importing:
        from sqlglot import exp

    return node.find_all(exp.Column)


def _casts_to(node: Expr, type_: str, dialect: str) -> bool:
    with importing:
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

    try:
        wanted = exp.DataType.build(type_, dialect=_known(dialect))
    except (SqlglotError, ValueError):
        return False
    return isinstance(node, exp.Cast) and node.to.this == wanted.this


def _suspect(statement: SelectStatement, node: Expr, dialect: str) -> Suspect:
    start = _start(statement, node)
    before = statement.text[:start]
    text = node.sql(dialect=_known(dialect), comments=False)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return Suspect(expression=text, line=before.count("\n") + 1, column=start - (before.rfind("\n") + 1) + 1, node=node)


def _start(statement: SelectStatement, node: Expr) -> int:
    """Where an expression begins in the text: at its first name, or at the CAST before that."""
    names = [node, *(name for column in _columns(node) for name in column.walk())]
    first = min((int(one.meta["start"]) for one in names if "start" in one.meta), default=0)
    tokens = [token for token in statement.tokens if token.start < first]
    while tokens and tokens[-1].text == "(":
        tokens.pop()
    is_cast = bool(tokens) and tokens[-1].text.upper() == "CAST"
    return int(tokens[-1].start) if is_cast else first


def _operand(node: Expr) -> Expr | None:
    with importing:
        from sqlglot import exp

    if isinstance(node, exp.Div | exp.IntDiv | exp.Mod):
        divisor: Expr = node.expression.unnest()
        return divisor
    value: object = node.this
    return value if isinstance(value, exp.Expression) else None


def _condition(node: Expr, operand: Expr, dialect: str) -> Expr | None:
    """What is true of the rows for which a node fails."""
    with importing:
        from sqlglot import exp

    if isinstance(node, exp.Div | exp.IntDiv | exp.Mod):
        return exp.EQ(this=operand.copy(), expression=exp.Literal.number(0))
    is_there = operand.copy().is_(exp.null()).not_()
    if not isinstance(node, exp.Cast):
        return exp.and_(is_there, exp.func("TRY", node.copy()).is_(exp.null())) if dialect == "duckdb" else None
    text = exp.cast(operand.copy(), exp.DataType.Type.TEXT)
    if dialect in ("postgres", "materialize"):
        type_ = exp.Literal.string(node.to.sql(dialect="postgres"))
        return exp.and_(is_there, exp.not_(exp.Anonymous(this="pg_input_is_valid", expressions=[text, type_])))
    if dialect in ("mysql", "mariadb", "doris", "starrocks"):
        return exp.and_(is_there, _condition_in_mysql(node, operand))
    if dialect == "oracle":
        valid = f"VALIDATE_CONVERSION({operand.sql(dialect='oracle')} AS {node.to.sql(dialect='oracle')}) = 0"
        return exp.and_(is_there, exp.Var(this=valid))
    if dialect == "sqlite":
        return None
    is_text = dialect == "snowflake"
    tried = exp.TryCast(this=text if is_text else operand.copy(), to=node.to.copy(), safe=True, requires_string=is_text)
    return exp.and_(is_there, tried.is_(exp.null()))


def _condition_in_mysql(node: Expr, operand: Expr) -> Expr:
    with importing:
        from sqlglot import exp

    name = node.args["to"].this.name
    if name.startswith("JSON"):
        return exp.not_(exp.Anonymous(this="JSON_VALID", expressions=[operand.copy()]))
    if name.startswith(("DATE", "TIME")):
        # MySQL makes NULL of what is no date.
        return node.copy().is_(exp.null())
    return exp.Var(this=f"({operand.sql(dialect='mysql')}) NOT REGEXP '{_NUMBER}'")


def _has_any(tree: Expr, nodes: set[int]) -> bool:
    return any(id(node) in nodes for node in tree.walk())


def _needed_tables(select: Expr, query: Expr) -> list[Expr]:
    """The tables of WITH around *select* that *query* reads, and those that they read, in their order."""
    with importing:
        from sqlglot import exp

    found = [cte for with_ in select.root().find_all(exp.With) for cte in with_.expressions]
    own = select.find_ancestor(exp.CTE)
    if own is not None:
        found = found[: next(place for place, cte in enumerate(found) if cte is own)]
    needed = {table.name for table in query.find_all(exp.Table)}
    kept: list[Expr] = []
    for cte in reversed(found):
        if cte.alias in needed:
            kept.insert(0, cte.copy())
            needed |= {table.name for table in cte.find_all(exp.Table)}
    return kept


def _known(dialect: str) -> str | None:
    with importing:
        from sqlglot.dialects.dialect import Dialect

        return dialect if Dialect.get(dialect) else None
