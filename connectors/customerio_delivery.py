"""Requests on their way to Customer.io, several at once, and what their answers say of each row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from itertools import groupby
from typing import Any

import pyarrow as pa

from connectors.customerio_calls import Answer, Api
from connectors.customerio_items import LANES, Request
from connectors.customerio_reasons import kept
from syncer.errors import StoreError
from syncer.interfaces import VERDICTS
from syncer.types import Verdict

#: Of the whole request, though perhaps one row is to blame.
_REFUSED = frozenset({400, 413, 422})


def deliver(api: Api, path: str, requests: Sequence[Request]) -> pa.Table:
    """Post every request and return the verdicts (VERDICTS); a row without one is in doubt.

    Lanes go side by side; within a lane, a request goes when the one before is answered.

    Raises:
        StoreError: the API failed; every row is in doubt, and nothing is in flight any more.
    """
    lanes = [list(lane) for _, lane in groupby(requests, key=lambda request: request.lane)]
    if not lanes:
        return VERDICTS.empty_table()
    with ThreadPoolExecutor(max_workers=LANES, thread_name_prefix="customerio") as pool:
        running = [pool.submit(_deliver_lane, api, path, lane) for lane in lanes]
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
        failed = next((exc for one in done if (exc := one.exception()) is not None), None)
        if failed is not None:
            api.stop()
            raise failed
        return pa.concat_tables([table for one in running for table in one.result()])


def accepted(seqs: pa.Array) -> pa.Table:
    """The verdicts where all was well."""
    rows = len(seqs)
    return pa.table([seqs, pa.repeat(str(Verdict.ACCEPTED), rows), pa.nulls(rows, pa.string())], schema=VERDICTS)


def rejected(seqs: pa.Array, reasons: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The verdicts of refused rows."""
    return pa.table([seqs, pa.repeat(str(Verdict.REJECTED), len(seqs)), reasons], schema=VERDICTS)


def reason_in(answer: Answer) -> str:
    """What an answer gives as its reason; it may quote what was sent."""
    told = _parsed(answer)
    errors = told.get("errors") if isinstance(told, dict) else None
    meta = told.get("meta") if isinstance(told, dict) else None
    if isinstance(meta, dict):
        errors = meta.get("errors") or [meta.get("error")]
    texts = [_reason(error) for error in errors if error] if isinstance(errors, list) else []
    return f"Customer.io answered {answer.status}: {'; '.join(filter(None, texts)) or 'no reason was given'}"


def _deliver_lane(api: Api, path: str, requests: Iterable[Request]) -> list[pa.Table]:
    return [table for request in requests for table in _delivered(api, path, request)]


def _delivered(api: Api, path: str, request: Request) -> list[pa.Table]:
    answer = api.call("POST", path, content=request.body())
    if answer.ok:
        return [_verdicts(answer, request)]
    if answer.status not in _REFUSED:
        raise StoreError(
            f"{api.label}: Customer.io answered {answer.status} to a batch",
            hint="Check the addresses and keys of this store.",
        )
    if len(request.seqs) == 1:
        return [rejected(request.seqs, pa.array([kept(reason_in(answer), item=request.items[0].as_py())]))]
    return [table for half in request.halves() for table in _delivered(api, path, half)]


def _verdicts(answer: Answer, request: Request) -> pa.Table:
    """A verdict for each row; for none where the answer cannot be understood."""
    errors = _errors_by_place(answer, len(request.seqs))
    if errors is None:
        return VERDICTS.empty_table()
    if not errors:
        return accepted(request.seqs)
    places = pa.array(sorted(errors), pa.int64())
    others = pa.array([place for place in range(len(request.seqs)) if place not in errors], pa.int64())
    kept_reasons = [kept(errors[place], item=request.items[place].as_py()) for place in sorted(errors)]
    reasons = pa.array(kept_reasons, pa.string())
    return pa.concat_tables([accepted(request.seqs.take(others)), rejected(request.seqs.take(places), reasons)])


def _errors_by_place(answer: Answer, rows: int) -> dict[int, str] | None:
    told = _parsed(answer)
    if not isinstance(told, dict) or (told and "errors" not in told and {"error", "meta"} & told.keys()):
        return None
    errors = told.get("errors")
    if errors is None:
        return {}
    if not isinstance(errors, list):
        return None
    found: dict[int, str] = {}
    for error in errors:
        place = error.get("batch_index", 0 if rows == 1 else None) if isinstance(error, dict) else None
        if type(place) is not int or not 0 <= place < rows:
            return None
        found[place] = "; ".join(filter(None, (found.get(place), _reason(error) or "no reason was given")))
    return found


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    told = [error.get(name) for name in ("reason", "field", "message", "detail")]
    return ": ".join(str(part) for part in told if part)


def _parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
