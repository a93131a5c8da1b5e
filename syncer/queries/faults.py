"""What a warehouse says against a query: at the line of its definition, and without what only the rendering knows.

A warehouse quotes the query as it was sent, and there a name or a text may be the value of a variable, so a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from syncer.model.errors import DefinitionError, WarehouseError
from syncer.queries.query import Query

HIDDEN = "…"

#: Characters from which on a part of a word tells something of the whole.
_TELLING = 3

_WORD = re.compile(r"\w+")

#: Of a message: what stands in quotes, and what stands between spaces, quotes, brackets and commas.
_QUOTED = re.compile(r"""(?<=")[^"]+(?=")|(?<=')[^']+(?=')|(?<=`)[^`]+(?=`)""")
_UNQUOTED = re.compile(r"""[^\s"'`()\[\]{},;:]+""")


@contextmanager
def placed(query: Query) -> Iterator[None]:
    """Make each WarehouseError about *query* begin with file and line, and show no value that was rendered into it.

    It stays the same exception, and what it is chained to goes, so that no chain holds what the warehouse said.
    """
    try:
        yield
    except WarehouseError as exc:
        found = fault(query, exc)
        exc.message, exc.hint = str(found), found.hint
        exc.args = (exc.message,)
        exc.__cause__ = exc.__context__ = None
        raise


def fault(query: Query, error: WarehouseError) -> DefinitionError:
    """The same for who tells of definitions: *error* as what is wrong with a line of the file."""
    definition = query.definition
    label = f"warehouse `{definition.warehouse}`: "
    own = label if error.message.startswith(label) else ""
    return DefinitionError(
        own + _without_values(" ".join(error.message.removeprefix(own).split()), query),
        path=definition.path,
        line=definition.sql_line + _line(query, error.query_line) - 1,
        hint=_without_values(error.hint, query),
    )


def _line(query: Query, sent: int | None) -> int:
    """The line of the SQL as written; its first where Jinja may have moved the lines or no line is to blame."""
    stayed = query.rendered.count("\n") == query.definition.sql.count("\n")
    return sent if sent is not None and stayed else 1


def _without_values(text: str, query: Query) -> str:
    """*text*, with everything hidden that the query as sent may hold and the query as written does not.

    That is what stands in quotes, or between spaces, where it is found in what was sent only, or holds a word or a
    part of a word that rendering made. Case and white space make no difference.
    """
    sent, written = _folded(query.rendered), _folded(query.definition.sql)
    known = set(_WORD.findall(written))
    made = set(_WORD.findall(sent)) - known

    def is_made(word: str) -> bool:
        if word in known or len(word) < _TELLING:
            return word in made
        return any(word in new or (len(new) >= _TELLING and new in word) for new in made)

    def quoted(found: re.Match[str]) -> str:
        part = _folded(found[0])
        return HIDDEN if part in sent and part not in written else found[0]

    def unquoted(found: re.Match[str]) -> str:
        holds_made = any(map(is_made, _WORD.findall(_folded(found[0]))))
        return HIDDEN if holds_made or (len(found[0]) >= _TELLING and quoted(found) == HIDDEN) else found[0]

    return _UNQUOTED.sub(unquoted, _QUOTED.sub(quoted, text))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
