"""Topics as HTML: safe to show as it is, with an anchor at each heading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import quote

import pygments
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import escape
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from syncer.docs.topics import topic, topics

#: The path of the manual's first page.
ROOT = "/docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and the text up to the next one."""

    level: int
    heading: str
    anchor: str
    #: Without Markdown's marks.
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A topic as the service shows it."""

    html: str
    sections: Sequence[Section]


@cache
def page(name: str) -> Page:
    """A topic as HTML; everything but Markdown's own marks is escaped.

    Raises:
        SelectionError: there is no such topic.
    """
    tokens = _parser().parse(topic(name).text)
    sections = _sections(tokens)
    for token in tokens:
        for child in token.children or ():
            _link(child)
    html = _parser().renderer.render(list(_accessible(tokens)), _parser().options, {})
    # The keyboard must reach what a narrow screen has to scroll.
    return Page(html=html.replace("<pre>", '<pre tabindex="0">'), sections=sections)


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable("table")


def _sections(tokens: Sequence[Token]) -> list[Section]:
    """The sections of a page; gives each heading its anchor."""
    found: list[Section] = []
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = _plain(tokens[index + 1])
            token.attrSet("id", anchor(heading))
            found.append(Section(level=int(token.tag[1:]), heading=heading, anchor=anchor(heading)))
        elif token.type in ("inline", "fence") and tokens[index - 1].type != "heading_open":
            found[-1] = replace(found[-1], text=f"{found[-1].text} {_plain(token)}".lstrip())
    return found


def _accessible(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens, with a name for each table, a scope for its headings, and a heading for each row."""
    heading = row = ""
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = str(escape(_plain(tokens[index + 1])))
        elif token.type == "tr_open":
            row = "th"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and row:
            token.tag = row
            token.attrSet("scope", "row")
        elif token.type == "td_close" and row:
            token.tag, row = row, ""
        if token.type == "table_open":
            yield _raw(f'<div class="scroll" role="group" tabindex="0" aria-label="{heading}">')
        yield token
        if token.type == "table_open":
            yield _raw(f'<caption class="hidden">{heading}</caption>')
        elif token.type == "table_close":
            yield _raw("</div>")


def _raw(html: str) -> Token:
    return Token("html_block", "", 0, content=html)


def _plain(token: Token) -> str:
    if token.children is None:
        return token.content
    return " ".join("".join(child.content or " " * (child.type == "softbreak") for child in token.children).split())


def _link(token: Token) -> None:
    """Turn a link to another file of the manual into one to its page."""
    name = {"link_open": "href", "image": "src"}.get(token.type)
    if name is None:
        return
    target = str(token.attrGet(name))
    if "://" in target or target.startswith("#"):
        return
    file, _, fragment = target.partition("#")
    by_file = {known.file: known.name for known in topics().values()}
    token.attrSet(name, f"{ROOT}/{quote(by_file.get(file, file))}{'#' if fragment else ''}{fragment}")


def _highlighted(code: str, language: str, _: str) -> str:
    try:
        lexer = get_lexer_by_name({"sql": "sql+jinja", "mysql": "sql", "text": "text"}.get(language, language))
    except ClassNotFound:
        return ""
    # The formatter escapes.
    return str(pygments.highlight(code, lexer, HtmlFormatter(nowrap=True)))
