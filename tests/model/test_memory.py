from __future__ import annotations

from contextlib import ExitStack

import pyarrow as pa

from syncer.model.errors import SyncerError
from syncer.model.memory import Memory, explained, for_snapshot


def test_parts_come_to_no_more_than_the_limit_leaves() -> None:
    memory = Memory(1_000_000_000, runs=4)

    with ExitStack() as stack:
        parts = [stack.enter_context(memory.part()) for _ in range(8)]

    assert parts == [100_000_000] * 8


def test_a_part_is_never_so_small_that_nothing_works() -> None:
    memory = Memory(1_000_000_000)

    with memory.part() as first, memory.part() as second, memory.part() as third:
        assert (first, second, third) == (400_000_000, 400_000_000, 32_000_000)


def test_what_is_taken_comes_back() -> None:
    memory = Memory(1_000_000_000)
    for _ in range(3):
        with memory.part() as part, memory.part():
            assert part == 400_000_000


def test_a_batch_is_small_where_the_limit_is() -> None:
    assert [Memory(limit).batch for limit in (2_000_000_000, 128_000_000)] == [4_000_000, 1_000_000]


def test_a_snapshot_takes_no_more_than_its_part_and_more_of_it_for_wide_or_many_rows() -> None:
    plain, wide, many = for_snapshot(10**9), for_snapshot(10**9, columns=100), for_snapshot(10**9, rows=10**7)

    assert plain < wide < 10**9
    assert plain < many < 10**9
    assert for_snapshot(50_000_000, columns=100, rows=10**7) == 50_000_000


def test_a_larger_part_always_gives_more_in_the_end() -> None:
    assert for_snapshot(8 * 10**9) == 10**9


def test_a_lack_of_memory_leads_to_the_setting() -> None:
    found = explained(pa.ArrowMemoryError("malloc of size 64 failed"))

    assert isinstance(found, SyncerError)
    assert "SYNCER_MEMORY_LIMIT" in found.hint


def test_what_is_no_lack_of_memory_stays_as_it_is() -> None:
    error = ValueError()

    assert explained(error) is error
