"""A result on its way into DuckDB: its batches read ahead and checked, then each row as SQL.

SQL gives a row its key, its typed values, its fingerprint, and the reason why it cannot be sent.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from syncer.model.types import DeviceFields, PersonKey, ValueForm
from syncer.snapshot import devices, event_rows, visitors
from syncer.snapshot.clean_text import fault_of, is_clean, is_text
from syncer.snapshot.columns import Attribute, ColumnMap, ResultSchema, StoredColumn
from syncer.snapshot.identifiers import key_of, phone_fault
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import last_of_each_name
from syncer.snapshot.values import (
    ColumnType,
    as_key,
    as_scanned,
    as_sent,
    canonical,
    hashed,
    holds_members,
    json_faults,
    literal,
    scanned_type,
    sum_of,
)

#: How far reading may be before staging: so many batches, of less than so many bytes together.
_BATCHES_AHEAD = 4
_BYTES_AHEAD = 8_000_000

#: How much longer rows must be than all before them, or how many more there must be, to need more memory.
_LONGER = 1.25
_MANY = 1_000_000

#: Told how many rows were read so far.
Progress = Callable[[int], None]


class ResultStream:
    """One result, which is streamed once.

    Columns are called `r` and their position, since DuckDB takes names that differ only by case for the same;
    `broken` is what is wrong with a row's text, or NULL.
    """

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        *,
        used: Sequence[int],
        remembered: Sequence[int] = (),
        progress: Progress = lambda rows: None,
    ) -> None:
        """Nothing is read yet.

        Shapes:
            used: the positions of the columns to pass on.
            remembered: the positions whose values `seen` gives afterwards.
        """
        self._reader = reader
        self._used = tuple(sorted(set(used)))
        self._remembered = tuple(f"r{i}" for i in sorted(set(remembered)))
        self._progress = progress
        self._make_room: Callable[[int, int], None] = lambda row_bytes, rows: None
        self._names = [reader.schema.names[i] for i in self._used]
        fields = [pa.field(f"r{i}", scanned_type(reader.schema.field(i).type)) for i in self._used]
        self.schema = pa.schema([*fields, pa.field("broken", pa.string())])
        self._seen: list[pa.RecordBatch] = []
        #: Rows read so far.
        self.rows = 0
        self._row_bytes = self._measured_rows = 0
        #: What ended the reading early; DuckDB would lose its type.
        self.failure: BaseException | None = None

    def stream(self) -> pa.RecordBatchReader:
        """The rows, as they are read."""
        return pa.RecordBatchReader.from_batches(self.schema, self._checked())

    def read(self, session: Session, statement: str, make_room: Callable[[int, int], None]) -> None:
        """Run a statement that reads the table `incoming` to its end; raises what the result's reader raised.

        *make_room* gets the bytes of a row and how many there are: before rows that are longer than those before are
        handed on, for each million rows, and at the end.
        """
        self._make_room = make_room
        # DuckDB takes a stream for tiny, and would hold all of it in memory in place of the snapshot.
        session.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        session.connection.register("incoming", self.stream())
        try:
            # Not by the session, which may run it again: what is left of a stream is no result.
            session.connection.execute(statement)
        except Exception:
            if self.failure:
                raise self.failure from None
            raise
        finally:
            session.connection.unregister("incoming")
            session.execute("RESET disabled_optimizers")

    def seen(self) -> pa.Table:
        """The remembered columns of every row so far."""
        return pa.Table.from_batches(self._seen, pa.schema([self.schema.field(name) for name in self._remembered]))

    def _checked(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in _read_ahead(self._reader):
                checked = self._looked_through(batch)
                if self._remembered:
                    self._seen.append(checked.select(list(self._remembered)))
                self._measure(checked)
                yield checked
                self.rows += batch.num_rows
                self._progress(self.rows)
        except BaseException as exc:
            self.failure = exc
            raise
        self._make_room(self._row_bytes, self.rows)

    def _measure(self, batch: pa.RecordBatch) -> None:
        row_bytes = batch.nbytes // max(1, batch.num_rows)
        is_longer, are_many = row_bytes > self._row_bytes * _LONGER, self.rows >= self._measured_rows + _MANY
        if is_longer or are_many:
            self._row_bytes, self._measured_rows = max(row_bytes, self._row_bytes), self.rows
            self._make_room(self._row_bytes, self.rows)

    def _looked_through(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            as_scanned(array, field.type)
            for array, field in zip((batch.column(i) for i in self._used), self.schema, strict=False)
        ]
        broken = pa.nulls(batch.num_rows, pa.string())
        if not all(is_clean(array) for array in arrays):
            broken = self._without_broken_text(arrays, batch.num_rows)
        return pa.RecordBatch.from_arrays([*arrays, broken], schema=self.schema)

    def _without_broken_text(self, arrays: list[pa.Array], rows: int) -> pa.Array:
        """Put NULL where text cannot be sent; returns what is wrong with each row."""
        broken: list[str | None] = [None] * rows
        for i, array in enumerate(arrays):
            if not is_text(array.type) or is_clean(array):
                continue
            wide = pa.types.is_large_string(array.type)
            values = array.view(pa.large_binary() if wide else pa.binary()).to_pylist()
            for row, value in enumerate(values):
                if value is not None and (fault := fault_of(value)):
                    values[row] = None
                    broken[row] = f"column `{self._names[i]}` {fault}"
            arrays[i] = pa.array([None if value is None else value.decode() for value in values], array.type)
        return pa.array(broken, pa.string())


def _read_ahead(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Let the warehouse's batches be read while earlier ones are staged; who stops early waits for nothing."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        upcoming = deque([worker.submit(next, reader, None)])
        while (batch := upcoming.popleft().result()) is not None:
            most = min(_BATCHES_AHEAD, max(1, _BYTES_AHEAD // max(1, batch.nbytes)))
            upcoming.extend(worker.submit(next, reader, None) for _ in range(most - len(upcoming)))
            yield batch
    finally:
        worker.shutdown(wait=False, cancel_futures=True)


#: To be raised whenever equal rows of a result may be stored, or quarantined, otherwise than before.
_RULES = 2


def key_sql(schema: ResultSchema) -> list[str]:
    """SQL for each column of a scanned row's key."""
    return [as_key(key.kind, _scanned(key), fold=i in schema.folded_keys) for i, key in enumerate(schema.keys)]


def staged_rows_sql(session: Session, layout: ColumnMap, *, every_row: bool) -> str:
    """SQL that reads `incoming` (see ResultStream) into the temporary table `staged`.

    Shapes:
        staged: k…, of events `event_rows.COLUMNS`, c…, nulled (values taken for NULL), fingerprint, fault, row_id.
            Without *every_row*, rows whose fingerprint the snapshot has are left out, and a line that has a row_id is
            no row of the result, but the place of a row of the snapshot that none matched.
    """
    schema, keys = layout.schema, session.keys
    incoming = "incoming"
    if constants := [f"{literal(a.constant)} AS r{a.position}" for a in schema.attributes if a.constant is not None]:
        incoming = f"(SELECT *, {', '.join(constants)} FROM incoming)"
    source = f"SELECT CASE WHEN broken IS NULL THEN {_fingerprint(layout)} END AS p, * FROM {incoming}"
    every = f"SELECT *, NULL::BIGINT AS row_id FROM ({source})"
    source = every if every_row else _differing(session, source, schema)
    fed = [(c, c.fed) for c in layout.columns if c.fed is not None]
    values = [f"{sql} AS {key}" for sql, key in zip(key_sql(schema), keys, strict=True)]
    values += [f"{_stored(c, a)} AS {c.physical}" for c, a in fed] + event_rows.columns_sql(schema, _scanned)
    kept = ", ".join([*keys, *event_rows.names_sql(session, schema), *(c.physical for c, _ in fed), "nulled", "row_id"])
    return (
        f"CREATE TEMP TABLE staged AS SELECT {kept}, CASE WHEN nulled = 0 THEN p END AS fingerprint, "
        f"CASE WHEN row_id IS NULL THEN {_fault_sql(session, layout, fed)} END AS fault "
        f"FROM (SELECT *, {', '.join(values)}, {_nulled_sql(fed)} AS nulled FROM ({source}))"
    )


def _differing(session: Session, scanned: str, schema: ResultSchema) -> str:
    """SQL for the rows of *scanned* whose fingerprint the snapshot lacks, and the ids of its rows that none matched.

    Fingerprints alone are compared, and ids kept of the snapshot's rows: ten million of them fit into memory.
    """
    k = session.k
    known = "SELECT fingerprint AS p, rowid AS row_id FROM snapshot"
    open_rows = f"SELECT {k} FROM in_doubt UNION SELECT {k} FROM kept"
    if schema.definition.incremental:
        open_rows += f" UNION SELECT {k} FROM rejections"
    if session.count(f"SELECT count(*) FROM ({open_rows})"):
        known = (
            f"SELECT CASE WHEN d.k1 IS NULL THEN fingerprint END AS p, h.rowid AS row_id FROM snapshot h "
            f"LEFT JOIN ({open_rows}) d ON {session.same_keys('h', 'd')}"
        )
    how = "LEFT" if schema.definition.incremental else "FULL"
    return (
        f"SELECT s.*, CASE WHEN s.arrived IS NULL THEN o.row_id END AS row_id "
        f"FROM (SELECT *, TRUE AS arrived FROM ({scanned})) s {how} JOIN ({known}) o ON s.p = o.p "
        "WHERE s.arrived IS NULL OR o.row_id IS NULL"
    )


def _fingerprint(layout: ColumnMap) -> str:
    """SQL for a number that is the same for rows with the same values, read by the same rules."""
    schema = layout.schema
    read = [(a.name, a.position, a.kind, str(a.type), *([a.normaliser] if a.normaliser else ())) for a in schema.used]
    stored = [(c.name, c.type, c.fed is not None) for c in layout.compared]
    # Where a store takes values in a form of its own, types that meet as JSON are stored in it.
    forms = [(c.name, c.form) for c in layout.fed if _is_mixed(c) and c.form is not ValueForm.EXACT]
    rules = repr((_RULES, read, stored, schema.keeps_nulls, *forms)).encode()
    seed = int.from_bytes(hashlib.sha256(rules).digest()[:8])
    used = {a.position: a.type for a in schema.used}
    values = [hashed(type_, f"r{position}") for position, type_ in sorted(used.items(), key=lambda item: item[0])]
    return f"xor(hash({', '.join(values)}), {seed}::UBIGINT)"


def _nulled_sql(fed: list[tuple[StoredColumn, Attribute]]) -> str:
    """SQL for how many values of a row are taken for NULL."""
    numbers = (a for _, a in fed if a.kind.may_be_infinite and not (a.is_of_device or a.queried_as))
    nulled = [f"CAST({_present(a)} AND {_scanned(a)} IS NULL AS INTEGER)" for a in numbers]
    return sum_of(nulled)


def _scanned(attribute: Attribute) -> str:
    """SQL for the canonical value of a scanned column."""
    value = f"r{attribute.position}"
    if attribute.is_of_device:
        return devices.read(attribute.name, attribute.type, value)
    if attribute.is_visitor:
        return visitors.read(attribute, value)
    if attribute.queried_as is not None:
        from syncer.snapshot import conversions

        return conversions.read(attribute, value)
    return f"({canonical(attribute.kind, attribute.type, value)})"


def _present(attribute: Attribute) -> str:
    return f"r{attribute.position} IS NOT NULL"


def _stored(column: StoredColumn, attribute: Attribute) -> str:
    value = _scanned(attribute)
    if attribute.kind is ColumnType.JSON:
        value = last_of_each_name(value)
    if not _is_mixed(column):
        return value
    return f"CASE WHEN {value} IS NOT NULL THEN {as_sent(attribute.kind, value, column.form)} END"


def _is_mixed(column: StoredColumn) -> bool:
    """Whether the result's type is another than the snapshot's, which is JSON then."""
    return column.fed is not None and column.fed.kind is not column.type


def _fault_sql(session: Session, layout: ColumnMap, fed: list[tuple[StoredColumn, Attribute]]) -> str:
    """SQL for why a row cannot be sent, NULL where it can; names columns, never values."""
    schema, cases = layout.schema, [("broken IS NOT NULL", "broken")]
    for key, k in zip(schema.keys, session.keys, strict=True):
        cases += _key_faults(session, schema, key, k)
    target = schema.definition.target
    identifiers = schema.identifiers if target.entity.traits.has_other_identifiers else ()
    if target.merged_key is not None and target.merged_key is target.person_key:
        cases.append(("k1 = k2", literal("a person cannot be merged with themselves")))
    for _, a in fed:
        if a.kind is ColumnType.JSON:
            cases += json_faults(a.name, _scanned(a), is_given=_present(a))
            if a.name in identifiers:
                cases.append((holds_members(_scanned(a)), literal(f"`{a.name}` is a JSON object or array")))
        if a.name == PersonKey.PHONE and a.name in identifiers:
            cases.append(phone_fault(a.name, key_of(a.name, a.kind, _scanned(a))))
        if a.queried_as is not None:
            from syncer.snapshot import conversions

            cases.append(conversions.fault_case(a, f"r{a.position}"))
        if a.is_of_device and a.constant is None:
            column = (schema.definition.device or DeviceFields()).columns[a.name]
            cases.append(devices.fault(a.name, column, value=_scanned(a), is_given=_present(a)))
    if visitor := next((a for a in schema.attributes if a.is_visitor), None):
        cases.append(visitors.fault_case(schema.definition.visitor_column or visitor.name))
    cases += event_rows.fault_cases(layout, session, _key_faults)
    return f"CASE {' '.join(f'WHEN {test} THEN {reason}' for test, reason in cases)} END"


def _key_faults(session: Session, schema: ResultSchema, key: Attribute, k: str) -> list[tuple[str, str]]:
    name, faults = f"`{key.name}`", []
    if key.kind is ColumnType.JSON:
        faults += json_faults(key.name, _scanned(key), is_given=_present(key))
        faults.append((holds_members(_scanned(key)), literal(f"{name} is a JSON object or array, which is no key")))
    faults.append((f"{k} IS NULL", literal(f"{name} is NULL")))
    if not session.may_be_blank:
        faults.append((f"{k} = ''", literal(f"{name} is blank")))
    if longest := schema.longest(key):
        faults.append((f"strlen({k}) > {longest}", literal(f"{name} is longer than {longest} bytes")))
    if schema.is_phone(key):
        faults.append(phone_fault(key.name, k))
    return faults
