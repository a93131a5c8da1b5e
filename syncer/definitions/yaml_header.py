"""The text of a definition's file: the block comment at its top, as strict YAML, and the SQL below."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from syncer.model.errors import DefinitionError
from syncer.model.spelling import quoted

OPENING = "/* sync"

#: Bytes of a whole file.
FILE_LIMIT = 1_000_000

#: Characters of a header; PyYAML reads some hundred thousand a second.
HEADER_LIMIT = 64_000

#: Mappings and lists inside each other, the header itself counted; the fields need three.
_DEPTH_LIMIT = 8

EXAMPLE = (
    "Open it with the line `/* sync`, then YAML such as `entity: person`, a line `*/`, and one SELECT. "
    "See `syncer docs writing-a-sync`."
)

#: What SQL and Jinja skip. Possessive, so that no text makes it slow.
_NO_SQL = re.compile(r"(?:\s|;|--[^\n]*+|/\*(?s:.*?)\*/|\{#(?s:.*?)#\})*+")

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value in the header. A scalar is the text as written, not YAML's value of it."""

    path: Path
    #: Of its key or list item, counted from 1.
    line: int
    #: The field, nested ones with dots: `limits.removed`.
    name: str
    value: str | tuple[Node, ...] | dict[str, Node]

    def error(self, message: str, hint: str = "") -> DefinitionError:
        return DefinitionError(message, path=self.path, line=self.line, hint=hint)

    def lines(self) -> Iterator[tuple[str, int]]:
        """This node's name and line, and those of everything in it."""
        yield self.name, self.line
        if isinstance(self.value, str):
            return
        for child in self.value.values() if isinstance(self.value, dict) else self.value:
            yield from child.lines()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionText:
    """The parts of a file."""

    #: What the header holds, by field.
    fields: dict[str, Node]
    #: Without blank lines around it.
    sql: str
    #: Counted from 1.
    sql_line: int


def without_comma(text: str) -> str:
    """How to write a number that has a comma in it, such as `1,5%`; empty if it is none."""
    match = re.fullmatch(r"([0-9]+),([0-9]+)( ?%)?", text)
    if match is None:
        return ""
    whole, fraction, percent = match[1], match[2], match[3] or ""
    is_thousands = len(fraction) == 3 and not percent
    return f"Write `{whole}{fraction}`." if is_thousands else f"Write `{whole}.{fraction}{percent}`."


def read(path: Path, data: bytes, errors: list[DefinitionError]) -> DefinitionText | None:
    """Split the file into header and query; None if there is no usable header.

    Adds what is wrong to *errors*. A repeated field keeps its first value.
    """
    try:
        text = _decoded(path, data)
        start, end = _header_span(path, text)
        fields = _fields(_YamlReader(path, text[start:end], errors))
    except DefinitionError as error:
        errors.append(error)
        return None
    sql = text[end + 2 :]
    closing_line = text.count("\n", 0, end) + 1
    if _NO_SQL.fullmatch(sql):
        message, hint = "there is no query after the header", "Write one SELECT below it."
        errors.append(DefinitionError(message, path=path, line=closing_line, hint=hint))
    blank_lines = sql[: len(sql) - len(sql.lstrip())].count("\n")
    return DefinitionText(fields=fields, sql=sql.strip(), sql_line=closing_line + blank_lines)


def read_mapping(path: Path, data: bytes, errors: list[DefinitionError], field: str) -> dict[str, Node]:
    """What a file of YAML holds, by field, such as *field*; adds what is wrong to *errors*, as `read` does."""
    try:
        text = _decoded(path, data)
        if len(text) > HEADER_LIMIT:
            raise DefinitionError(f"the file is over {HEADER_LIMIT // 1000} KB", path=path)
        return _fields(
            _YamlReader(
                path,
                text,
                errors,
                first_line=1,
                what="the file",
                example=f"Write lines such as `{field}`.",
                field=field,
            )
        )
    except DefinitionError as error:
        errors.append(error)
        return {}


def _decoded(path: Path, data: bytes) -> str:
    if len(data) > FILE_LIMIT:
        raise DefinitionError("the file is over 1 MB", path=path, hint="A definition holds one query and no data.")
    try:
        text = data.decode("utf-8-sig")
        bad = data.find(b"\0")
    except UnicodeDecodeError as exc:
        bad = exc.start
    if bad >= 0:
        line = _unix_lines(data[:bad].decode("latin-1")).count("\n") + 1
        raise DefinitionError("this is not UTF-8 text", path=path, line=line, hint="Save the file as UTF-8.")
    return _unix_lines(text)


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _header_span(path: Path, text: str) -> tuple[int, int]:
    def error(message: str, *, at: int = 0, hint: str = EXAMPLE) -> DefinitionError:
        return DefinitionError(message, path=path, line=text.count("\n", 0, at) + 1, hint=hint)

    if not text.strip():
        raise error("the file is empty")
    first, _, _ = text.partition("\n")
    if first.rstrip() != OPENING:
        raise error(f"the header is missing: the first line is {quoted(first)}, not exactly `{OPENING}`")
    start = min(len(first) + 1, len(text))
    end, inner = text.find("*/", start), text.find("/*", start)
    if end < 0:
        raise error("the header is not closed", hint="Close it with a line `*/`.")
    if 0 <= inner < end:
        hint = "Close the header with a line `*/` above it, and use `#` for comments inside the header."
        raise error("another comment opens inside the header", at=inner, hint=hint)
    before = text[text.rindex("\n", 0, end) + 1 : end]
    after, _, _ = text[end + 2 :].partition("\n")
    if before.strip() and after.strip():
        hint = "It ends a SQL comment even inside quotes: in cron, write `0-59/15` or `0-23/2` for `*/15` or `*/2`."
        raise error("`*/` ends the header here, in the middle of a line", at=end, hint=hint)
    if end - start > HEADER_LIMIT:
        raise error(f"the header is over {HEADER_LIMIT // 1000} KB")
    return start, end


def _fields(reader: _YamlReader) -> dict[str, Node]:
    try:
        reader.reject_surprises()
        root = yaml.compose(reader.text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as exc:
        raise reader.syntax_error(exc) from None
    except (ValueError, OverflowError):
        # PyYAML passes on what `chr` and `int` say about an escape or a %YAML line.
        raise reader.fault("contains an escape that is not a character") from None
    if root is None:
        raise reader.fault("is empty", hint=reader.example)
    if not isinstance(root, yaml.MappingNode):
        raise reader.fault(f"is not a list of fields, such as `{reader.field}`", root)
    return reader.mapping("", root)


class _YamlReader:
    """Turns YAML nodes into ours."""

    def __init__(
        self,
        path: Path,
        text: str,
        errors: list[DefinitionError],
        *,
        first_line: int = 2,
        what: str = "the header",
        example: str = EXAMPLE,
        field: str = "entity: person",
    ) -> None:
        """*text* begins on *first_line* of the file, and errors call it *what*.

        Shapes:
            example: a sentence on how it may look.
            field: one of its fields.
        """
        self._path = path
        self.text = text
        self._errors = errors
        self._first_line = first_line
        self._what = what
        self.example = example
        self.field = field
        self._breaks = [match.start() for match in re.finditer("\n", text)]

    def fault(self, message: str, at: yaml.Node | None = None, hint: str = "") -> DefinitionError:
        """An error about the whole."""
        line = self._first_line if at is None else self.line_of(at)
        return DefinitionError(f"{self._what} {message}", path=self._path, line=line, hint=hint)

    def line_of(self, at: yaml.Node | yaml.Event) -> int:
        return self._line(at.start_mark.index if at.start_mark else 0)

    def _line(self, index: int) -> int:
        # PyYAML counts U+2028 and others as line ends, editors do not; and an error at the end of the
        # text belongs to its last written line.
        return bisect_right(self._breaks, min(index, len(self.text.rstrip())) - 1) + self._first_line

    def _error(self, message: str, at: yaml.Node | yaml.Event, hint: str = "") -> DefinitionError:
        return DefinitionError(message, path=self._path, line=self.line_of(at), hint=hint)

    def reject_surprises(self) -> None:
        depth = 0
        for event in yaml.parse(self.text, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                hint = "Write the value itself; put text that starts with `*` or `&` in quotes."
                raise self._error("YAML aliases and anchors (`*name`, `&name`) are not supported", event, hint)
            if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
                raise self._error("YAML tags (`!name`) are not supported", event, "Write the plain value.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_LIMIT:
                raise self._error(f"{self._what} is nested too deeply", event)

    def syntax_error(self, exc: yaml.YAMLError) -> DefinitionError:
        if isinstance(exc, yaml.reader.ReaderError):
            message, line = f"{self._what} contains a control character", self._line(int(exc.position))
            return DefinitionError(message, path=self._path, line=line)
        assert isinstance(exc, yaml.MarkedYAMLError)
        problem, context = exc.problem or "", exc.context or ""
        mark = exc.context_mark if "end of stream" in problem and exc.context_mark else exc.problem_mark
        hint = ""
        if "'\\t'" in problem:
            hint = "Indent with spaces, not with tabs."
        elif "cannot start any token" in problem or "alias" in context or "anchor" in context:
            hint = "Put a value that starts with a special character in quotes."
        elif "mapping values are not allowed" in problem:
            hint = "Put text that contains a colon in quotes, and begin each field at the start of a line."
        message = f"{self._what} is not valid YAML: {problem or 'it cannot be read'}"
        line = self._line(mark.index) if mark else self._first_line
        return DefinitionError(message, path=self._path, line=line, hint=hint)

    def mapping(self, prefix: str, node: yaml.MappingNode) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for place, (key, value) in enumerate(node.value):
            try:
                if place and node.flow_style:
                    self._reject_comma(prefix, node.value[place - 1], (key, value))
                name = self._text_of(key)
                if name in entries:
                    message = f"{quoted(prefix + name)} is repeated; it is on line {entries[name].line} too"
                    raise self._error(message, key, "Keep one of the two.")
                entries[name] = self._node(prefix + name, self.line_of(key), value)
            except DefinitionError as error:
                self._errors.append(error)
        return entries

    def _reject_comma(
        self, prefix: str, before: tuple[yaml.Node, yaml.Node], then: tuple[yaml.Node, yaml.Node]
    ) -> None:
        """Look for a number such as `1,5%`, of which YAML makes a field `5%` without a value."""
        texts = [node.value if isinstance(node, yaml.ScalarNode) else None for node in (*before, *then)]
        field, whole, fraction, nothing = texts
        if field and whole and fraction and nothing == "" and (right := without_comma(f"{whole},{fraction}")):
            written = quoted(f"{whole},{fraction}")
            raise self._error(f"{quoted(prefix + field)} is {written}: a comma is no decimal point", then[0], right)

    def _node(self, name: str, line: int, node: yaml.Node) -> Node:
        value: str | tuple[Node, ...] | dict[str, Node]
        if isinstance(node, yaml.MappingNode):
            value = self.mapping(name + ".", node)
        elif isinstance(node, yaml.SequenceNode):
            value = tuple(self._item(name, item) for item in node.value)
        else:
            value = self._text_of(node, name)
        return Node(path=self._path, line=line, name=name, value=value)

    def _item(self, name: str, node: yaml.Node) -> Node:
        item = f"{name}.{node.value}" if isinstance(node, yaml.ScalarNode) else name
        return self._node(item, self.line_of(node), node)

    def _text_of(self, node: yaml.Node, name: str = "") -> str:
        """The text of a value, or of a field's name if *name* is empty."""
        is_empty = isinstance(node, yaml.ScalarNode) and not node.value and node.style is None
        if isinstance(node, yaml.ScalarNode) and not is_empty and not _CONTROL.search(node.value):
            return str(node.value)
        what = quoted(name) if name else "a field's name"
        if is_empty:
            raise self._error(f"{what} has no value", node, "Give it one, or remove the line.")
        is_text = isinstance(node, yaml.ScalarNode)
        raise self._error(f"{what} {'contains a control character' if is_text else 'is not plain text'}", node)
