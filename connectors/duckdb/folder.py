"""A folder of files as DuckDB views: each CSV, Parquet and JSON file is a table named by its stem.

DuckDB's reader of JSON rounds numbers that a DOUBLE cannot hold. A file with such numbers is read as text, in which
they are strings until each member has been found.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from connectors.duckdb.column_types import FileColumn, csv_columns, json_columns
from connectors.duckdb.errors import FILE_HINTS, reason
from connectors.support.warehouse import quote_identifier, quote_literal
from syncer.model.errors import WarehouseError
from syncer.model.spelling import JSON_STRING, did_you_mean, numbers_as_text, text_as_numbers, visible

# Without these DuckDB guesses, and a wrong guess drops rows: those that start with `#`, or those above the header.
_CSV = """header = true, delim = '{}', quote = '"', escape = '"', comment = '', skip = 0"""
_DIALECTS = {"csv": _CSV.format(","), "tsv": _CSV.format("\t")}
#: Every value as text; an empty one in quotes is no missing one.
_TEXTS = "all_varchar = true, allow_quoted_nulls = false"
#: Without this a folder `region=eu` above the file would be a column.
_OWN_COLUMNS = "hive_partitioning = false"
#: Every value of a record as JSON, whichever record has it first.
_VALUES = "maximum_depth = 1, sample_size = -1"
_TYPE = re.compile(r'[\w (),"\[\]]+')
_NAME = re.compile(r"([^.].*)\.(?:(csv|tsv|json|jsonl|ndjson)(?:\.gz)?|(parquet))", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class FileTable:
    """A file, and the columns of its view once they are known."""

    name: str
    kind: str
    path: Path
    columns: list[FileColumn] = field(default_factory=list)
    #: SQL for the rows of which `columns` are.
    rows: str = ""

    @property
    def source(self) -> str:
        """SQL for its rows: of CSV as text, of JSON as JSON."""
        if self.kind in _DIALECTS:
            return f"{self._reader}({self._place}, {_DIALECTS[self.kind]}, {_TEXTS})"
        if self.kind == "parquet":
            return f"{self._reader}({self._place})"
        return f"{self._reader}({self._place}, {_VALUES}{self._lines})"

    @property
    def hint(self) -> str:
        """The next step if it cannot be read."""
        return FILE_HINTS[self._reader]

    @property
    def _reader(self) -> str:
        return {"csv": "read_csv", "tsv": "read_csv", "parquet": "read_parquet"}.get(self.kind, "read_json")

    @property
    def _records(self) -> str:
        """SQL for the records of a JSON file as they are written."""
        return f"read_json_objects({self._place}{self._lines})"

    @property
    def _place(self) -> str:
        """The first arguments of every reader."""
        return f"{quote_literal(one_file(self.path))}, {_OWN_COLUMNS}"

    @property
    def _lines(self) -> str:
        return "" if self.kind == "json" else ", format = 'newline_delimited'"

    @property
    def types_path(self) -> Path:
        """The file that says otherwise what its columns are."""
        return self.path.parent / f"{self.name}.schema.json"

    def create_view(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """Make the file a table, without types of its columns; returns why not if it cannot be read."""
        try:
            connection.execute(f"CREATE VIEW {quote_identifier(self.name)} AS FROM {self.source}")
        except duckdb.Error as exc:
            if "sniffing" in str(exc):
                return self._broken_row(connection)
            return self._unreadable(reason(str(exc)))
        # A name that is no UTF-8, for one.
        except Exception as exc:
            return self._unreadable(f"it cannot be read ({type(exc).__name__})")
        return None

    def _unreadable(self, said: str) -> str:
        # DuckDB may name the file as it was handed over.
        said = said.replace(one_file(self.path), str(self.path))
        return visible(said if str(self.path) in said else f"{self.path}: {said}")

    def _broken_row(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Where a CSV file breaks of which DuckDB's text gives no line."""
        try:
            opened = gzip.open if self.path.suffix.lower() == ".gz" else open
            with opened(self.path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
                header = next(csv.reader(file, delimiter="\t" if self.kind == "tsv" else ","), [])
            columns = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(header)))
            given = f"{self._place}, {_DIALECTS[self.kind]}, auto_detect = false, columns = {{{columns}}}"
            connection.execute(f"SELECT count(*) FROM read_csv({given})").fetchall()
        except duckdb.Error as exc:
            return self._unreadable(reason(str(exc)))
        # A header with a value that is too long, or a file that was cut.
        except (csv.Error, OSError, EOFError, zlib.error):
            pass
        return self._unreadable("it cannot be read as CSV")

    def learn_types(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Look at every row for the types of its columns, unless this process has, and let the view have them.

        Raises:
            WarehouseError: `NAME.schema.json` cannot be used.
            duckdb.Error: a row cannot be read.
        """
        if self.columns or self.kind == "parquet":
            return
        stat = self.path.stat()
        known = (str(self.path), stat.st_size, stat.st_mtime_ns)
        if known not in TYPES:
            TYPES[known] = self._found(connection)
        self.rows, columns = TYPES[known]
        self.columns = self._given(connection, columns)
        if self.columns:
            selected = ", ".join(f"{c.value} AS {quote_identifier(c.name)}" for c in self.columns)
            view = f"CREATE OR REPLACE VIEW {quote_identifier(self.name)} AS SELECT {selected} FROM {self.rows}"
            connection.execute(view)

    def _found(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, list[FileColumn]]:
        if self.kind in _DIALECTS:
            return self.source, csv_columns(connection, self.source)
        described = connection.execute(f"DESCRIBE FROM {self.source}").fetchall()
        if {type_ for _, type_, *_ in described} != {"JSON"}:
            # It holds no records.
            return self.source, []
        rows = _with_each_digit(connection, self._records, [name for name, *_ in described]) or self.source
        return rows, json_columns(connection, rows)

    def _given(self, connection: duckdb.DuckDBPyConnection, columns: list[FileColumn]) -> list[FileColumn]:
        """The columns with the types of `NAME.schema.json`."""
        types = {name.casefold(): (name, type_) for name, type_ in _read_types(self.types_path).items()}
        for unknown in types.keys() - {column.name.casefold() for column in columns}:
            raise WarehouseError(
                f"{self.types_path}: {self.path.name} has no column `{types[unknown][0]}`",
                hint=did_you_mean(unknown, [column.name for column in columns]),
            )
        given = []
        for column in columns:
            name, type_ = types.get(column.name.casefold(), ("", ""))
            try:
                given.append(self._cast(connection, column, type_) if type_ else column)
            except duckdb.Error:
                raise WarehouseError(
                    f"{self.types_path}: `{name}` has the type {type_}, which DuckDB does not have",
                    hint="Write a type of DuckDB, such as VARCHAR, BIGINT, DECIMAL(18,2) or TIMESTAMP.",
                ) from None
        return given

    def _cast(self, connection: duckdb.DuckDBPyConnection, column: FileColumn, type_: str) -> FileColumn:
        (is_text,) = connection.execute(f"SELECT typeof(CAST(NULL AS {type_})) = 'VARCHAR'").fetchone() or (False,)
        value = column.text
        if self.kind not in _DIALECTS and not is_text:
            value = quote_identifier(column.name)
        cast = value if is_text else f"CAST({value} AS {type_})"
        if value != column.text and "STRUCT" in type_.upper():
            # From JSON itself no struct is made without each of its members, and VARIANT rounds numbers.
            lenient = f"from_json({value}, {quote_literal(json.dumps(type_))})"
            fits = f"CAST({value}::VARIANT AS {type_}) IS NOT NULL"
            cast = f"coalesce(TRY_CAST({value} AS {type_}), CASE WHEN {fits} THEN {lenient} END)"
        return replace(column, type=type_, value=cast, suggested="", is_suggested="")


def one_file(path: Path) -> str:
    """*path* as DuckDB's readers take it: for them `*`, `?` and `[` begin a pattern."""
    # A backslash before one takes its meaning, and then the name as it is stands for itself.
    return str(path) if "\\" in str(path) else re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def tables(folder: Path) -> list[FileTable]:
    """The tables of *folder*; names may repeat."""
    found = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()) if _may_be_file(path))
    files = [FileTable(name=m[1], kind=(m[2] or m[3]).lower(), path=path) for m, path in found if m]
    types = {file.types_path for file in files}
    return [file for file in files if file.path not in types]


def _may_be_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A link to where this user may not look.
        return True


#: The rows of a file and what their columns are, by its path, size and time.
TYPES: dict[tuple[str, int, int], tuple[str, list[FileColumn]]] = {}

#: A number with a fraction or an exponent, as a regular expression; and one so long that a DOUBLE may not hold it.
_FRACTION, _LONG, _LONG_CHARACTERS = "[0-9]+[.eE][-+.eE0-9]*", "[0-9][0-9.eE]{16}", 17


def _with_each_digit(connection: duckdb.DuckDBPyConnection, records: str, names: list[str]) -> str | None:
    """SQL for the rows of JSON *records*, with columns *names*; None where DuckDB's reader keeps each number.

    Of members of one name in a record, which that reader refuses, the last one counts.
    """
    bare = f"regexp_replace(json, '{JSON_STRING}', '', 'g')"
    longest = f"list_max(list_transform(regexp_extract_all({bare}, '{_FRACTION}'), lambda n: strlen(n)))"
    is_long = f"CASE WHEN regexp_matches(json, '{_LONG}') THEN {longest} >= {_LONG_CHARACTERS} END"
    is_twice = "list_unique(json_keys(json)) < len(json_keys(json))"
    found = connection.execute(f"SELECT bool_or({is_long}), bool_or({is_twice}) FROM {records}").fetchone()
    members = _members(connection, records) if found and any(found) else []
    if not found or not members or len(members) != len(names):
        return None
    record = numbers_as_text("json")
    if found[1]:
        record = f"CAST(CAST(CAST({record} AS JSON) AS VARIANT) AS JSON)"
    places = ", ".join(quote_literal(f"/{m.replace('~', '~0').replace('/', '~1')}#") for m in members)
    each = f"SELECT json_extract({record}, [{places}]) AS found FROM {records}"
    texts = (text_as_numbers(f"nullif(found[{i}]::VARCHAR, 'null')") for i in range(1, len(names) + 1))
    selected = ", ".join(f"{text}::JSON AS {quote_identifier(c)}" for text, c in zip(texts, names, strict=True))
    return f"(SELECT {selected} FROM ({each}))"


def _members(connection: duckdb.DuckDBPyConnection, records: str) -> list[str]:
    """The names of the members of JSON *records*, in the order in which they come."""
    keys = f"SELECT json_keys(json) AS keys, row_number() OVER () AS record FROM {records}"
    each = f"SELECT unnest(keys) AS name, unnest(range(len(keys))) AS place, record FROM ({keys})"
    found = connection.execute(f"SELECT name FROM ({each}) GROUP BY name ORDER BY min((record, place))").fetchall()
    return [name for (name,) in found]


def _read_types(path: Path) -> dict[str, str]:
    """The types that the file at *path* gives columns; none without a file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(t, str) and _TYPE.fullmatch(t) for t in found.values()):
        raise WarehouseError(
            f"{path}: it is no JSON object of columns and types", hint='Write it as {"zip": "VARCHAR"}.'
        )
    return found
