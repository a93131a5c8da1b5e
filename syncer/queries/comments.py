"""Whether a template's value matters to its SQL, or stands only in comments of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
