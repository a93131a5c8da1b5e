"""The values of attributes as `attributes.yml` has them: in its type, and spelled by its normaliser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from syncer.definitions.attribute_rules import not_named
from syncer.model.attribute_rules import AttributeRule, AttributeType, Normaliser
from syncer.model.spelling import BLANKS
from syncer.model.types import SyncDefinition
from syncer.snapshot.attributes import Attribute
from syncer.snapshot.identifiers import PHONE
from syncer.snapshot.spelling import float_digits, shortest_digits
from syncer.snapshot.values import ColumnType, as_json, canonical, literal

_BLANKS = f"'{BLANKS}'"
_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?"
_WHOLE = "[+-]?[0-9]{1,19}([.]0*)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_YES, _NO = "('true', 't', 'yes', 'y', 'on', '1')", "('false', 'f', 'no', 'n', 'off', '0')"

#: What a value is none of, for people.
_NONE = {
    AttributeType.TEXT: "no text",
    AttributeType.INTEGER: "no whole number",
    AttributeType.NUMBER: "no number",
    AttributeType.BOOLEAN: "neither true nor false",
    AttributeType.TIMESTAMP: "no time",
    AttributeType.DATE: "no date",
}


def of_result(definition: SyncDefinition, attributes: Sequence[Attribute]) -> tuple[Attribute, ...]:
    """The attributes of a result as the rules have them.

    Raises:
        DefinitionError: the sync may not write one of them.
    """
    for error in not_named(definition, [one.name for one in attributes]):
        raise error
    rules = definition.rules
    return tuple(_ruled(one, rules[one.name]) if one.name in rules else one for one in attributes)


def _ruled(attribute: Attribute, rule: AttributeRule) -> Attribute:
    if rule.type is None and rule.normaliser is None:
        return attribute
    kind = ColumnType(rule.type or AttributeType.TEXT)
    return replace(attribute, kind=kind, queried_as=attribute.kind, normaliser=rule.normaliser)


def read(attribute: Attribute, value: str) -> str:
    """SQL for the stored form of a scanned *value*; NULL where it is blank, or cannot be read so."""
    source = attribute.queried_as or attribute.kind
    found = f"({canonical(source, attribute.type, value)})"
    if attribute.kind is not ColumnType.TEXT:
        return f"({_typed(attribute.kind, source, found)})"
    text = _text(source, found)
    return f"({_normalised(attribute.normaliser, text) if attribute.normaliser else text})"


def fault_case(attribute: Attribute, value: str) -> tuple[str, str]:
    """SQL of a test, with that of the reason why a row that passes it cannot be sent; *value* as for `read`."""
    source = attribute.queried_as or attribute.kind
    given = f"trim({_text(source, f'({canonical(source, attribute.type, value)})')}, {_BLANKS}) <> ''"
    what = _NONE[AttributeType(attribute.kind)]
    if attribute.normaliser is Normaliser.E164:
        what = "no phone number that can be written in E.164, such as +4930901820: the country code is missing"
    return f"{given} AND {read(attribute, value)} IS NULL", literal(f"`{attribute.name}` is {what}")


def _text(source: ColumnType, value: str) -> str:
    """SQL for a stored value as text."""
    match source:
        case ColumnType.TEXT | ColumnType.BINARY:
            return value
        case ColumnType.JSON:
            is_text = f"json_valid({value}) AND json_type({value}) = 'VARCHAR'"
            return f"CASE WHEN {is_text} THEN json_extract_string({value}, '$') ELSE {value} END"
        case _:
            return f"trim({as_json(source, value)}, '\"')"


def _normalised(normaliser: Normaliser, text: str) -> str:
    trimmed = f"trim({text}, {_BLANKS})"
    match normaliser:
        case Normaliser.TRIM:
            return trimmed
        case Normaliser.LOWER:
            return f"lower({trimmed})"
        case Normaliser.TITLE:
            words = f"regexp_extract_all(lower({trimmed}), '[^\\s-]+[\\s-]*')"
            return f"array_to_string(list_transform({words}, lambda word: upper(word[1]) || word[2:]), '')"
        case Normaliser.E164:
            # As in +49 (0)30: it is dialled only without the country code.
            shown = f"regexp_replace({trimmed}, '^(([+]|00)[^(]*)[(]0[)]', '\\1')"
            digits = f"regexp_replace({shown}, '[\\s./()\\x{{2010}}-\\x{{2015}}-]', '', 'g')"
            number = f"regexp_replace({digits}, '^00', '+')"
            return f"CASE WHEN regexp_full_match({number}, '{PHONE}') THEN {number} END"


def _typed(kind: ColumnType, source: ColumnType, value: str) -> str:
    if kind is source:
        return value
    text = f"nullif(trim({_text(source, value)}, {_BLANKS}), '')"
    match kind:
        case ColumnType.INTEGER:
            whole = f"TRY_CAST(split_part({text}, '.', 1) AS BIGINT)"
            return f"CASE WHEN regexp_full_match({text}, '{_WHOLE}') THEN {whole} END"
        case ColumnType.NUMBER:
            if source is ColumnType.FLOAT:
                return f"CASE WHEN {value} IS NOT NULL THEN {shortest_digits(float_digits(value))} END"
            digits = shortest_digits(f"ltrim({text}, '+')")
            return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN {digits} END"
        case ColumnType.BOOLEAN:
            word = f"lower({text})"
            return f"CASE WHEN {word} IN {_YES} THEN TRUE WHEN {word} IN {_NO} THEN FALSE END"
        case ColumnType.TIMESTAMP:
            return _time(source, value, text)
        case _:
            return f"CAST({_time(source, value, text)} AS DATE)"


def _time(source: ColumnType, value: str, text: str) -> str:
    """SQL for the time in UTC, as a TIMESTAMP."""
    match source:
        case ColumnType.TIMESTAMP | ColumnType.DATE:
            return f"CAST({value} AS TIMESTAMP)"
        case ColumnType.INTEGER | ColumnType.NUMBER | ColumnType.FLOAT:
            micros = f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1e6) AS BIGINT)"
            return f"CASE WHEN abs({micros}) <= 253402300799000000 THEN make_timestamp({micros}) END"
        case _:
            is_dated = f"regexp_matches({text}, '^{_DAY}')"
            return f"CASE WHEN {is_dated} THEN make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ))) END"
