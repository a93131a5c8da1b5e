"""A result may have more columns than the depth of an expression that DuckDB parses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from syncer.model.types import Counts, OnNull
from tests.workbench import Workbench


def test_a_row_of_many_columns_is_compared(tmp_path: Path) -> None:
    bench = Workbench(folder=tmp_path)
    bench.adjust(on_null=OnNull.KEEP)
    # The NULLs of these are counted.
    result = pa.table({"id": [1, 2]} | {f"d{i}": pa.array([i / 4, None]) for i in range(1010)})
    bench.run(result)

    changed = result.set_column(1010, "d1009", pa.array([0.5, None]))

    assert bench.run(changed).counts == Counts(queried=2, changed=1, unchanged=1, accepted=1)
    assert bench.store.people["1"]["d1009"] == 0.5
    assert len(bench.store.people["1"]) == 1010
