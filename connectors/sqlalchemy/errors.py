"""What messages may repeat of a driver's error: names and words of the query, but no value."""

from __future__ import annotations

import re

#: Texts of drivers that name tables, columns, settings and words of the query, and no value.
_QUOTABLE = [
    r"no such (?:table|column|function): [\w.]+",
    r'near "\w+": syntax error',
    r"ambiguous column name: [\w.]+",
    r"unable to open database file|database is locked|file is not a database|attempt to write a readonly database",
    r'(?:relation|column|function|schema|database|role) "?[\w.]+"? does not exist',
    r'syntax error at or near "\w+"',
    r"permission denied for \w+ \w+",
    r"cannot execute [A-Z ]+ in a read-only transaction",
    r"Invalid (?:object|column) name '[\w.]+'",
    r"Incorrect syntax near (?:the keyword )?'\w+'",
    r"The SELECT permission was denied on the object '\w+'",
    r"Login failed",
    r"(?:Table|Column|Schema|Catalog|Function) '[\w.]+' (?:does not exist|cannot be resolved|not registered)",
    r"ORA-\d{5}",
    r"\[[A-Z]+(?:[_.][A-Z]+)+\]",
    r"\([A-Z]+(?:_[A-Z]+)+\)",
    r"password authentication failed|could not translate host name|[Nn]ame or service not known",
    r"Connection refused|[Tt]imed out|timeout expired|[Cc]ertificate verify failed",
]


def reason(error: BaseException) -> tuple[str, str]:
    """What a message may say of a driver's error, and the word of the query that it names, or an empty text."""
    error = getattr(error, "orig", None) or error
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    code = getattr(error, "sqlstate", None) or next(iter(error.args), None)
    is_code = isinstance(code, int) or (isinstance(code, str) and re.fullmatch(r"[0-9A-Z]{5}", code))
    said = f"{kind} {code}" if is_code else kind
    found = re.search("|".join(_QUOTABLE), str(error))
    if found is None:
        return said, ""
    words = re.findall(r"[\w.]+", found[0])
    quoted = re.search(r"""["']([\w.]+)["']|: ([\w.]+)$|column ([\w.]+)""", found[0])
    word = next((group for group in quoted.groups() if group), "") if quoted else words[-1]
    return f"{said}: {found[0]}", word.rpartition(".")[2]
