"""Staging: a result's batches become typed rows, and rows that cannot be sent are set aside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from syncer.snapshot.keys import same_keys
from syncer.snapshot.shape import Attribute, Shape
from syncer.snapshot.values import Kind, as_json, as_key, canonical, literal

#: Bytes of UTF-8. Customer.io refuses longer ids (Track API limits), and every store keeps to the same.
LONGEST_KEY = 150

#: How far reading may be before staging.
_BATCHES_AHEAD = 4

#: Told how many rows were read so far.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """An attribute's column in the snapshot file, as it is now and as this run makes it."""

    name: str
    physical: str
    #: Its kind once this run has reshaped the file. Differing kinds meet as JSON.
    kind: Kind
    #: Its kind in the file before this run; None where it is not there yet.
    was: Kind | None
    #: Where this run's result has it.
    fed: Attribute | None

    def staged(self) -> str:
        """SQL for its value in the staged row."""
        return self.physical if self.fed else "NULL"

    def acknowledged(self) -> str:
        """SQL for its value in the snapshot's row, in the new kind."""
        if self.was is None:
            return "NULL"
        if self.was is self.kind:
            return self.physical
        return f"CASE WHEN {self.physical} IS NOT NULL THEN {as_json(self.was, self.physical)} END"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What the query returned, before the comparison. Rows are counted as the query returned them."""

    queried: int
    #: Rows set aside, with the reason in `set_aside`.
    refused: int
    #: Equal rows under one key, beyond the first of each.
    repeated: int
    #: Values without a JSON form (NaN, infinity, years of five digits), taken for NULL.
    taken_for_null: int


def stored_columns(connection: duckdb.DuckDBPyConnection, shape: Shape) -> tuple[StoredColumn, ...]:
    """Match the result's attributes with the file's columns; new ones come last."""
    rows = connection.execute("SELECT name, physical, kind FROM columns").fetchall()
    fed = {a.name: a for a in shape.attributes}
    known = [_known_column(name, physical, Kind(kind), fed.get(name)) for name, physical, kind in rows]
    taken = {c.name for c in known}
    number = max((int(c.physical[1:]) for c in known), default=0)
    new = [a for a in shape.attributes if a.name not in taken]
    return (
        *known,
        *(
            StoredColumn(name=a.name, physical=f"c{number + i}", kind=a.kind, was=None, fed=a)
            for i, a in enumerate(new, start=1)
        ),
    )


def _known_column(name: str, physical: str, was: Kind, fed: Attribute | None) -> StoredColumn:
    kind = was if fed is None or fed.kind is was else Kind.JSON
    return StoredColumn(name=name, physical=physical, kind=kind, was=was, fed=fed)


def stage(
    connection: duckdb.DuckDBPyConnection,
    shape: Shape,
    columns: tuple[StoredColumn, ...],
    reader: pa.RecordBatchReader,
    progress: Progress,
) -> Staged:
    """Read *reader* to its end into the temporary tables `stage` and `set_aside`.

    Shapes:
        stage: k…, c… of the result's columns; a key once.
        set_aside: k… (NULL where the row has none), reason, rows.
    Raises:
        whatever *reader* raises; then there is no `stage`.
    """
    failure: list[BaseException] = []
    incoming = pa.RecordBatchReader.from_batches(
        _incoming_schema(reader.schema), _checked_batches(reader, progress, failure)
    )
    try:
        connection.register("incoming", incoming)
        connection.execute(_stage_sql(shape, columns))
    except Exception:
        if failure:
            raise failure[0] from None
        raise
    finally:
        connection.unregister("incoming")
    queried, refused, lost = connection.execute(
        "SELECT count(*), count(refusal), coalesce(sum(lost), 0) FROM stage"
    ).fetchall()[0]
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    repeated = _settle_repeated_keys(connection, keys)
    if shape.unique is not None:
        _refuse_shared_identifiers(connection, shape, columns)
    refused = _move_refused(connection, keys)
    return Staged(queried=queried, refused=refused, repeated=repeated, taken_for_null=int(lost))


def _incoming_schema(schema: pa.Schema) -> pa.Schema:
    # By position: DuckDB takes column names that differ only by case for the same.
    fields = [pa.field(f"r{i}", _scanned_type(field.type)) for i, field in enumerate(schema)]
    return pa.schema([*fields, pa.field("broken", pa.string())])


def _scanned_type(type_: pa.DataType) -> pa.DataType:
    # Arrow keeps times with a zone in UTC; without it DuckDB need not look the zone up for every value.
    return pa.timestamp("us") if pa.types.is_timestamp(type_) else type_


def _checked_batches(
    reader: pa.RecordBatchReader, progress: Progress, failure: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """Pass batches on; DuckDB would lose the type of an exception, so it is kept in *failure*."""
    schema = _incoming_schema(reader.schema)
    names = reader.schema.names
    rows = 0
    try:
        for batch in _read_ahead(reader):
            arrays, broken = batch.columns, pa.nulls(batch.num_rows, pa.string())
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid:
                arrays, broken = _without_broken_text(batch, names)
            arrays = [
                array.cast(field.type, safe=False) if array.type != field.type else array
                for array, field in zip(arrays, schema, strict=False)
            ]
            yield pa.RecordBatch.from_arrays([*arrays, broken], schema=schema)
            rows += batch.num_rows
            progress(rows)
    except BaseException as exc:
        failure.append(exc)
        raise


def _read_ahead(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Let the warehouse's batches be read while earlier ones are staged; who stops early waits for nothing."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        upcoming = deque(worker.submit(next, reader, None) for _ in range(_BATCHES_AHEAD))
        while (batch := upcoming.popleft().result()) is not None:
            upcoming.append(worker.submit(next, reader, None))
            yield batch
    finally:
        worker.shutdown(wait=False, cancel_futures=True)


def _without_broken_text(batch: pa.RecordBatch, names: list[str]) -> tuple[list[pa.Array], pa.Array]:
    """The batch's columns with NULL for text that is not UTF-8, and what is wrong with each row."""
    arrays, broken = list(batch.columns), [None] * batch.num_rows
    for i, array in enumerate(arrays):
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            continue
        wide = pa.types.is_large_string(array.type)
        values = array.view(pa.large_binary() if wide else pa.binary()).to_pylist()
        for row, value in enumerate(values):
            if value is not None and (offset := _broken_at(value)) is not None:
                values[row] = None
                broken[row] = f"column `{names[i]}` is not valid UTF-8 at byte {offset}"  # type: ignore[call-overload]
        texts = [None if value is None else value.decode() for value in values]
        arrays[i] = pa.array(texts, array.type)
    return arrays, pa.array(broken, pa.string())


def _broken_at(value: bytes) -> int | None:
    try:
        value.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


def _stage_sql(shape: Shape, columns: tuple[StoredColumn, ...]) -> str:
    keys = [
        f"{as_key(key.kind, _scanned(key), fold=shape.fold_key and i == 0)} AS k{i + 1}"
        for i, key in enumerate(shape.keys)
    ]
    fed = [(c, c.fed) for c in columns if c.fed is not None]
    values = [f"{_stored(c, a)} AS {c.physical}" for c, a in fed]
    lost = [
        f"CAST({_present(a)} AND {canonical(a.kind, a.type, f'r{a.position}')} IS NULL AS INTEGER)"
        for _, a in fed
        if a.kind.may_be_infinite
    ]
    inner = ", ".join([*keys, *values, f"{' + '.join(lost) or '0'} AS lost", "*"])
    kept = ", ".join([*(f"k{i + 1}" for i in range(len(keys))), *(c.physical for c, _ in fed), "lost"])
    return (
        f"CREATE OR REPLACE TEMP TABLE stage AS SELECT {kept}, {_refusal_sql(shape, fed)} AS refusal "
        f"FROM (SELECT {inner} FROM incoming)"
    )


def _scanned(attribute: Attribute) -> str:
    """SQL for the canonical value of a scanned column."""
    return f"({canonical(attribute.kind, attribute.type, f'r{attribute.position}')})"


def _present(attribute: Attribute) -> str:
    return f"r{attribute.position} IS NOT NULL"


def _stored(column: StoredColumn, attribute: Attribute) -> str:
    value = _scanned(attribute)
    if column.kind is attribute.kind:
        return value
    return f"CASE WHEN {value} IS NOT NULL THEN {as_json(attribute.kind, value)} END"


def _refusal_sql(shape: Shape, fed: list[tuple[StoredColumn, Attribute]]) -> str:
    """SQL for why a row cannot be sent, NULL where it can; names columns, never values."""
    cases = ["WHEN broken IS NOT NULL THEN broken"]
    for i, key in enumerate(shape.keys, start=1):
        name = f"`{key.name}`"
        cases.append(f"WHEN k{i} IS NULL THEN {literal(f'{name} is NULL')}")
        cases.append(f"WHEN k{i} = '' THEN {literal(f'{name} is blank')}")
        cases.append(f"WHEN contains(k{i}, chr(0)) THEN {literal(f'column {name} holds a NUL character')}")
        if shape.limit_key_bytes:
            text = f"{name} is longer than {LONGEST_KEY} bytes"
            cases.append(f"WHEN strlen(k{i}) > {LONGEST_KEY} THEN {literal(text)}")
    for _, a in fed:
        column = f"column `{a.name}`"
        if a.kind is Kind.TEXT:
            text = literal(f"{column} holds a NUL character")
            cases.append(f"WHEN contains(r{a.position}::VARCHAR, chr(0)) THEN {text}")
        if a.kind is Kind.JSON:
            text = literal(f"{column} is not valid JSON")
            cases.append(f"WHEN {_present(a)} AND NOT json_valid({_scanned(a)}) THEN {text}")
            text = literal(f"{column} holds a NUL character")
            cases.append(f"WHEN contains({_scanned(a)}, '\\u0000') THEN {text}")
    return f"CASE {' '.join(cases)} END"


def _settle_repeated_keys(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> int:
    """Let equal rows count once and refuse those that differ under one key; returns the rows dropped."""
    k, usable = ", ".join(keys), " AND ".join(f"{key} IS NOT NULL" for key in keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {k}, count(*) AS rows FROM stage "
        f"WHERE {usable} GROUP BY {k} HAVING count(*) > 1"
    )
    if not _any(connection, "repeated"):
        return 0
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE ambiguous AS SELECT {k}, count(*) AS rows FROM ("
        f"SELECT DISTINCT * EXCLUDE (lost) FROM stage SEMI JOIN repeated USING ({k})) GROUP BY {k} HAVING count(*) > 1"
    )
    connection.execute(
        f"UPDATE stage SET refusal = coalesce(refusal, 'rows that differ share this key') FROM ambiguous a "
        f"WHERE {same_keys('stage', 'a', keys)}"
    )
    among_repeated = f"FROM stage s SEMI JOIN repeated USING ({k})"
    dropped = connection.execute(
        f"DELETE FROM stage WHERE refusal IS NULL AND rowid IN (SELECT s.rowid {among_repeated}) "
        f"AND rowid NOT IN (SELECT min(s.rowid) {among_repeated} GROUP BY {k})"
    ).fetchall()[0][0]
    return int(dropped)


def _refuse_shared_identifiers(
    connection: duckdb.DuckDBPyConnection, shape: Shape, columns: tuple[StoredColumn, ...]
) -> None:
    """Refuse rows that would give one unique identifier to several people."""
    assert shape.unique is not None
    column = next(c for c in columns if c.fed is shape.unique)
    value = as_key(column.kind, column.physical, fold=shape.unique.name == "email")
    reason = literal(f"several rows have this `{shape.unique.name}`")
    connection.execute(
        f"UPDATE stage SET refusal = {reason} WHERE refusal IS NULL AND {value} IN (SELECT {value} FROM stage "
        f"WHERE {column.physical} IS NOT NULL AND refusal IS NULL GROUP BY {value} HAVING count(*) > 1)"
    )


def _move_refused(connection: duckdb.DuckDBPyConnection, keys: list[str]) -> int:
    """Move refused rows out of `stage`, one line a key and reason; returns how many they were."""
    blanked = ", ".join(f"nullif({key}, '') AS {key}" for key in keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE set_aside AS SELECT {blanked}, min(refusal) AS reason, "
        f"CAST(count(*) AS BIGINT) AS rows FROM stage WHERE refusal IS NOT NULL "
        f"GROUP BY {', '.join(keys)}, CASE WHEN {' OR '.join(f'{key} IS NULL' for key in keys)} THEN refusal END"
    )
    if not _any(connection, "set_aside"):
        return 0
    connection.execute("DELETE FROM stage WHERE refusal IS NOT NULL")
    return int(connection.execute("SELECT sum(rows) FROM set_aside").fetchall()[0][0])


def _any(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())


def with_kinds_kept(columns: tuple[StoredColumn, ...]) -> tuple[StoredColumn, ...]:
    """The columns as they are once the file has been reshaped."""
    return tuple(replace(c, was=c.kind) for c in columns)
