"""A result's rows as SQL: a row's key, its typed values, its fingerprint, and the reason why it cannot be sent."""

from __future__ import annotations

import hashlib

from syncer.model.types import DeviceFields, PersonKey, ValueForm
from syncer.snapshot import devices, event_rows, visitors
from syncer.snapshot.columns import LONGEST_KEY, Attribute, ColumnMap, ResultSchema, StoredColumn
from syncer.snapshot.identifiers import key_of, phone_fault, text_of
from syncer.snapshot.result_stream import PRINTED
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import last_of_each_name
from syncer.snapshot.values import (
    ColumnType,
    as_key,
    as_sent,
    canonical,
    hashed,
    holds_members,
    json_faults,
    literal,
    sum_of,
)

#: To be raised whenever equal rows of a result may be stored, or quarantined, otherwise than before.
RULES = 2


def key_sql(schema: ResultSchema) -> list[str]:
    """SQL for each column of a scanned row's key."""
    return [as_key(key.kind, _scanned(key), fold=i in schema.folded_keys) for i, key in enumerate(schema.keys)]


def staged_rows_sql(session: Session, layout: ColumnMap, *, every_row: bool, is_printed: bool = False) -> str:
    """SQL that reads `incoming` (see ResultStream) into the temporary table `staged`.

    Shapes:
        staged: k…, of events `event_rows.COLUMNS`, where the result has it `previous`, c…, nulled (values taken for
            NULL), fingerprint, fault, row_id. Without *every_row*, rows whose fingerprint the snapshot has are left
            out, and a line that has a row_id is no row of the result, but the place of a row of the snapshot that none
            matched.
        is_printed: the result has fingerprints of its own; see ResultStream.
    """
    schema, keys = layout.schema, session.keys
    fingerprint = PRINTED if is_printed else _fingerprint(layout)
    incoming = "incoming"
    if constants := [f"{literal(a.constant)} AS r{a.position}" for a in schema.attributes if a.constant is not None]:
        incoming = f"(SELECT *, {', '.join(constants)} FROM incoming)"
    source = f"SELECT CASE WHEN broken IS NULL THEN {fingerprint} END AS p, * FROM {incoming}"
    every = f"SELECT *, NULL::BIGINT AS row_id FROM ({source})"
    source = every if every_row else _differing(session, source, schema)
    fed = [(c, c.fed) for c in layout.columns if c.fed is not None]
    values = [f"{sql} AS {key}" for sql, key in zip(key_sql(schema), keys, strict=True)]
    values += [f"{_stored(c, a)} AS {c.physical}" for c, a in fed] + event_rows.columns_sql(schema, _scanned)
    own = event_rows.names_sql(session, schema)
    if schema.previous is not None:
        values.append(f"{text_of(PersonKey.EMAIL, schema.previous.kind, _scanned(schema.previous))} AS previous")
        own = ["previous"]
    kept = ", ".join([*keys, *own, *(c.physical for c, _ in fed), "nulled", "row_id"])
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


def repeats_a_matched_row(session: Session, schema: ResultSchema, same: int, matched: int) -> bool:
    """Whether a row of the result may have the key of one that was left out of `staged`, for it did not change."""
    if schema.definition.incremental or same > matched:
        return True
    if not session.any("SELECT 1 FROM staged"):
        return False
    # The rows of the snapshot that have a staged key are those that matched no row and are not gone, or there are more.
    met, snapshot, gone = session.rows(
        f"SELECT (SELECT count(*) FROM snapshot SEMI JOIN staged USING ({session.k})), "
        "(SELECT count(*) FROM snapshot), (SELECT count(*) FROM gone)"
    )[0]
    return bool(met > snapshot - matched - gone)


def _fingerprint(layout: ColumnMap) -> str:
    """SQL for a number that is the same for rows with the same values, read by the same rules."""
    schema = layout.schema
    read = [(a.name, a.position, a.kind, str(a.type), *([a.normaliser] if a.normaliser else ())) for a in schema.used]
    stored = [(c.name, c.type, c.fed is not None) for c in layout.compared]
    # Where a store takes values in a form of its own, types that meet as JSON are stored in it.
    forms = [(c.name, c.form) for c in layout.fed if _is_mixed(c) and c.form is ValueForm.UNIX_SECONDS]
    rules = repr((RULES, read, stored, schema.keeps_nulls, *forms)).encode()
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
    if target.merged_key is not None and target.merged_key is target.person_key:
        cases.append(("k1 = k2", literal("a person cannot be merged with themselves")))
    for _, attribute in fed:
        cases += _attribute_faults(schema, attribute)
    if visitor := next((a for a in schema.attributes if a.is_visitor), None):
        cases.append(visitors.fault_case(schema.definition.visitor_column or visitor.name))
    if schema.previous is not None:
        reason = f"`{schema.previous.name}` is longer than {LONGEST_KEY} bytes"
        cases.append((f"strlen(previous) > {LONGEST_KEY}", literal(reason)))
    cases += event_rows.fault_cases(layout, session, _key_faults)
    return f"CASE {' '.join(f'WHEN {test} THEN {reason}' for test, reason in cases)} END"


def _attribute_faults(schema: ResultSchema, a: Attribute) -> list[tuple[str, str]]:
    faults, traits = [], schema.definition.target.entity.traits
    is_identifier = traits.has_other_identifiers and a.name in schema.identifiers
    if a.kind is ColumnType.JSON:
        faults += json_faults(a.name, _scanned(a), is_given=_present(a))
        if is_identifier:
            faults.append((holds_members(_scanned(a)), literal(f"`{a.name}` is a JSON object or array")))
    if a.name == PersonKey.PHONE and is_identifier:
        faults.append(phone_fault(a.name, key_of(a.name, a.kind, _scanned(a))))
    if a.queried_as is not None:
        from syncer.snapshot import conversions

        faults.append(conversions.fault_case(a, f"r{a.position}"))
    if a.is_of_device and a.constant is None:
        column = (schema.definition.device or DeviceFields()).columns[a.name]
        faults.append(devices.fault(a.name, column, value=_scanned(a), is_given=_present(a)))
    return faults


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
