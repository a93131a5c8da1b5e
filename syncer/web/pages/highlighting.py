"""SQL in colours, by classes that the style sheet knows."""

from __future__ import annotations

from functools import lru_cache

import pygments
from markupsafe import Markup
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name


@lru_cache(maxsize=256)
def sql(text: str, first_line: int) -> Markup:
    """The lines of a query, with their numbers in the file; every sign of it is escaped."""
    lexer = get_lexer_by_name("sql+jinja", stripnl=False)
    formatter = HtmlFormatter(cssclass="sql", linenos="inline", linenostart=first_line)
    # The formatter escapes.
    return Markup(pygments.highlight(text, lexer, formatter))
