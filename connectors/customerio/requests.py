"""Items packed into as few requests as their limits allow; an incomplete request waits for more items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio.checks import LONGEST_ITEM
from connectors.customerio.items import LANES
from syncer.model.types import Entity

#: Bytes of UTF-8.
LONGEST_REQUEST = 500_000
#: Undocumented; other connectors keep to it.
MOST_ITEMS = 1_000

#: A request has the items that begin within so many bytes, and the last of them reaches beyond.
_PART = LONGEST_REQUEST - LONGEST_ITEM - 1_000
#: The least that an item counts, so that a request has at most MOST_ITEMS.
_LEAST_WEIGHT = _PART // MOST_ITEMS
#: Bytes of an item beside its row, about.
_AROUND, _AROUND_LINK, _AROUND_EVENT = 85, 135, 175


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Items that one call sends."""

    #: None if no other request is about any of its entities.
    lane: int | None
    #: The rows that the items are of.
    seqs: pa.Array
    #: JSON texts.
    items: pa.Array
    #: Whether its only item is the whole body, for another address than that of batches.
    is_alone: bool = False

    def halves(self) -> tuple[Request, Request]:
        """Two smaller ones."""
        half = len(self.seqs) // 2
        parts = ((self.seqs[:half], self.items[:half]), (self.seqs[half:], self.items[half:]))
        first, second = (Request(lane=self.lane, seqs=seqs, items=items) for seqs, items in parts)
        return first, second

    def body(self) -> bytes:
        """The JSON to post."""
        if self.is_alone:
            return str(self.items[0].as_py()).encode()
        together = pa.ListArray.from_arrays(pa.array([0, len(self.items)], pa.int32()), self.items)
        joined = memoryview(pc.binary_join(together, ",")[0].as_buffer())
        return b"".join((b'{"batch":[', joined, b"]}"))


class Packing:
    """The items of a run on their way into requests."""

    def __init__(self) -> None:
        self._waiting: dict[int | None, pa.Table] = {}

    def add(self, items: pa.Table) -> list[Request]:
        """The full requests, in the order to send them.

        Shapes:
            items: as `items.render` gives them, later than those before.
        """
        packed, is_alone = [], items["alone"]
        if pc.any(is_alone).as_py():
            packed = [[*part] for part in _alone(items.filter(is_alone)).values()]
            items = items.filter(pc.invert(is_alone))
        for lane in items["lane"].unique().to_pylist():
            of_lane = items if lane is None else items.filter(pc.equal(items["lane"], lane))
            if lane in self._waiting:
                of_lane = pa.concat_tables([self._waiting[lane], of_lane])
            *full, self._waiting[lane] = _parts(of_lane)
            packed.append([_request(part, lane) for part in full])
        # Side by side: the first ones of all lanes, then the second ones.
        return [request for abreast in zip_longest(*packed) for request in abreast if request is not None]

    def rest(self) -> list[Request]:
        """The requests for the items that still wait."""
        waiting, self._waiting = self._waiting, {}
        return [_request(items, lane) for lane, items in waiting.items()]


def expected_calls(entity: Entity, *, rows: int, row_bytes: int) -> int:
    """About how many requests so many rows of *row_bytes* bytes of JSON each will take."""
    links, happens = entity.traits.links, entity.traits.happens
    around = _AROUND_EVENT if happens else _AROUND_LINK if links else _AROUND
    full = rows * max(row_bytes + around, _LEAST_WEIGHT) / _PART
    if not (links or happens):
        return math.ceil(full)
    # The last request of every lane is half full, on the average.
    return math.ceil(min(rows, max(LANES, full + LANES / 2)))


def _alone(items: pa.Table) -> dict[int | None, list[Request]]:
    """A request for each of the items, by lane."""
    found: dict[int | None, list[Request]] = {}
    for place, lane in enumerate(items["lane"].to_pylist()):
        found.setdefault(lane, []).append(_request(items[place : place + 1], lane, is_alone=True))
    return found


def _parts(items: pa.Table) -> list[pa.Table]:
    """The items in order, cut where a request is full."""
    weights = pc.max_element_wise(pc.add(pc.binary_length(items["item"]), 1), _LEAST_WEIGHT).cast(pa.int64())
    begins = pc.subtract(pc.cumulative_sum(weights), weights)
    ends = pc.run_end_encode(pc.divide(begins, _PART).combine_chunks()).run_ends.to_pylist()
    return [items[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def _request(items: pa.Table, lane: int | None, *, is_alone: bool = False) -> Request:
    seqs, texts = items["seq"].combine_chunks(), items["item"].combine_chunks()
    return Request(lane=lane, seqs=seqs, items=texts, is_alone=is_alone)
