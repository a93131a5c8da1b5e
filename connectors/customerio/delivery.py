"""Requests on their way to Customer.io, several at once, and what their answers say of each row."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import pyarrow as pa

from connectors.customerio.calls import AGAIN, Answer, Api
from connectors.customerio.items import LANES
from connectors.customerio.reasons import kept
from connectors.customerio.requests import Request
from syncer.model.errors import StoreError
from syncer.model.protocols import VERDICTS
from syncer.model.types import Verdict

#: Of the whole request, though perhaps one row is to blame.
_REFUSED = frozenset({400, 413, 422})
#: Requests in flight, and as many that wait: while they go, the next batch is made.
MOST_UNDER_WAY = 2 * LANES


class Delivery:
    """Requests on their way to one address. Used by one thread; a lane's requests go one after the other.

    A failure stops everything: what is in flight is waited for, what waits is dropped, and nothing more is sent.
    """

    def __init__(self, api: Api, path: str) -> None:
        """Nothing is sent yet."""
        self._api = api
        self._path = path
        self._lanes = [ThreadPoolExecutor(max_workers=1, thread_name_prefix="customerio") for _ in range(LANES)]
        #: What is in flight or waits for its lane, and the lane.
        self._under_way: dict[Future[None], int] = {}
        self._answered: deque[pa.Table] = deque()
        self.has_failed = False

    def send(self, requests: Iterable[Request]) -> None:
        """Put every request on its way, and return when few enough are left to be waited for.

        Raises:
            StoreError: a request failed, perhaps an earlier one.
        """
        for request in requests:
            self._wait_for_fewer_than(MOST_UNDER_WAY)
            lane = self._emptiest() if request.lane is None else request.lane
            self._under_way[self._lanes[lane].submit(self._deliver, request, request.body())] = lane

    def finish(self) -> None:
        """Wait until nothing is under way.

        Raises:
            StoreError: a request failed.
        """
        self._wait_for_fewer_than(1)

    def fail(self) -> None:
        """Send nothing more, and wait for what is in flight."""
        self.has_failed = True
        self._api.stop()
        for one in self._under_way:
            one.cancel()
        wait(self._under_way)
        self._under_way.clear()

    def tell(self, verdicts: pa.Table) -> None:
        """Add *verdicts* to those that `answered` gives."""
        self._answered.append(verdicts)

    def answered(self) -> pa.Table:
        """The verdicts (VERDICTS) that came since the last call."""
        tables = [self._answered.popleft() for _ in range(len(self._answered))]
        return pa.concat_tables([VERDICTS.empty_table(), *tables])

    def close(self) -> None:
        """Let every thread end, after what it has in flight."""
        for lane in self._lanes:
            lane.shutdown(cancel_futures=True)

    def _emptiest(self) -> int:
        busy = Counter(self._under_way.values())
        return min(range(LANES), key=lambda lane: busy[lane])

    def _wait_for_fewer_than(self, most: int) -> None:
        self._forget({one for one in self._under_way if one.done()})
        while len(self._under_way) >= most:
            self._forget(wait(self._under_way, return_when=FIRST_COMPLETED).done)

    def _forget(self, done: set[Future[None]]) -> None:
        failed = next((exc for one in done if (exc := one.exception()) is not None), None)
        if failed is not None:
            self.fail()
            raise failed
        for one in done:
            del self._under_way[one]

    def _deliver(self, request: Request, body: bytes) -> None:
        answer = self._api.call("POST", self._path, content=body)
        if answer.ok:
            verdicts = _verdicts(answer, request)
            if verdicts is None:
                raise StoreError(
                    f"{self._api.label}: Customer.io's answer {answer.status} to a batch cannot be understood",
                    hint=f"Does something between here and there answer in its place? {AGAIN}",
                )
            self.tell(verdicts)
        elif answer.status not in _REFUSED:
            raise StoreError(
                f"{self._api.label}: Customer.io answered {answer.status} to a batch",
                hint="Check the addresses and keys of this store.",
            )
        elif len(request.seqs) == 1:
            self.tell(rejected(request.seqs, pa.array([kept(reason_in(answer), item=request.items[0].as_py())])))
        else:
            for half in request.halves():
                self._deliver(half, half.body())


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


def _verdicts(answer: Answer, request: Request) -> pa.Table | None:
    """A verdict for each row; None where the answer cannot be understood."""
    errors = _errors_by_place(answer, len(request.seqs))
    if errors is None:
        return None
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
