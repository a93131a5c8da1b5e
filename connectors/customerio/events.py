"""Events as operations of the Track API and as calls of the Pipelines API; each repeats its id when it is sent again.

Sources, read 2026-11-30: the schemas `person_event`, `person_page`, `person_screen` and `anonymousEventsRequest` of
https://docs.customer.io/api/track/, and `track`, `page` and `screen` of https://docs.customer.io/integrations/api/cdp/.
"""

from __future__ import annotations

from connectors.customerio.checks import LONGEST_IDENTIFIER
from connectors.customerio.naming import named, text
from connectors.customerio.options import COMMANDS, Via
from syncer.model.types import EventKind, PersonKey, Target


def checked_sql(target: Target, via: Via) -> str:
    """SQL for the rows of `given`, with the reason why one cannot be sent as `fault`, else NULL."""
    columns = ("who", "anonymous") if target.names_visitors else ("who",)
    faults = {
        " OR ".join(f"trim({column}) = ''" for column in columns): "'the identifier is blank'",
        " OR ".join(f"strlen({column}) > {LONGEST_IDENTIFIER}" for column in columns): (
            f"'the identifier is longer than {LONGEST_IDENTIFIER} bytes'"
        ),
        "trim(name) = ''": "'the event''s name is blank'",
    }
    if via is Via.PIPELINES and target.events.kind is EventKind.EVENT:
        names = ", ".join(f"'{name}'" for name in sorted(COMMANDS))
        faults[f"lower(trim(name)) IN ({names})"] = (
            "'the Pipelines API takes an event of this name as a command, not as something that happened'"
        )
    cases = " ".join(f"WHEN {fault} THEN {reason}" for fault, reason in faults.items())
    return f"SELECT *, CASE {cases} END AS fault FROM given"


def travels_alone_sql(target: Target, via: Via) -> str:
    """SQL for whether a row needs a call of its own: no batch of the Track API takes an event of a visitor."""
    return "anonymous IS NOT NULL" if target.names_visitors and via is Via.TRACK else "FALSE"


def item_sql(target: Target, via: Via) -> str:
    """SQL for the JSON of a row."""
    kind, key = target.events.kind, target.person_key
    if via is Via.PIPELINES:
        return _call_sql(kind, names_visitors=target.names_visitors)
    if key is None:
        return _unclaimed_sql(kind)
    known = _operation_sql(kind, key)
    if not target.names_visitors:
        return known
    return f"CASE WHEN anonymous IS NULL THEN {known} ELSE {_unclaimed_sql(kind)} END"


def _operation_sql(kind: EventKind, key: PersonKey) -> str:
    return (
        f'\'{{"type":"person","action":"{kind}","identifiers":\' || {named(key, "who")} '
        f'|| \',"name":\' || {text("name")} || \',"id":"\' || event_id '
        "|| '\",\"timestamp\":' || epoch_ms(happened) // 1000 || ',\"attributes\":' || attributes || '}'"
    )


def _unclaimed_sql(kind: EventKind) -> str:
    return (
        f'\'{{"type":"{kind}","anonymous_id":\' || {text("anonymous")} || \',"name":\' || {text("name")} '
        '|| \',"id":"\' || event_id || \'","timestamp":\' || epoch_ms(happened) // 1000 '
        "|| ',\"data\":' || attributes || '}'"
    )


def _call_sql(kind: EventKind, *, names_visitors: bool) -> str:
    type_, name = ("track", "event") if kind is EventKind.EVENT else (str(kind), "name")
    who = f"',\"userId\":' || {text('who')}"
    if names_visitors:
        who = f"CASE WHEN anonymous IS NULL THEN {who} ELSE ',\"anonymousId\":' || {text('anonymous')} END"
    return (
        f'\'{{"type":"{type_}","{name}":\' || {text("name")} || {who} || \',"messageId":"\' || event_id '
        "|| '\",\"timestamp\":\"' || strftime(happened, '%Y-%m-%dT%H:%M:%S.%gZ') "
        "|| '\",\"properties\":' || attributes || '}'"
    )
