"""GoogleSQL as DuckDB takes it, and the mistakes in it as BigQuery tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import TokenType

#: What DuckDB lacks. A type that it lacks is a STRUCT with one field, whose name begins with `$`.
MACROS = """
CREATE MACRO float64_(t) AS CAST(t AS DOUBLE);
CREATE MACRO bignumeric_(t) AS {'$BIGNUMERIC': CAST(t AS VARCHAR)};
CREATE MACRO range_date_(t) AS {'$RANGE_DATE': t};
CREATE MACRO range_timestamp_(t) AS {'$RANGE_TIMESTAMP': t};
CREATE MACRO st_geogfromtext(t) AS {'$GEOGRAPHY': t};
CREATE MACRO timestamp_seconds(s) AS to_timestamp(s);
"""

_STATEMENTS = {
    exp.Insert: "INSERT",
    exp.Update: "UPDATE",
    exp.Delete: "DELETE",
    exp.Merge: "MERGE",
    exp.Drop: "DROP_TABLE",
    exp.Create: "CREATE_TABLE_AS_SELECT",
}
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)


class Refused(Exception):  # noqa: N818 - it is an answer
    """An error as BigQuery words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A query that was understood."""

    kind: str
    #: Statements of DuckDB.
    sql: list[str]
    #: Project, dataset and name.
    tables: list[tuple[str, str, str]]


def understand(text: str, project: str, dataset: str) -> Statement:
    """The statement, or a Refused."""
    trees = _parsed(text)
    tables: list[tuple[str, str, str]] = []
    for tree in trees:
        for cte in tree.find_all(exp.CTE):
            if isinstance(cte.this, _WRITES):
                raise invalid("Syntax error: Expected keyword SELECT but got keyword DELETE", (1, 1))
        tables += _qualify(tree, project, dataset)
    kind = "SCRIPT"
    if len(trees) == 1:
        kind = next((word for type_, word in _STATEMENTS.items() if isinstance(trees[0], type_)), "SELECT")
        if kind == "SELECT" and not isinstance(trees[0], exp.Query):
            raise invalid("Syntax error: Unexpected keyword", (1, 1))
        if isinstance(trees[0], exp.Query):
            _refuse_doubles(trees[0])
    return Statement(kind=kind, sql=[tree.transform(_replaced).sql(dialect="duckdb") for tree in trees], tables=tables)


def invalid(message: str, position: tuple[int, int] | None = None) -> Refused:
    """A mistake in the query."""
    return Refused(400, "invalidQuery", message + (f" at [{position[0]}:{position[1]}]" if position else ""))


def position(text: str, word: str) -> tuple[int, int]:
    """Line and column of *word* in a query, counted from 1."""
    found = re.search(rf"\b{re.escape(word)}\b", text)
    start = found.start() if found else 0
    return text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1


def _parsed(text: str) -> list[exp.Expr]:
    if text.startswith("\ufeff"):
        raise invalid('Syntax error: Illegal input character "\\357"', (1, 1))
    try:
        tokens = sqlglot.tokenize(text, read="bigquery")
        if len(tokens) > 1 and tokens[-1].token_type == tokens[-2].token_type == TokenType.SEMICOLON:
            raise invalid('Syntax error: Unexpected ";"', (tokens[-1].line, tokens[-1].col))
        trees = [tree for tree in sqlglot.parse(text, read="bigquery") if tree and not isinstance(tree, exp.Semicolon)]
    except ParseError as exc:
        told = exc.errors[0]
        word = str(told["highlight"])
        at = told["line"], told["col"] - len(word) + 1
        raise invalid(f'Syntax error: Expected end of input but got identifier "{word}"', at) from None
    except TokenError:
        raise invalid("Syntax error: Unclosed string literal", (1, 1)) from None
    if not trees:
        raise invalid("Syntax error: Unexpected end of script", (1, 1))
    return trees


def _qualify(tree: exp.Expr, project: str, dataset: str) -> list[tuple[str, str, str]]:
    """Name the DuckDB schema of each table, and give the tables that are read."""
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    found = []
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func) or (not table.db and table.name in own):
            continue
        name = (table.catalog or project, table.db or dataset, table.name)
        table.set("catalog", None)
        table.set("db", exp.to_identifier(f"{name[0]}.{name[1]}", quoted=True))
        is_target = isinstance(tree, (exp.Create, exp.Drop)) and table.find_ancestor(exp.Query) is None
        if not is_target:
            found.append(name)
    return found


def _refuse_doubles(query: exp.Query) -> None:
    names = [name.lower() for name in query.named_selects]
    for name in names:
        if name not in ("", "*") and names.count(name) > 1:
            raise invalid("Duplicate column names in the result are not supported. Found duplicate(s): " + name)


def _replaced(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Unnest) and isinstance(node.expressions[0], exp.GenerateSeries):
        # As a table function it needs no memory for the whole list.
        series = node.expressions[0]
        alias = node.args.get("alias")
        name = alias.columns[0].name if alias and alias.columns else "i"
        call = exp.Anonymous(this="range", expressions=[series.args["start"], exp.Add(
            this=series.args["end"], expression=exp.Literal.number(1))])  # fmt: skip
        return exp.Table(this=call, alias=exp.TableAlias(this=exp.to_identifier("t"), columns=[
            exp.to_identifier(name)]))  # fmt: skip
    if isinstance(node, exp.Cast):
        return _replaced_cast(node)
    if isinstance(node, exp.Literal) and not node.is_string and not node.is_int:
        # DuckDB's 0.1 is a decimal, BigQuery's a FLOAT64.
        return exp.Anonymous(this="float64_", expressions=[exp.Literal.string(node.this)])
    return node


def _replaced_cast(node: exp.Cast) -> exp.Expr:
    match node.to.this:
        case exp.DType.BIGDECIMAL:
            return exp.Anonymous(this="bignumeric_", expressions=[node.this])
        case exp.DType.DECIMAL if not node.to.expressions:
            node.to.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(n)) for n in (38, 9)])
        case exp.DType.RANGE:
            bounds = node.to.expressions[0].this
            kind = "date" if bounds == exp.DType.DATE else "timestamp"
            return exp.Anonymous(this=f"range_{kind}_", expressions=[node.this])
    return node
