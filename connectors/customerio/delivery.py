"""What one run sends: its batches as requests, several in flight at once, and the verdict of each row.

The steps overlap: while requests are in flight, the next batch becomes JSON.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import duckdb
import pyarrow as pa

from connectors.customerio.connection import AGAIN, Answer, Api
from connectors.customerio.errors import kept
from connectors.customerio.items import ALONE, LANES, ItemSettings, render
from connectors.customerio.requests import Packing, Request
from syncer.model.errors import StoreError
from syncer.model.protocols import VERDICTS
from syncer.model.types import Target, Verdict

#: Statuses that refuse a whole request, though perhaps one row is to blame.
_REFUSED = frozenset({400, 413, 422})
#: Requests in flight, and as many that wait for a lane.
MOST_UNDER_WAY = 2 * LANES


class BatchSender:
    """Sends the batches of one target to one address. Used by one thread; a lane sends one request after the other.

    A failure stops everything: requests in flight end, those that wait are dropped, and nothing more is sent.
    """

    def __init__(self, api: Api, path: str, target: Target, settings: ItemSettings) -> None:
        """Nothing is sent yet."""
        self._api, self._path = api, path
        self._target, self._settings = target, settings
        self._packing = Packing()
        self._duckdb = duckdb.connect(config={"python_enable_replacements": False, "threads": 1})
        self._lanes = [ThreadPoolExecutor(max_workers=1, thread_name_prefix="customerio") for _ in range(LANES)]
        #: Requests in flight or waiting for their lane, with the lane.
        self._under_way: dict[Future[None], int] = {}
        self._answered: deque[pa.Table] = deque()
        self._has_failed = False

    def add(self, batch: pa.RecordBatch) -> pa.Table:
        """Send *batch*, and return the verdicts (VERDICTS) that have arrived since the last call.

        Raises:
            StoreError: the API failed, perhaps at an earlier request; nothing is in flight any more.
        """
        try:
            items, faulty = render(self._duckdb, self._target, batch, self._settings)
        except duckdb.Error as exc:
            self._stop()
            # Its text may hold values.
            raise StoreError(f"{self._api.label}: a batch cannot become JSON: {type(exc).__name__}") from None
        self._answered.append(rejected(faulty["seq"], faulty["reason"]))
        self._send(self._packing.add(items))
        return self._verdicts()

    def finish(self) -> pa.Table:
        """Send the rest, and return the verdicts that are left; after a failure those that arrived before it.

        Raises:
            StoreError: the API failed; nothing is in flight any more.
        """
        if not self._has_failed:
            self._send(self._packing.rest())
            self._wait_for_fewer_than(1)
        return self._verdicts()

    def close(self) -> None:
        """Let every thread end, after its request in flight."""
        for lane in self._lanes:
            lane.shutdown(cancel_futures=True)
        self._duckdb.close()

    def _send(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._wait_for_fewer_than(MOST_UNDER_WAY)
            busy = Counter(self._under_way.values())
            lane = min(range(LANES), key=lambda lane: busy[lane]) if request.lane is None else request.lane
            self._under_way[self._lanes[lane].submit(self._deliver, request, request.body())] = lane

    def _verdicts(self) -> pa.Table:
        tables = [self._answered.popleft() for _ in range(len(self._answered))]
        return pa.concat_tables([VERDICTS.empty_table(), *tables])

    def _stop(self) -> None:
        self._has_failed = True
        self._api.stop()
        for one in self._under_way:
            one.cancel()
        wait(self._under_way)
        self._under_way.clear()

    def _wait_for_fewer_than(self, most: int) -> None:
        self._remove({one for one in self._under_way if one.done()})
        while len(self._under_way) >= most:
            self._remove(wait(self._under_way, return_when=FIRST_COMPLETED).done)

    def _remove(self, done: set[Future[None]]) -> None:
        failed = next((exc for one in done if (exc := one.exception()) is not None), None)
        if failed is not None:
            self._stop()
            raise failed
        for one in done:
            del self._under_way[one]

    def _deliver(self, request: Request, body: bytes) -> None:
        answer = self._api.call("POST", ALONE if request.is_alone else self._path, content=body)
        if answer.ok:
            errors = _errors_by_place(answer.json(), len(request.seqs))
            if errors is None:
                raise StoreError(
                    f"{self._api.label}: Customer.io's answer {answer.status} to a batch cannot be understood",
                    hint=f"Does a proxy answer in its place? {AGAIN}",
                )
            if None in errors:
                self._deliver_halves(request)
            else:
                self._answered.append(_verdicts_by(errors, request))
        elif answer.status not in _REFUSED:
            raise StoreError(
                f"{self._api.label}: Customer.io answered {answer.status} to a batch",
                hint="Check the addresses and keys of this store.",
            )
        elif len(request.seqs) == 1:
            reason = kept(reason_in(answer), item=request.items[0].as_py())
            self._answered.append(rejected(request.seqs, pa.array([reason])))
        else:
            self._deliver_halves(request)

    def _deliver_halves(self, request: Request) -> None:
        """Find, by halves, the rows that an answer is about without naming them."""
        for half in request.halves():
            self._deliver(half, half.body())


def accepted(seqs: pa.Array) -> pa.Table:
    """The verdicts of accepted rows."""
    rows = len(seqs)
    return pa.table([seqs, pa.repeat(str(Verdict.ACCEPTED), rows), pa.nulls(rows, pa.string())], schema=VERDICTS)


def rejected(seqs: pa.Array, reasons: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The verdicts of rejected rows."""
    return pa.table([seqs, pa.repeat(str(Verdict.REJECTED), len(seqs)), reasons], schema=VERDICTS)


def reason_in(answer: Answer) -> str:
    """The reason that an answer gives; it may quote what was sent."""
    content = answer.json()
    errors = content.get("errors") if isinstance(content, dict) else None
    meta = content.get("meta") if isinstance(content, dict) else None
    if isinstance(meta, dict):
        errors = meta.get("errors") or [meta.get("error")]
    texts = [_reason(error) for error in errors if error] if isinstance(errors, list) else []
    return f"Customer.io answered {answer.status}: {'; '.join(filter(None, texts)) or 'no reason was given'}"


def _verdicts_by(errors: Mapping[int | None, str], request: Request) -> pa.Table:
    """A verdict for each row."""
    if not errors:
        return accepted(request.seqs)
    places = sorted(place for place in errors if place is not None)
    others = [place for place in range(len(request.seqs)) if place not in errors]
    reasons = [kept(errors[place], item=request.items[place].as_py()) for place in places]
    faulty = rejected(request.seqs.take(pa.array(places, pa.int64())), pa.array(reasons, pa.string()))
    return pa.concat_tables([accepted(request.seqs.take(pa.array(others, pa.int64()))), faulty])


def _errors_by_place(content: Any, rows: int) -> dict[int | None, str] | None:
    """What an answer says of each row that it names, by place, and as None of rows that it does not name.

    None if the answer cannot be understood.
    """
    if not isinstance(content, dict) or (content and "errors" not in content and {"error", "meta"} & content.keys()):
        return None
    errors = content.get("errors")
    if errors is None:
        return {}
    if not isinstance(errors, list) or not all(isinstance(error, dict | str) for error in errors):
        return None
    found: dict[int | None, str] = {}
    for error in errors:
        place = error.get("batch_index") if isinstance(error, dict) else None
        if rows == 1:
            place = 0
        elif type(place) is not int or not 0 <= place < rows:
            place = None
        found[place] = "; ".join(filter(None, (found.get(place), _reason(error) or "no reason was given")))
    return found


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    parts = (error.get(name) for name in ("reason", "field", "message", "detail"))
    return ": ".join(str(part) for part in parts if part)
