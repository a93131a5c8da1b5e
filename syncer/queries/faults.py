"""A warehouse's error about a query: at the line of its definition, and without the values of variables.

A warehouse quotes the query as it was sent, and a part of that may be the value of a variable, so a secret.
"""

from __future__ import annotations

import re

from syncer.model.errors import DefinitionError, WarehouseError
from syncer.model.types import SyncDefinition
from syncer.queries.value_faults import suspects, words

HIDDEN = "…"

#: A shorter part of a word, in characters, does not reveal the word.
_REVEALING = 3

_WORD = re.compile(r"\w+")

#: Of a message: what stands in quotes, and what stands between spaces, quotes, brackets and commas.
_QUOTED = re.compile(r"""(?<=")[^"]+(?=")|(?<=')[^']+(?=')|(?<=`)[^`]+(?=`)""")
_UNQUOTED = re.compile(r"""[^\s"'`()\[\]{},;:]+""")


def fault(definition: SyncDefinition, rendered: str, error: WarehouseError, dialect: str = "") -> DefinitionError:
    """*error* as an error at a line of the definition's file, without the values that *rendered* holds.

    Where the value of some row failed, it names the expressions that may be to blame, at the line of the first one.

    Shapes:
        dialect: sqlglot's name of the query's SQL.
    """
    label = f"warehouse `{definition.warehouse}`: "
    own = label if error.message.startswith(label) else ""
    message = " ".join(error.message.removeprefix(own).split())
    line, column = error.query_line, error.query_column
    stayed = rendered.count("\n") == definition.sql.count("\n")
    if stayed and (found := suspects(rendered, dialect, message, line)):
        line = line or found[0].line
        message += f"; {words(found, definition.sql_line)}"
    elif stayed and line is not None and column is not None and _is_as_written(definition.sql, rendered, line):
        message += f" (column {column})"
    return DefinitionError(
        own + without_values(message, definition.sql, rendered),
        path=definition.path,
        # Jinja may have moved the lines.
        line=definition.sql_line + (line if line is not None and stayed else 1) - 1,
        hint=without_values(error.hint, definition.sql, rendered),
    )


def _is_as_written(sql: str, rendered: str, line: int) -> bool:
    return sql.split("\n")[line - 1 : line] == rendered.split("\n")[line - 1 : line]


def without_values(text: str, sql: str, rendered: str) -> str:
    """*text*, with everything hidden that the query as *rendered* may hold and its *sql* as written does not.

    Hidden is each quoted text and each word that only the rendered query contains, or that contains a word or a part
    of a word that only it contains. Case and white space make no difference.
    """
    sent, written = _folded(rendered), _folded(sql)
    known = set(_WORD.findall(written))
    made = set(_WORD.findall(sent)) - known

    def is_made(word: str) -> bool:
        if word in known or len(word) < _REVEALING:
            return word in made
        return any(word in new or (len(new) >= _REVEALING and new in word) for new in made)

    def quoted(found: re.Match[str]) -> str:
        part = _folded(found[0])
        return HIDDEN if part in sent and part not in written else found[0]

    def unquoted(found: re.Match[str]) -> str:
        holds_made = any(map(is_made, _WORD.findall(_folded(found[0]))))
        return HIDDEN if holds_made or (len(found[0]) >= _REVEALING and quoted(found) == HIDDEN) else found[0]

    return _UNQUOTED.sub(unquoted, _QUOTED.sub(quoted, text))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
