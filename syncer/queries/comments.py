"""Where a template's marks and values stand in its SQL: in comments, in texts, or elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from jinja2 import nodes

#: The start of a comment or of quoted text, or anything else that is not blank. MySQL runs what is in `/*! … */`.
_START = re.compile(r"--|/\*M?!|/\*|['\"`]|(?P<hash>(?<=\n)[ \t]*#(?=[\s\w]))|\S")
_LINE_END, _BLOCK_END = "\n", "*/"
_ENDS = {"--": _LINE_END, "/*": _BLOCK_END, "'": "'", '"': '"', "`": "`"}

#: Quoting that depends on the dialect: then every text counts as SQL.
_AMBIGUOUS = re.compile(r"\\['\"`]|\$\w*\$")


def use_outside_comments(tree: nodes.Template, name: str) -> int | None:
    """The template's line of the first use of *name* that can change the SQL other than in its comments.

    Where the dialect decides what is a comment, the text counts as none.
    """
    names = _depending(tree, name)
    if any(_AMBIGUOUS.search(part.data) for part in tree.find_all(nodes.TemplateData)):
        return min((one.lineno for one in tree.find_all(nodes.Name) if one.name in names), default=None)
    reader = _Reader(names)
    reader.read(tree.body)
    return min(reader.lines, default=None)


def _depending(tree: nodes.Template, name: str) -> set[str]:
    """*name*, and the names that the template sets from it."""
    found, size = {name}, 0
    while size < len(found):
        size = len(found)
        for node in tree.find_all((nodes.Assign, nodes.For, nodes.If)):
            if isinstance(node, nodes.Assign | nodes.For) and _mentioned(_source(node), found):
                found.update(target.name for target in _names(node.target))
            elif isinstance(node, nodes.If) and _mentioned(node.test, found):
                found.update(target.name for one in node.find_all(nodes.Assign) for target in _names(one.target))
    return found


def _source(node: nodes.Assign | nodes.For | nodes.If) -> nodes.Node:
    """What decides which value is set, or which branch is taken."""
    if isinstance(node, nodes.If):
        return node.test
    return node.iter if isinstance(node, nodes.For) else node.node


def _names(node: nodes.Node) -> Iterable[nodes.Name]:
    return [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)


def _mentioned(node: nodes.Node, names: set[str]) -> bool:
    return any(one.name in names for one in _names(node))


class _Reader:
    """Reads the text of a template in order, as far as comments go; branches are read one after the other."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        #: What ends the comment or the quoted text that the reader is in; empty outside of both.
        self._end = ""
        #: The template's lines of uses that matter.
        self.lines: list[int] = []

    def read(self, body: Sequence[nodes.Node]) -> bool:
        """Whether *body* has text outside comments."""
        # Not `any`, which would not read on.
        return sum(map(self._read_one, body)) > 0

    @property
    def _is_in_comment(self) -> bool:
        return self._end in (_LINE_END, _BLOCK_END)

    def _read_one(self, node: nodes.Node) -> bool:
        match node:
            case nodes.Output():
                return sum(map(self._read_part, node.nodes)) > 0
            case nodes.If() | nodes.For():
                return self._read_branches(node)
        return False

    def _read_part(self, part: nodes.Node) -> bool:
        if isinstance(part, nodes.TemplateData):
            return self._read_text(part.data)
        if not self._is_in_comment and _mentioned(part, self._names):
            self.lines.append(part.lineno)
        return not self._is_in_comment

    def _read_branches(self, node: nodes.If | nodes.For) -> bool:
        branches = [node.body, node.else_]
        if isinstance(node, nodes.If):
            branches += [[elif_] for elif_ in node.elif_]
        before, ends, matters = self._end, {self._end}, not self._is_in_comment
        for branch in branches:
            self._end = before
            matters |= self.read(branch)
            ends.add(self._end)
        # Where branches end differently, what follows is in a comment only if it is so for all.
        self._end = next((end for end in ends if end not in (_LINE_END, _BLOCK_END)), before)
        matters |= len(ends) > 1
        if matters and _mentioned(_source(node), self._names):
            self.lines.append(node.lineno)
        return matters

    def _read_text(self, text: str) -> bool:
        position, matters = 0, False
        while position < len(text):
            if self._end:
                matters |= not self._is_in_comment
                end = text.find(self._end, position)
                if end < 0:
                    break
                position, self._end = end + len(self._end), ""
            elif start := _START.search(text, position):
                matters = True
                position = start.end()
                self._end = _LINE_END if start["hash"] else _ENDS.get(start[0], "")
            else:
                break
        return matters


def opened_in_text(tokens: Iterable[tuple[int, str, str]]) -> tuple[int, str] | None:
    """The template's line and the kind of the first mark that opens inside a text of the SQL by mistake.

    That is a comment of Jinja, or braces without a name in them: Jinja would take what follows, up to a mark in a later
    text, for its own. A variable in a text is none.

    Shapes:
        tokens: as Jinja's lexer gives them: line, kind and text.
    """
    tokens = list(tokens)
    sql = "".join(text for _, kind, text in tokens if kind == "data")
    # Only what stands in the SQL can be read in two ways.
    ways = [(False, True) if mark.search(sql) else (False,) for mark in _TELLING]
    readings = [_Reading(*options) for options in product(*ways)]
    #: The readings' states where a branch begins, and where its earlier branches ended.
    branches: list[tuple[list[str], list[list[str]]]] = []
    opened: tuple[int, str] | None = None
    before = ""
    for line, kind, text in tokens:
        if kind == "data":
            for reading in readings:
                reading.read(text)
        elif kind == "comment_begin" and all(reading.is_in_text for reading in readings):
            return line, kind
        elif kind == "variable_begin":
            opened = (line, kind) if all(reading.is_in_text for reading in readings) else None
        elif kind == "name":
            opened = None
            if before == "block_begin":
                _branch(text, readings, branches)
        elif kind == "variable_end" and opened:
            return opened
        before = before if kind == "whitespace" else kind
    return None


_UNKNOWN = "?"
#: What the options of a `_Reading` are about.
_TELLING = [re.compile(mark) for mark in (r"\\", "'''|\"\"\"", r"\[", "#")]


@dataclass(slots=True)
class _Reading:
    """One way to read SQL, since it depends on the dialect where a text ends."""

    backslash_escapes: bool
    has_triple_quotes: bool
    has_brackets: bool
    has_hash_comments: bool
    #: What ends the text or the comment that is open; empty outside of both.
    end: str = field(default="", init=False)

    @property
    def is_in_text(self) -> bool:
        return self.end not in ("", _LINE_END, _BLOCK_END, "]", _UNKNOWN)

    def read(self, text: str) -> None:
        position = 0
        while position < len(text) and self.end != _UNKNOWN:
            if self.end:
                escapes = r"\\.|" if self.backslash_escapes and self.end in ("'", '"', "'''", '"""') else ""
                found = re.compile(f"{escapes}({re.escape(self.end)})", re.DOTALL).search(text, position)
                position = found.end() if found else len(text)
                self.end = "" if found and found[1] else self.end
            elif found := _OPENING.search(text, position):
                position, self.end = self._opened(found)
            else:
                break

    def _opened(self, found: re.Match[str]) -> tuple[int, str]:
        """Where to read on, and what ends what *found* opens."""
        mark = found[0]
        if mark in ("'''", '"""') and not self.has_triple_quotes:
            return found.start() + 1, mark[0]
        if mark == "#":
            return found.end(), _LINE_END if self.has_hash_comments else ""
        if mark == "[":
            return found.end(), "]" if self.has_brackets else ""
        return found.end(), _ENDS.get(mark, mark)


_OPENING = re.compile(r"""--|/\*|'''|\"\"\"|['"`\[]|(?<![\w$])\$\w*\$|#(?=[\s\w])""")


def _branch(tag: str, readings: list[_Reading], branches: list[tuple[list[str], list[list[str]]]]) -> None:
    """Go on in the next branch as the one before began; after them nothing is known where they end differently."""
    ends = [reading.end for reading in readings]
    if tag in ("if", "for"):
        branches.append((ends, []))
    elif tag in ("elif", "else") and branches:
        branches[-1][1].append(ends)
        ends = branches[-1][0]
    elif tag in ("endif", "endfor") and branches:
        begun, ended = branches.pop()
        ways = [*ended, ends] if ended else [begun, ends]
        ends = [way[0] if len(set(way)) == 1 else _UNKNOWN for way in zip(*ways, strict=True)]
    for reading, end in zip(readings, ends, strict=True):
        reading.end = end
