"""Staging: a result's batches become typed rows, and rows that cannot be sent are set aside.

A row of which the result says just what it said when the store acknowledged it is known by its fingerprint, and is not
staged at all: most rows of most runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from syncer.snapshot import quarantine
from syncer.snapshot.columns import StoredColumn, compared
from syncer.snapshot.keys import same_keys
from syncer.snapshot.result_schema import Attribute, ResultSchema
from syncer.snapshot.result_stream import Progress, ResultStream
from syncer.snapshot.values import (
    ColumnType,
    as_json,
    as_key,
    canonical,
    hashed,
    json_holds_infinity,
    json_holds_nul,
    literal,
)

#: Bytes of UTF-8. Customer.io refuses longer ids (Track API limits), and every store keeps to the same.
LONGEST_KEY = 150

#: To be raised whenever equal rows of a result may be stored, or refused, otherwise than before.
_RULES = 1


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
    #: Rows that are as they were when they were acknowledged, and not in `stage`.
    same: int


def stage(
    connection: duckdb.DuckDBPyConnection,
    shape: ResultSchema,
    columns: tuple[StoredColumn, ...],
    reader: pa.RecordBatchReader,
    progress: Progress,
    *,
    every_row: bool,
) -> Staged:
    """Read *reader* to its end into the temporary tables `stage`, `gone` and `set_aside`.

    Shapes:
        every_row: whether rows that did not change are staged too.
        stage: k…, c… of the result's columns, fingerprint; a key once.
        gone: k…; what the snapshot has and the result has not; empty for an incremental query.
        set_aside: k… (NULL where the row has none), reason, rows.
    Raises:
        whatever *reader* raises; then there is no `stage`.
    """
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    acknowledged = _scalar(connection, "SELECT count(*) FROM snapshot")
    # A unique identifier is compared with those of all rows, and a collection is measured whole.
    every_row |= shape.unique is not None or shape.definition.target.collection is not None or acknowledged == 0
    incoming = ResultStream(
        reader,
        used=[a.position for a in (*shape.keys, *shape.attributes)],
        remembered=[] if every_row else [key.position for key in shape.keys],
        progress=progress,
    )
    connection.execute("DROP TABLE IF EXISTS stage")
    _read(connection, incoming, _stage_sql(connection, shape, columns, every_row=every_row))
    unmatched = acknowledged if every_row else _split_unmatched(connection)
    _find_gone(connection, keys, shape, every_row=every_row)
    staged, lost = connection.execute("SELECT count(*), coalesce(sum(lost), 0) FROM stage").fetchall()[0]
    same = incoming.rows - staged
    repeated, no_more = quarantine.settle_repeated_keys(
        connection,
        keys,
        columns,
        seen=incoming.seen if same and _repeats_a_matched_row(connection, keys, shape, same, unmatched) else None,
        key_sql=_key_sql(shape),
    )
    if shape.unique is not None:
        quarantine.refuse_shared_identifiers(connection, shape, columns)
    refused = quarantine.move_refused(connection, keys)
    return Staged(
        queried=incoming.rows, refused=refused, repeated=repeated, taken_for_null=int(lost), same=same - no_more
    )


def _read(connection: duckdb.DuckDBPyConnection, incoming: ResultStream, statement: str) -> None:
    try:
        connection.register("incoming", incoming.stream())
        with _joined_as_written(connection):
            connection.execute(statement)
    except Exception:
        if incoming.failure:
            raise incoming.failure from None
        raise
    finally:
        connection.unregister("incoming")


@contextmanager
def _joined_as_written(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let the result stream past the snapshot: DuckDB takes a stream for tiny, and would hold all of it instead."""
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    try:
        yield
    finally:
        connection.execute("RESET disabled_optimizers")


def _split_unmatched(connection: duckdb.DuckDBPyConnection) -> int:
    """Move the places of snapshot rows that no row matched from `stage` to `unmatched`; returns how many they are."""
    connection.execute("CREATE OR REPLACE TEMP TABLE unmatched AS SELECT place FROM stage WHERE place IS NOT NULL")
    unmatched = _scalar(connection, "SELECT count(*) FROM unmatched")
    if unmatched:
        connection.execute("DELETE FROM stage WHERE place IS NOT NULL")
    return unmatched


def _find_gone(connection: duckdb.DuckDBPyConnection, keys: list[str], shape: ResultSchema, *, every_row: bool) -> None:
    k = ", ".join(keys)
    source = "snapshot" if every_row else "snapshot h JOIN unmatched u ON h.rowid = u.place"
    none = " LIMIT 0" if shape.definition.incremental else ""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE gone AS SELECT {k} FROM {source} ANTI JOIN stage USING ({k}){none}"
    )


def _repeats_a_matched_row(
    connection: duckdb.DuckDBPyConnection, keys: list[str], shape: ResultSchema, same: int, unmatched: int
) -> bool:
    """Whether a row of the result may have the key of one that was left out of `stage`, for it did not change."""
    if shape.definition.incremental or same > _scalar(connection, "SELECT count(*) FROM snapshot") - unmatched:
        return True
    return bool(
        _scalar(
            connection,
            f"SELECT count(*) FROM (SELECT h.rowid AS place FROM snapshot h SEMI JOIN stage USING ({', '.join(keys)})) "
            "ANTI JOIN unmatched USING (place)",
        )
    )


def _key_sql(shape: ResultSchema) -> list[str]:
    return [as_key(key.kind, _scanned(key), fold=shape.fold_key and i == 0) for i, key in enumerate(shape.keys)]


def _stage_sql(
    connection: duckdb.DuckDBPyConnection, shape: ResultSchema, columns: tuple[StoredColumn, ...], *, every_row: bool
) -> str:
    keys = [f"k{i + 1}" for i in range(len(shape.keys))]
    source = f"SELECT CASE WHEN broken IS NULL THEN {_fingerprint(shape, columns)} END AS p, * FROM incoming"
    if every_row:
        source = f"SELECT *, NULL::BIGINT AS place FROM ({source})"
    else:
        source = _differing(connection, source, keys, shape)
    fed = [(c, c.fed) for c in columns if c.fed is not None]
    values = [f"{sql} AS {key}" for sql, key in zip(_key_sql(shape), keys, strict=True)]
    values += [f"{_stored(c, a)} AS {c.physical}" for c, a in fed]
    kept = ", ".join([*keys, *(c.physical for c, _ in fed), "lost", "place"])
    return (
        f"CREATE TEMP TABLE stage AS SELECT {kept}, CASE WHEN lost = 0 THEN p END AS fingerprint, "
        f"CASE WHEN place IS NULL THEN {_refusal_sql(shape, fed)} END AS refusal "
        f"FROM (SELECT *, {', '.join(values)}, {_lost_sql(fed)} AS lost FROM ({source}))"
    )


def _differing(connection: duckdb.DuckDBPyConnection, scanned: str, keys: list[str], shape: ResultSchema) -> str:
    """SQL for the rows of *scanned* whose fingerprint the snapshot has not, and the places of its rows left over.

    Fingerprints alone are compared, and places kept of the snapshot's rows: ten million of them fit into memory.
    """
    k = ", ".join(keys)
    held = "SELECT fingerprint AS p, rowid AS place FROM snapshot"
    open_rows = f"SELECT {k} FROM in_doubt UNION SELECT {k} FROM kept"
    if shape.definition.incremental:
        open_rows += f" UNION SELECT {k} FROM rejections"
    if _scalar(connection, f"SELECT count(*) FROM ({open_rows})"):
        held = (
            f"SELECT CASE WHEN d.k1 IS NULL THEN fingerprint END AS p, h.rowid AS place FROM snapshot h "
            f"LEFT JOIN ({open_rows}) d ON {same_keys('h', 'd', keys)}"
        )
    how = "LEFT" if shape.definition.incremental else "FULL"
    return (
        f"SELECT s.*, CASE WHEN s.arrived IS NULL THEN o.place END AS place "
        f"FROM (SELECT *, TRUE AS arrived FROM ({scanned})) s {how} JOIN ({held}) o ON s.p = o.p "
        "WHERE s.arrived IS NULL OR o.place IS NULL"
    )


def _fingerprint(shape: ResultSchema, columns: tuple[StoredColumn, ...]) -> str:
    """SQL for a number that is the same for rows of which the result says the same, read by the same rules."""
    told = [(a.name, a.position, a.kind, str(a.type)) for a in (*shape.keys, *shape.attributes)]
    stored = [(c.name, c.kind, c.fed is not None) for c in compared(shape, columns)]
    rules = repr((_RULES, told, stored, shape.keeps_nulls)).encode()
    seed = int.from_bytes(hashlib.sha256(rules).digest()[:8])
    used = {a.position: a.type for a in (*shape.keys, *shape.attributes)}
    values = [hashed(type_, f"r{position}") for position, type_ in sorted(used.items(), key=lambda item: item[0])]
    return f"xor(hash({', '.join(values)}), {seed}::UBIGINT)"


def _lost_sql(fed: list[tuple[StoredColumn, Attribute]]) -> str:
    """SQL for how many values of a row are taken for NULL."""
    lost = [f"CAST({_present(a)} AND {_scanned(a)} IS NULL AS INTEGER)" for _, a in fed if a.kind.may_be_infinite]
    return " + ".join(lost) or "0"


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


def _refusal_sql(shape: ResultSchema, fed: list[tuple[StoredColumn, Attribute]]) -> str:
    """SQL for why a row cannot be sent, NULL where it can; names columns, never values."""
    cases = [("broken IS NOT NULL", "broken")]
    for i, key in enumerate(shape.keys, start=1):
        name = f"`{key.name}`"
        cases.append((f"k{i} IS NULL", literal(f"{name} is NULL")))
        cases.append((f"k{i} = ''", literal(f"{name} is blank")))
        if shape.limit_key_bytes:
            cases.append((f"strlen(k{i}) > {LONGEST_KEY}", literal(f"{name} is longer than {LONGEST_KEY} bytes")))
    for _, a in fed:
        if a.kind is ColumnType.JSON:
            column, value = f"column `{a.name}`", _scanned(a)
            cases.append((f"{_present(a)} AND NOT json_valid({value})", literal(f"{column} is not valid JSON")))
            cases.append((json_holds_nul(value), literal(f"{column} holds a NUL character")))
            cases.append((json_holds_infinity(value), literal(f"{column} holds NaN or infinity inside its JSON")))
    return f"CASE {' '.join(f'WHEN {test} THEN {reason}' for test, reason in cases)} END"


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
