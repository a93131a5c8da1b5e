"""A definition's text as an editor has it, and places in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lsprotocol import types
from pygls.workspace.position_codec import PositionCodec, ServerTextPosition, ServerTextRange

from syncer.definitions.yaml_header import OPENING

_LINE_END = re.compile(r"\r\n|\n|\r")
_WORD = re.compile(r"\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What may stand in the place of the word that is being written."""

    text: str
    kind: types.CompletionItemKind
    #: Beside it, such as a column's type.
    detail: str = ""
    #: Markdown.
    documentation: str = ""


@dataclass(frozen=True, kw_only=True)
class DefinitionDraft:
    """The text of a definition, which may be broken in any way.

    Lines and columns are counted from 0, columns in characters.
    """

    source: str
    codec: PositionCodec

    @cached_property
    def lines(self) -> Sequence[str]:
        """As editors count them, without their ends."""
        return _LINE_END.split(self.source)

    @cached_property
    def sql_line(self) -> int:
        """The line on which the header ends, or the number of lines if it does not; 0 without a header."""
        if not self.has_header:
            return 0
        return next((number for number, line in enumerate(self.lines) if number and "*/" in line), len(self.lines))

    @property
    def has_header(self) -> bool:
        """Whether the first line opens one."""
        return self.lines[0].rstrip() == OPENING

    @property
    def sql(self) -> str:
        """What is below the header."""
        end = (
            self.lines[self.sql_line].partition("*/")[2] if self.has_header and self.sql_line < len(self.lines) else ""
        )
        return "\n".join([end, *self.lines[self.sql_line + 1 :]]) if self.has_header else "\n".join(self.lines)

    def field(self, name: str) -> str:
        """The text of a header field on one line; empty if it is not there."""
        found = (re.match(rf"{name}:\s+([^\s#]+)", line) for line in self.lines[1 : self.sql_line])
        return next((match[1].strip("\"'") for match in found if match), "")

    def place(self, position: types.Position) -> tuple[int, int]:
        """The line and column of an editor's position, moved into the text if it is outside."""
        found = self.codec.position_from_client_units(self.lines, position)
        return found.line, min(found.character, len(self.lines[found.line]))

    def offset_in_sql(self, line: int, column: int) -> int:
        """The place as characters of `sql`; negative above it."""
        if not self.has_header:
            return sum(len(each) + 1 for each in self.lines[:line]) + column
        before = self.lines[self.sql_line].find("*/") + 2 if self.sql_line < len(self.lines) else 0
        return sum(len(each) + 1 for each in self.lines[self.sql_line : line]) + column - before

    def range(self, line: int, start: int, end: int) -> types.Range:
        """Part of a line as an editor counts it."""
        return self.codec.range_to_client_units(
            self.lines, ServerTextRange(ServerTextPosition(line, start), ServerTextPosition(line, end))
        )

    def whole_line(self, number: int) -> types.Range:
        """The line of a diagnostic, without the blanks around its text."""
        line = min(max(number, 0), len(self.lines) - 1)
        text = self.lines[line]
        return self.range(line, len(text) - len(text.lstrip()), len(text.rstrip()))

    def word_at(self, line: int, column: int) -> tuple[int, int]:
        """Where the word around a place begins and ends."""
        text = self.lines[line]
        start = column
        while start and _WORD.fullmatch(text[start - 1]):
            start -= 1
        found = _WORD.match(text, column)
        return start, found.end() if found else column


def completion_items(
    draft: DefinitionDraft, line: int, start: int, end: int, suggestions: Iterable[Suggestion]
) -> list[types.CompletionItem]:
    """Suggestions in their order, each to replace what stands between *start* and *end*."""
    place = draft.range(line, start, end)
    return [
        types.CompletionItem(
            label=one.text.strip(),
            kind=one.kind,
            detail=one.detail or None,
            documentation=markdown(one.documentation) if one.documentation else None,
            sort_text=f"{number:05}",
            text_edit=types.TextEdit(range=place, new_text=one.text),
        )
        for number, one in enumerate(suggestions)
    ]


def markdown(text: str) -> types.MarkupContent:
    """*text* as editors take Markdown."""
    return types.MarkupContent(kind=types.MarkupKind.Markdown, value=text)
