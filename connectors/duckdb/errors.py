"""What messages may repeat of DuckDB's errors: names, files and lines, never a value or the query."""

from __future__ import annotations

import re

from syncer.model.memory import HINT

#: Kinds of error whose text names tables, columns, functions and files only.
_QUOTABLE = {"Binder", "Catalog", "IO", "Not implemented", "Parser", "Permission"}

_CSV_FAULTS = {
    r"^Invalid unicode": "it is not UTF-8",
    r"^Expected Number of Columns: (\d+) Found: (\d+)$": r"\1 columns were expected, \2 found",
    r'^Error when converting column "([^"]+)"': r"column `\1` is not of the type that the rows before suggest",
    r"^Value with unterminated quote": "a quote is not closed, or something follows it",
}

#: The type that a value does not fit; the value comes before it.
_TYPE = re.compile(
    r"\b(U?INT(?:8|16|32|64|128)|FLOAT|DOUBLE|BOOL|DATE|TIME|TIMESTAMP(?: WITH TIME ZONE)?|INTERVAL|UUID|"
    r"DECIMAL\(\d+,\d+\)|JSON)(?: when casting from source column .*)?$",
    re.DOTALL,
)
#: A line of the query, and below it what the error is about.
_MARKED = re.compile(r"^(LINE \d+: .*)\n( *)\^+", re.MULTILINE)

_NO_PARQUET = r"^Invalid Input Error: (?:No magic bytes found|File .* too small to be a Parquet file)"
_SEVERAL_ROWS = r"^Invalid Input Error: More than one row returned by a subquery"
#: What a message says in the place of DuckDB's text.
_FAULTS = {
    _NO_PARQUET: "it is no Parquet file, or only a part of one",
    _SEVERAL_ROWS: "a subquery that stands for one value has several rows",
}

_READ_OTHERWISE = "Correct the file, or read it in the query with options that fit it: FROM {}('…', …)."
#: The next step for a file that cannot be read, by DuckDB's function for it.
FILE_HINTS = {reader: _READ_OTHERWISE.format(reader) for reader in ("read_csv", "read_json")}
FILE_HINTS["read_parquet"] = "Write the file again."
_HINTS = {
    r"Could not set lock": "Another program has the file open for writing; let it close the file first.",
    r"CSV Error": FILE_HINTS["read_csv"],
    r"in file \"": FILE_HINTS["read_json"],
    _NO_PARQUET: FILE_HINTS["read_parquet"],
    r"^Conversion Error": "TRY_CAST makes NULL of what cannot be cast; `syncer explain-error RUN_ID` shows a query "
    "that finds the row.",
    r"^Out of Range Error": "A number is too large for its type; cast it to a larger one, such as HUGEINT or DOUBLE.",
    _SEVERAL_ROWS: "Let it return one row, by an aggregate or LIMIT 1.",
    r"^Invalid Input Error": "DuckDB's message may hold a value and is not shown; run the query in DuckDB to see it.",
    r"^Permission Error": "A query can only read the warehouse's own file or folder.",
    r"^Out of Memory": f"Make the query cheaper, or: {HINT}",
}


def reason(text: str) -> str:
    """One line for an error with DuckDB's *text*."""
    if fault := _fault_in_file(text):
        return fault
    kind = re.match(r"([A-Za-z ]{1,30}) Error: ", text)
    if kind is None:
        return "unknown error"
    for pattern, fault in _FAULTS.items():
        if re.search(pattern, text):
            return fault
    said = text[kind.end() :].partition("\n\nLINE ")[0]
    if kind[1] in _QUOTABLE:
        return " ".join(said.split())
    type_ = _TYPE.search(said) if kind[1] == "Conversion" else None
    return f"{kind[1].lower()} error" + (f": a value cannot be cast to {type_[1]}" if type_ else "")


def line(text: str) -> int | None:
    """The line of the query with the fault, counted from 1, if the text has one."""
    found = re.search(r"^LINE (\d+):", text, re.MULTILINE)
    return int(found[1]) if found and not _fault_in_file(text) else None


def column(text: str, sql: str) -> int | None:
    """The place in that line of *sql*, counted from 1, if the text marks one; the query may have been in brackets."""
    marked, number = _MARKED.search(text), line(text)
    if marked is None or number is None:
        return None
    written = (sql.split("\n") + [""] * number)[number - 1]
    rest = marked[1][len(marked[2]) :].removesuffix("...").rstrip()
    return written.find(rest) + 1 or None if rest and written.count(rest) == 1 else None


def hint(text: str) -> str:
    """The next step, or empty."""
    return next((step for pattern, step in _HINTS.items() if re.search(pattern, text)), "")


def _fault_in_file(text: str) -> str | None:
    if in_csv := re.search(r"CSV Error on Line: (\d+)$", text, re.MULTILINE):
        file = re.search(r"^  file = (.+)$", text, re.MULTILINE)
        found = ((re.search(pattern, text, re.MULTILINE), fault) for pattern, fault in _CSV_FAULTS.items())
        fault = next((match.expand(fault) for match, fault in found if match), "it cannot be read as CSV")
        return f"{file[1] if file else 'CSV'}, line {in_csv[1]}: {fault}"
    if in_json := re.search(r'in file "([^"]+)".*? (?:line|record/value) (\d+)', text):
        # DuckDB counts one too many in some cases.
        return f"{in_json[1]}, near line {in_json[2]}: it cannot be read as JSON"
    return None
