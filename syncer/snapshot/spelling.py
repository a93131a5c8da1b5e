"""Numbers and JSON of one value but several spellings: the shortest one, and what counts as equal."""

from __future__ import annotations

from syncer.model.spelling import JSON_STRING, numbers_as_text, text_as_numbers


def trimmed_digits(text: str) -> str:
    """SQL for a decimal's digits without zeros, or a bare point, at its end."""
    return f"CASE WHEN contains({text}, '.') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"


#: How far a point is moved at most to write a number without its exponent.
_WRITTEN_OUT = 400


#: The least text, and the least after all texts, of numbers that begin so.
_USUAL_BEGINNINGS = (("1", ":"), ("-1", "-:"), ("0.", "0/"))


def shortest_digits(text: str) -> str:
    """SQL for a number's digits without needless zeros and exponent; NULL for NaN and infinity."""
    return (
        # As databases write most numbers; what follows takes four times as long.
        f"CASE WHEN {_is_usual(text)} THEN {trimmed_digits(text)} "
        f"WHEN lower({text}) IN ('nan', 'infinity', '-infinity') THEN NULL "
        # An exponent is how drivers write their floats.
        f"WHEN contains(lower({text}), 'e') THEN coalesce({float_digits(f'TRY_CAST({text} AS DOUBLE)')}, {text}) "
        f"ELSE {_plain_digits(text)} END"
    )


def _is_usual(text: str) -> str:
    """SQL for whether a number has no exponent, no needless sign or zero at its start, and a digit before its point."""
    # Text is compared byte by byte, and ':' follows '9'.
    begins = " OR ".join(f"({text} >= '{first}' AND {text} < '{after}')" for first, after in _USUAL_BEGINNINGS)
    return f"({begins} OR {text} = '0') AND NOT contains({text}, 'e') AND NOT contains({text}, 'E')"


def _plain_digits(text: str) -> str:
    """SQL for a number without exponent, without needless zeros and signs, and with a digit before its point."""
    trimmed = f"regexp_replace({text}, '^[+]?(-?)0*([0-9]*)([.][0-9]*[1-9])?[.]?0*$', '\\1\\2\\3')"
    with_zero = f"regexp_replace(regexp_replace({trimmed}, '^(-?)[.]', '\\10.'), '^-?$', '0')"
    is_plain = f"regexp_full_match({text}, '-?[1-9][0-9]*([.][0-9]*[1-9])?')"
    return f"CASE WHEN {is_plain} THEN {text} ELSE {with_zero} END"


def float_digits(double: str) -> str:
    """SQL for the shortest digits that mean the *double*; a whole number has no exponent up to 38 digits."""
    whole = f"CAST(TRY_CAST(CAST({double} AS VARCHAR) AS DECIMAL(38, 0)) AS VARCHAR)"
    return (
        f"CASE WHEN {double} <> trunc({double}) OR abs({double}) >= 1e38 THEN CAST({double} AS VARCHAR) "
        f"WHEN abs({double}) < 9007199254740992 THEN CAST(CAST({double} AS BIGINT) AS VARCHAR) ELSE {whole} END"
    )


#: Levels of JSON in JSON. SQLite reads 1,000, and programs in C overflow their stack sooner or later.
DEEPEST_JSON = 500


def is_too_deep(text: str) -> str:
    """SQL for whether the JSON *text* is nested more than `DEEPEST_JSON` levels deep."""
    openings = f"strlen({text}) - strlen(replace(replace({text}, '[', ''), '{{', ''))"
    brackets = f"regexp_extract_all(regexp_replace({text}, '{JSON_STRING}', '', 'g'), '[][{{}}]')"
    steps = (
        f"list_transform({brackets}, lambda b: {{'level': CASE WHEN b IN ('[', '{{') THEN 1 ELSE -1 END, 'most': 0}})"
    )
    deepest = f"list_reduce({steps}, lambda a, b: {{'level': a.level + b.level, 'most': greatest(a.most, a.level)}})"
    return (
        f"CASE WHEN strlen({text}) <= {2 * DEEPEST_JSON} OR {openings} <= {DEEPEST_JSON} THEN false "
        f"ELSE ({deepest}).most > {DEEPEST_JSON} END"
    )


def last_of_each_name(text: str) -> str:
    """SQL for the JSON *text* without members that a later one of the same name replaces.

    Text without such members, or that is no JSON or too deep, stays as it is.
    """
    names, value = f"json_keys({text})", f"CAST({text} AS JSON)"
    # DuckDB's VARIANT keeps the last of each name, but rounds numbers.
    without = f"CAST(CAST(CAST({numbers_as_text(text)} AS JSON) AS VARIANT) AS JSON)"
    return (
        f"CASE WHEN NOT contains({text}, '{{') OR NOT json_valid({text}) THEN {text} "
        f"WHEN NOT contains(substr({text}, 2), '{{') AND list_unique({names}) = len({names}) THEN {text} "
        f"WHEN {is_too_deep(text)} THEN {text} "
        f"WHEN json_normalize({value}) = CAST(CAST(CAST({value} AS VARIANT) AS JSON) AS VARCHAR) THEN {text} "
        f"ELSE {text_as_numbers(f'CAST({without} AS VARCHAR)')} END"
    )


def json_said(text: str) -> str:
    """SQL for the value of the valid JSON *text*: each digit of its numbers counts, and of equal names the last.

    It is a list of leaves.
    """
    return said_of_texts(numbers_as_text(text))


def said_of_texts(texts: str) -> str:
    """SQL for `json_said` of what `numbers_as_text` made."""
    atom = "json_extract_string(atom, '$')"
    number = f"atom IS NOT NULL AND type = 'VARCHAR' AND NOT ends_with({atom}, '#')"
    leaf = f"CASE WHEN {number} THEN {number_said(f'substr({atom}, 2)')} ELSE coalesce(CAST(atom AS VARCHAR), '') END"
    node = f"{{'parent': coalesce(parent, -1), 'path': fullkey, 'id': id, 'leaf': type || {leaf}}}"
    told = f"CASE WHEN len(list_distinct({_PATHS})) < len(nodes) THEN {_LAST_OF_EACH_NAME} ELSE nodes END"
    leaves = f"list_sort(list_transform({told}, lambda n: n.path || '=' || n.leaf))"
    return f"(SELECT {leaves} FROM (SELECT list({node} ORDER BY id) AS nodes FROM json_tree({texts})))"


_PATHS = "list_transform(nodes, lambda n: n.path)"
_BY_NAME = "list_sort(list_transform(nodes, lambda n: {'parent': n.parent, 'path': n.path, 'id': n.id}))"
_REPLACED = (
    f"list_filter(list_zip({_BY_NAME}, ({_BY_NAME})[2:], true), "
    "lambda pair: pair[1].parent = pair[2].parent AND pair[1].path = pair[2].path)"
)
_FOLLOWING = "list_filter(nodes, lambda n: n.parent = pair[1].parent AND n.id > pair[1].id)"
_SPANS = (
    f"list_transform({_REPLACED}, lambda pair: "
    f"{{'first': pair[1].id, 'next': list_min(list_transform({_FOLLOWING}, lambda n: n.id))}})"
)
#: SQL for the nodes of a JSON tree without members, and what is in them, that a later one of the same name replaces.
_LAST_OF_EACH_NAME = (
    f"list_filter(nodes, lambda n: len(list_filter({_SPANS}, "
    "lambda span: n.id >= span.first AND n.id < span.next)) = 0)"
)


def number_said(text: str) -> str:
    """SQL for the exact value of a number's *text*: the same text for equal numbers."""
    return f"CASE WHEN contains(lower({text}), 'e') THEN {_without_exponent(text)} ELSE {_plain_digits(text)} END"


def _without_exponent(text: str) -> str:
    """SQL for the digits of a number with an exponent; one too long to be written out is told by digits and power."""
    mantissa, power = (f"split_part(lower({text}), 'e', {i})" for i in (1, 2))
    exponent = f"TRY_CAST(replace({power}, '+', '') AS BIGINT)"
    digits = f"ltrim(replace(replace({mantissa}, '-', ''), '.', ''), '0')"
    moved = f"({exponent} - strlen(split_part({mantissa}, '.', 2)))"
    bare, least = f"rtrim({digits}, '0')", f"({moved} + strlen({digits}) - strlen(rtrim({digits}, '0')))"
    wide = f"lpad({digits}, greatest(strlen({digits}), 1 - {moved})::INTEGER, '0')"
    sign = f"CASE WHEN starts_with({text}, '-') THEN '-' ELSE '' END"
    small = _plain_digits(f"{sign} || left({wide}, {moved}) || '.' || right({wide}, -{moved})")
    return (
        f"CASE WHEN {digits} = '' THEN '0' WHEN {exponent} IS NULL THEN lower({text}) "
        f"WHEN abs({least}) > {_WRITTEN_OUT} THEN {sign} || {bare} || 'e' || {least} "
        f"WHEN {moved} < 0 THEN {small} ELSE {sign} || {digits} || repeat('0', {moved}) END"
    )
