"""Which queries have a function that may build a value without end.

DuckDB bounds what it can write to files, and notices between two functions that it was interrupted. Inside one, such as
`list_sum(range(1000000000))`, it does neither. So a query whose functions are not all known to return about as much as
they get, or less, is read by a process of its own (see `apart`). That takes a quarter of a second more. So is one that
could make a value very long by putting values together, such as `s || s`, since one part may use what another made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import duckdb

#: Functions whose result is about as large as their arguments, or smaller. What aggregates keep, DuckDB bounds.
_NAMES = """
    abs acos age any_value approx_count_distinct approx_quantile arg_max arg_min array_agg array_length ascii asin atan
    atan2 avg base64 bit_and bit_count bit_or bit_xor bool_and bool_or cbrt ceil ceiling chr coalesce concat concat_ws
    contains corr cos cot count count_if countif covar_pop covar_samp cume_dist current_date current_timestamp date
    date_add date_diff date_part date_sub date_trunc datediff datepart datetrunc day dayname dayofmonth dayofweek
    dayofyear decade decode degrees dense_rank encode ends_with entropy enum_code epoch epoch_ms epoch_ns epoch_us even
    exp extract favg first first_value floor from_json fsum gcd get_current_timestamp greatest group_concat hash hex
    histogram hour if ifnull ilike_escape in instr isfinite isinf isnan isodow isoyear json json_array_length
    json_contains json_each json_exists json_extract json_extract_path json_extract_path_text json_extract_string
    json_group_array json_group_object json_keys json_object json_transform json_tree json_type json_valid json_value
    kurtosis lag last last_day last_value lcase lcm lead least left len length levenshtein like_escape list listagg ln
    log log10 log2 lower ltrim mad make_date make_time make_timestamp max max_by md5 mean median microsecond min min_by
    minute millisecond mod mode month monthname nextafter nfc_normalize not_ilike_escape not_like_escape now nth_value
    ntile nullif ord parse_dirname parse_filename percent_rank pi position pow power prefix product quantile
    quantile_cont quantile_disc quarter radians random rank read_csv read_csv_auto read_json read_json_auto read_ndjson
    read_parquet regexp_extract regexp_full_match regexp_matches regexp_replace regr_slope replace reverse right round
    row row_number rtrim second sem sha1 sha256 sign sin skewness split_part sqrt starts_with stddev stddev_pop
    stddev_samp str_split strftime string_agg string_split strip_accents strlen strpos strptime struct_extract
    struct_pack substr substring suffix sum sum_no_overflow sumkahan tan time_bucket timezone to_base64 to_days
    to_hours to_json to_milliseconds to_minutes to_months to_seconds to_timestamp to_weeks to_years today transaction
    trim trunc try_strptime typeof ucase unhex unicode unnest upper url_decode url_encode uuid var_pop var_samp
    variance week weekday weekofyear xor year yearweek
"""
_BOUNDED = frozenset(_NAMES.split())
_TABLES = ("range", "generate_series")

#: Functions whose result is as long as their arguments together; `[` makes a list.
_JOINING = frozenset({"[", "concat", "concat_ws", "json_object", "row", "struct_pack"})
#: Functions whose result is so many times as long as their argument.
_LONGER = {"hex": 2, "url_encode": 3, "to_base64": 1.5, "base64": 1.5, "to_json": 2}
#: Functions that put their third argument in the place of parts of the first.
_REPLACING = frozenset({"replace", "regexp_replace"})
#: How many times as long as what it begins with the longest value may become.
_MOST_TIMES = 4096.0


def builds_values(sql: str) -> bool:
    """Whether *sql*, or the statement of a view, may have a function whose result is much larger than its arguments."""
    code = sql.encode()
    tokens = [(start, kind) for start, kind in duckdb.tokenize(sql)]
    ends = [start for start, _ in tokens[1:]] + [len(code)]
    words = [
        (code[start:end].decode().strip().casefold(), kind)
        for (start, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    if any(word == "recursive" for word, _ in words) or _times_longer(words) > _MOST_TIMES:
        return True
    before = ""
    for (word, kind), (following, _) in pairwise(words):
        if following.startswith("(") and kind in (duckdb.token_type.identifier, duckdb.token_type.keyword):
            is_known = word.strip('"') in _BOUNDED or (kind == duckdb.token_type.keyword and word != "range")
            # After AS or WITH it is the name of a table, and its columns follow. As tables these come row by row.
            is_table = before in ("as", "with") or (before in ("from", "join") and word in _TABLES)
            if not is_known and not is_table:
                return True
        before = word
    return False


def _times_longer(words: Iterable[tuple[str, duckdb.token_type]]) -> float:
    """How many times as long a value may become, if each part of the query uses what another one made."""
    times, before, last_but_one = 1.0, "", ""
    #: What each open bracket belongs to, and which of its arguments comes.
    brackets: list[tuple[str, int]] = []
    for word, kind in words:
        inner, argument = brackets[-1] if brackets else ("", 0)
        if word in ("(", "["):
            name = before.strip('"') if word == "(" else word
            # After a dot, the first argument stands before it.
            brackets.append((name, 2 if last_but_one == "." else 1))
            times *= _LONGER.get(name, 1)
        elif word in (")", "]") and brackets:
            times *= argument if inner in _JOINING else 1
            brackets.pop()
        elif word == "," and brackets:
            brackets[-1] = (inner, argument + 1)
        elif inner in _REPLACING and argument == 3:
            times *= len(word) - 1 if kind == duckdb.token_type.string_const else math.inf
        if kind == duckdb.token_type.operator:
            times *= 2 ** word.count("||")
        before, last_but_one = word, before
    return times
