"""Jinja in a query: what it may use, what it mentions, and its text once rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.visitor import NodeTransformer

from syncer.model.errors import DefinitionError
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.queries.comments import opened_in_text, use_outside_comments
from syncer.queries.sandbox import FILTERS, SIZED, TIMED, TURNS, RefusedError, Sandbox

#: Parts of a template's statements and expressions.
EXPRESSIONS_LIMIT = 10_000

#: Words, signs and blanks of them, and the texts between them: more take long to read.
_TOKENS_LIMIT = 60_000

_CALLS = ("var", "env_var", "range")

#: What an incremental query uses.
_TIMES = ("last_sync_time", "last_event_time")

_NAMES = (*_TIMES, *_CALLS)

_KNOWN = (
    "A query has `{{ last_sync_time }}`, `{{ var('x') }}`, `{{ env_var('X') }}`, `if`, `for`, `set`, simple filters; "
    "one of events `{{ last_event_time }}`."
)

_TOO_LONG, _IN_SQL = "the template is too long", "Let the warehouse do the work, in SQL."

_RAW = "If it belongs to the SQL, write `{% raw %}%s{% endraw %}`"
#: What opens inside a text of the SQL by mistake, to the message and its hint.
_IN_TEXT = {
    "comment_begin": (
        "`{#` in a text of the SQL opens a comment of Jinja",
        f"{_RAW.replace('%s', '{#')}; if it is a comment, move it out of the quotes.",
    ),
    "variable_begin": (
        "`{{` in a text of the SQL opens an expression of Jinja that has no variable",
        f"{_RAW.replace('%s', '{{')}.",
    ),
}

_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name, nodes.Const,
    nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test,
    nodes.Call, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Not,
    nodes.And, nodes.Or, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A query's template, checked."""

    path: Path
    #: The file's line of the template's first.
    first_line: int
    tree: nodes.Template
    #: The file's line of the first use of one of the two times, unless all are in comments of the SQL.
    incremental_line: int | None
    #: The file's line of the first use of `last_event_time`, also in a comment; None if there is none.
    event_line: int | None
    #: The variables of the environment that it names, each to the file's line of its first use.
    reads: Mapping[str, int]

    def render(self, names: Mapping[str, Any]) -> str:
        """The text for the given values of the names.

        Raises:
            DefinitionError: an expression fails, or does too much.
        """
        try:
            sandbox = Sandbox()
            return "".join(sandbox.bounded(sandbox.from_string(self.tree).generate(names)))
        # A template is a program, and fails in as many ways as one.
        except Exception as exc:
            raise self._error(exc) from None

    def _error(self, exc: Exception) -> DefinitionError:
        if isinstance(exc, RefusedError):
            message, hint = exc.message, exc.hint
        else:
            # The text of any other error may hold a value of the environment.
            message, hint = f"the template fails here ({type(exc).__name__})", _KNOWN
        line = self.first_line - 1 + (_template_line(exc.__traceback__) or 1)
        return DefinitionError(message, path=self.path, line=line, hint=hint)


def parse(path: Path, sql: str, first_line: int) -> Template:
    """Read *sql* as a template.

    Raises:
        DefinitionError: it is not a template, or uses a name or construct that queries do not have.
    """

    def error(message: str, line: int, hint: str = _KNOWN) -> DefinitionError:
        return DefinitionError(message, path=path, line=first_line - 1 + line, hint=hint)

    try:
        tokens = list(islice(Sandbox().lex(sql), _TOKENS_LIMIT + 1))
        if len(tokens) > _TOKENS_LIMIT:
            raise error(_TOO_LONG, 1, _IN_SQL)
        if misplaced := opened_in_text(tokens):
            line, mark = misplaced
            message, hint = _IN_TEXT[mark]
            raise error(message, line, _braces_of_sql(sql.splitlines()[line - 1 : line]) or hint)
        tree = Sandbox().parse(sql)
        for message, number, hint in _faults(tree):
            raise error(message, number, _braces_of_sql(sql.splitlines()[number - 1 : number]) or hint)
        mentions = _mentions(tree)
        for name, line in mentions.items():
            if name not in _NAMES:
                raise error(f"the name {quoted(name)} is unknown", line, did_you_mean(name, _NAMES))
        used = (use_outside_comments(tree, name) for name in _TIMES if name in mentions)
        incremental_line = min((line for line in used if line is not None), default=None)
        _Bounds().visit(tree).set_environment(Sandbox())
        Sandbox().compile(tree)
    except TemplateSyntaxError as exc:
        hint = _braces_of_sql(sql.splitlines()[exc.lineno - 1 : exc.lineno]) or _KNOWN
        raise error(f"the template cannot be read: {exc.message}", exc.lineno, hint) from None
    except (RecursionError, SyntaxError, MemoryError, ValueError, OverflowError):
        raise error("the template is nested too deeply, or contains a number that is too long", 1) from None
    if incremental_line is not None:
        incremental_line += first_line - 1
    reads = {name: first_line - 1 + line for name, line in _reads(tree).items()}
    return Template(
        path=path,
        first_line=first_line,
        tree=tree,
        incremental_line=incremental_line,
        event_line=first_line - 1 + mentions["last_event_time"] if "last_event_time" in mentions else None,
        reads=reads,
    )


def _faults(tree: nodes.Template) -> Iterator[tuple[str, int, str]]:
    """What a query may not use: a message, the template's line, and a hint."""
    for count, node in enumerate(_every(tree)):
        fault = _fault(node)
        several = [part for part in getattr(node, "nodes", ()) if isinstance(part, nodes.Tuple)]
        if isinstance(node, nodes.Output) and several:
            yield "`{{ … }}` holds several values", several[0].lineno, _KNOWN
        elif fault:
            yield fault, node.lineno, _KNOWN
        elif isinstance(node, nodes.Filter) and node.name not in FILTERS:
            filters = f"Filters are {listed(FILTERS, last='and')}."
            guess = did_you_mean(node.name, FILTERS, or_list=False)
            yield f"the filter {quoted(node.name)} is unknown", node.lineno, guess or filters
        elif count > EXPRESSIONS_LIMIT:
            yield _TOO_LONG, node.lineno, _IN_SQL


def _braces_of_sql(lines: list[str]) -> str:
    """How to write a text of SQL with Jinja's braces in it, such as PostgreSQL's '{{1,2},{3,4}}'; empty without one."""
    texts = [text for line in lines for text in re.findall(r"'[^']*\{[{%#][^']*'", line)]
    plain = next((text for text in texts if not re.search(rf"\b({'|'.join(_NAMES)})\b", text)), "")
    raw = f"{{% raw %}}{plain}{{% endraw %}}"
    return plain and f"`{{{{`, `{{%` and `{{#` begin Jinja. If they are a part of the SQL, write `{raw}`."


def _mentions(tree: nodes.Template) -> dict[str, int]:
    """The names that the template does not set itself, each to the template's line of its first use."""
    outside = meta.find_undeclared_variables(tree)
    lines: dict[str, int] = {}
    for node in _every(tree):
        if isinstance(node, nodes.Name) and node.name in outside:
            lines.setdefault(node.name, node.lineno)
    return lines


def _reads(tree: nodes.Template) -> dict[str, int]:
    """The names that `env_var` gets, each to the template's line of its first use."""
    lines: dict[str, int] = {}
    for node in _every(tree):
        match node:
            case nodes.Call(node=nodes.Name(name="env_var"), args=[nodes.Const(value=str(name)), *_]):
                lines.setdefault(name, node.lineno)
    return lines


def _fault(node: nodes.Node) -> str:
    match node:
        case nodes.For(recursive=True):
            return "a query cannot use a recursive loop"
        case nodes.Getattr(node=nodes.Name(name="loop"), attr=attribute) if not attribute.startswith("_"):
            return ""
        case nodes.Getattr(attr=attribute):
            return f"a query cannot use the attribute {quoted(attribute)}"
        case nodes.Call(node=nodes.Name(name="var" | "env_var" as function)):
            named = node.args and isinstance(node.args[0], nodes.Const) and isinstance(node.args[0].value, str)
            if named and len(node.args) <= 2 and not (node.kwargs or node.dyn_args or node.dyn_kwargs):
                return ""
            return f"`{function}` takes a name in quotes and an optional default"
        case nodes.Call(node=nodes.Name(name="range")):
            return ""
        case nodes.Call():
            return f"only {listed(_CALLS, last='and')} can be called"
        case _ if not isinstance(node, _NODES):
            return f"a query cannot use the Jinja construct {quoted(type(node).__name__)}"
    return ""


def _every(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Every node, in the order of the text; not recursive, because nodes may be nested deeply."""
    pending: list[nodes.Node] = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(list(node.iter_child_nodes())))


class _Bounds(NodeTransformer):
    """Makes each loop use the budget, and checks the size of each value that is set or joined, and the time."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node, nodes.For):
            node.iter = _through(TURNS, node.iter)
        elif isinstance(node, nodes.Assign):
            node.node = _through(SIZED, node.node)
        elif isinstance(node, nodes.Compare):
            return _through(TIMED, node)
        elif isinstance(node, nodes.Concat):
            return _through("join", nodes.List(node.nodes, lineno=node.lineno))
        return node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _template_line(trace: TracebackType | None) -> int | None:
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
