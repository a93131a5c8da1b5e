"""Lists, of people to delete, suppress or unsuppress, or pairs to merge: their limits, and what a plan shows."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import pyarrow as pa

from syncer.model.errors import StoreError
from syncer.model.json_text import json_text, json_value
from syncer.model.lists import CountsPeople
from syncer.model.protocols import ProfileStore, ReadsBack
from syncer.model.runs import LimitKind
from syncer.model.types import Entity, Identity, Limit, ListAction, SyncDefinition, Target
from syncer.snapshot.diff import Difference
from syncer.sync.progress import Exceeded

#: The default of `limits: {deleted: …}`, and of `merged`: a share of the store's people, and so many at least; so many
#: where a store cannot count its people.
_SHARE, _AT_LEAST, _UNCOUNTED = Limit(share=0.01), 10, 100

#: Of so many people at most a plan shows what the store has.
_SHOWN = 200

_IDENTIFIERS = Identity.ID_EMAIL_OR_PHONE.names

Sample = list[tuple[str, str, str | None, str | None]]


def exceeded(definition: SyncDefinition, difference: Difference, store: ProfileStore) -> list[Exceeded]:
    """The limit, or none, that a list exceeds: from the first run on, and with every row that is sent again.

    Raises:
        StoreError: *store* did not say how many people it has.
    """
    action, planned = definition.target.action, difference.planned
    rows = planned.added + planned.changed + planned.resent
    limit = definition.limits.merged if action is ListAction.MERGE else definition.limits.deleted
    over = partial(_over, action, rows)
    if action is None or not action.deletes or rows <= (_AT_LEAST if limit is None else limit.count or 0):
        return []
    if limit is not None and limit.count is not None:
        return [over(limit.words)]
    if not isinstance(store, CountsPeople):
        return [over(f"{_UNCOUNTED} rows")] if rows > _UNCOUNTED else []
    people, share = store.count_people(), limit or _SHARE
    if rows <= (share.share or 0.0) * people:
        return []
    return [over(f"{share.words} of the store's {people:,} people")]


def _over(action: ListAction | None, rows: int, limit: str) -> Exceeded:
    if action is ListAction.MERGE:
        pairs = "1 pair of people" if rows == 1 else f"{rows:,} pairs of people"
        return Exceeded(kind=LimitKind.MERGED, rows=rows, reason=f"{pairs} would be merged, over the limit of {limit}")
    people = "1 person" if rows == 1 else f"{rows:,} people"
    return Exceeded(kind=LimitKind.DELETED, rows=rows, reason=f"{people} would be deleted, over the limit of {limit}")


def with_outcome(target: Target, action: ListAction, sample: Sample, store: ProfileStore) -> Sample:
    """A plan's *sample* of a list: what the store has of each person who goes now, and what they would become."""
    keys = [key for change, key, *_ in sample if change != "removed"][:_SHOWN]
    held = _held(target, keys, store) if action.deletes and keys else {}
    done = json_text(action.done)
    return [
        (change, key, held.get(key), done) if change != "removed" else (change, key, None, None)
        for change, key, *_ in sample
    ]


def _held(target: Target, keys: list[str], store: ProfileStore) -> dict[str, str]:
    """What the store has of people, as a JSON object by key, as far as it can be asked at once."""
    wanted, named = target, {key: [key] for key in keys}
    if target.merged_key is not None:
        wanted = Target(entity=Entity.PERSON, person_key=target.merged_key, key_columns=target.key_columns[1:])
        named = defaultdict(list)
        for key in keys:
            named[json_value(key)[1]].append(key)
    if not isinstance(store, ReadsBack) or not store.can_list(wanted):
        return {}
    found: dict[str, str] = {}
    try:
        for table in store.contained(wanted, pa.table({"k1": list(named)})):
            for person in table.to_pylist():
                known = {name: person[name] for name in _IDENTIFIERS if person.get(name) is not None}
                text = _object(known | json_value(person["attributes"]))
                found |= dict.fromkeys(named[person[wanted.person]], text)
    except StoreError:
        # The notes say it.
        return {}
    return found


def _object(values: dict[str, Any]) -> str:
    """A JSON object as snapshots write one: without a blank around its members."""
    return f"{{{','.join(f'{json_text(name)}:{json_text(value)}' for name, value in values.items())}}}"
