"""Events as operations of the Track API and as calls of the Pipelines API; each repeats its id when it is sent again.

Sources, read 2026-11-30: the schemas `person_event`, `person_page` and `person_screen` of
https://docs.customer.io/api/track/, and `track`, `page` and `screen` of https://docs.customer.io/integrations/api/cdp/.
"""

from __future__ import annotations

from connectors.customerio.checks import LONGEST_IDENTIFIER
from connectors.customerio.options import ORDERS, Via
from syncer.model.types import EventKind, PersonKey, Target


def _text(value: str) -> str:
    """SQL for a text as JSON."""
    return f"CAST(to_json({value}) AS VARCHAR)"


def checked_sql(kind: EventKind, *, by_pipelines: bool) -> str:
    """SQL for the rows of `given`, with the reason why one cannot be sent as `fault`, else NULL."""
    faults = {
        "trim(who) = ''": "'the identifier is blank'",
        f"strlen(who) > {LONGEST_IDENTIFIER}": f"'the identifier is longer than {LONGEST_IDENTIFIER} bytes'",
        "trim(name) = ''": "'the event''s name is blank'",
    }
    if by_pipelines and kind is EventKind.EVENT:
        names = ", ".join(f"'{name}'" for name in sorted(ORDERS))
        faults[f"lower(trim(name)) IN ({names})"] = (
            "'the Pipelines API takes an event of this name for an order, not for something that happened'"
        )
    cases = " ".join(f"WHEN {fault} THEN {reason}" for fault, reason in faults.items())
    return f"SELECT *, CASE {cases} END AS fault FROM given"


def item_sql(target: Target, via: Via) -> str:
    """SQL for the JSON of a row."""
    kind = target.events.kind
    return _call_sql(kind) if via is Via.PIPELINES else _operation_sql(kind, target.person)


def _operation_sql(kind: EventKind, key: PersonKey) -> str:
    return (
        f'\'{{"type":"person","action":"{kind}","identifiers":{{"{key}":\' || {_text("who")} '
        f'|| \'}},"name":\' || {_text("name")} || \',"id":"\' || event_id '
        "|| '\",\"timestamp\":' || epoch_ms(happened) // 1000 || ',\"attributes\":' || attributes || '}'"
    )


def _call_sql(kind: EventKind) -> str:
    type_, name = ("track", "event") if kind is EventKind.EVENT else (str(kind), "name")
    return (
        f'\'{{"type":"{type_}","{name}":\' || {_text("name")} || \',"userId":\' || {_text("who")} '
        '|| \',"messageId":"\' || event_id || \'","timestamp":"\' '
        "|| strftime(happened, '%Y-%m-%dT%H:%M:%S.%gZ') || '\",\"properties\":' || attributes || '}'"
    )
